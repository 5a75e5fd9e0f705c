"""What measures do to all pairs and tasks together: before they are measured, and with what was measured of each."""

from __future__ import annotations

from collections.abc import Mapping

from mechshift_core.analysis.hypotheses import Evidence
from mechshift_core.analysis.samples import Sample
from mechshift_core.errors import ExecutionError
from mechshift_core.kinds import MEASURES, Derived
from mechshift_core.kinds.measure import Key
from mechshift_core.spec import Spec


def prepared(samples: Mapping[Key, Sample], spec: Spec, *, at_most: bool = False) -> dict[Key, Sample]:
    """The samples as the declared measures take them.

    Args:
        at_most: Whether what a spec declares is let down to what there is: samples of A/A data are smaller than those
            of the study.
    """
    found = dict(samples)
    for name in spec.measures.declared:
        prepare = MEASURES[name].prepared
        if prepare is None:
            continue
        try:
            found = prepare(found, spec, at_most)
        except Exception as error:
            reason = f"the samples can't be prepared for {name!r}: {type(error).__name__}: {error}"
            raise ExecutionError(reason) from error
    return found


def derived_of(spec: Spec) -> tuple[Derived, ...]:
    """What the declared measures compute of all pairs and tasks together."""
    found = (MEASURES[name].derived for name in spec.measures.declared)
    return tuple(one for one in found if one is not None)


def with_derived(evidence: Evidence, spec: Spec) -> Evidence:
    """The evidence with all of it."""
    for derived in derived_of(spec):
        evidence = derived.compute(evidence, spec, {}).evidence
    return evidence
