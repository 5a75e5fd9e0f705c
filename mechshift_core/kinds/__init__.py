"""What a study is made of, by sort: interventions, measures and hypothesis tests, each registered under its name.

A kind answers what the stages of a study ask: its section of the spec, its cells, what these come to, the measures that
hypotheses can name, its tables. The stages ask every registered kind in turn and know none by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mechshift_core.kinds.common import faults_of_parts
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.intervention import Cells, InterventionKind
from mechshift_core.kinds.intervention import faults_of as _intervention_faults
from mechshift_core.kinds.measure import Derived, MeasureKind, Otherwise
from mechshift_core.kinds.measure import faults_of as _measure_faults
from mechshift_core.kinds.section import Intervention
from mechshift_core.kinds.tables import Column
from mechshift_core.kinds.test import TestKind
from mechshift_core.kinds.test import faults_of as _test_faults
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.registry import KindError, Registry

if TYPE_CHECKING:
    from mechshift_core.spec.schema import Spec

__all__ = [
    "INTERVENTIONS",
    "MEASURES",
    "TESTS",
    "Cells",
    "Column",
    "Cost",
    "Derived",
    "Intervention",
    "InterventionKind",
    "KindError",
    "Least",
    "MeasureKind",
    "Otherwise",
    "Registry",
    "TestKind",
    "Testable",
    "attributes",
    "is_two_sided",
    "owner",
    "server",
    "testable",
    "testables",
]


def _interventions() -> Iterable[InterventionKind[Any]]:
    from mechshift_core.rooms import INTERVENTIONS

    return INTERVENTIONS


def _measures() -> Iterable[MeasureKind[Any]]:
    from mechshift_core.rooms import MEASURES

    return MEASURES


def _tests() -> Iterable[TestKind]:
    from mechshift_core.hypothesis_tests import TESTS

    return TESTS


def _faults(kind: MeasureKind[Any] | InterventionKind[Any], own: Iterable[str]) -> Iterator[str]:
    """What is inconsistent about a kind by itself, or with the others."""
    from mechshift_core.rooms import INTERVENTIONS as ROOMS
    from mechshift_core.rooms import MEASURES as ENTRIES
    from mechshift_core.spec.measures import Measures
    from mechshift_core.spec.sensitivity import Sensitivity
    from mechshift_core.tables import SHARED

    found = list(own)
    yield from found
    if found:
        return
    others: list[MeasureKind[Any] | InterventionKind[Any]] = [*ROOMS, *ENTRIES]
    others += [*MEASURES.added, *INTERVENTIONS.added]
    others = [one for one in others if one is not kind]
    named = {one.name for other in others for one in other.testables}
    taken = {name for other in others for name in other.tables} | set(SHARED)
    yield from faults_of_parts(kind.least, kind.testables, kind.tables, taken=taken, named=named)
    if isinstance(kind, MeasureKind):
        if hasattr(Measures, kind.name):
            yield f"{kind.name!r} can't be an entry of `measures`"
        fields = {one.field for other in others if isinstance(other, MeasureKind) for one in other.otherwise}
        for one in kind.otherwise:
            if one.field in fields or hasattr(Sensitivity, one.field) or one.field in Sensitivity.model_fields:
                yield f"there is a choice {one.field!r} of `sensitivity` already"


INTERVENTIONS: Registry[InterventionKind[Any]] = Registry(
    "intervention",
    _interventions,
    lambda kind: kind.name,
    lambda kind: isinstance(kind, InterventionKind),
    lambda kind: _faults(kind, _intervention_faults(kind)),
)
MEASURES: Registry[MeasureKind[Any]] = Registry(
    "measure",
    _measures,
    lambda kind: kind.name,
    lambda kind: isinstance(kind, MeasureKind),
    lambda kind: _faults(kind, _measure_faults(kind)),
)
TESTS: Registry[TestKind] = Registry(
    "test", _tests, lambda kind: kind.name, lambda kind: isinstance(kind, TestKind), _test_faults
)


def testables() -> Iterator[tuple[Testable, MeasureKind[Any] | InterventionKind[Any]]]:
    """Everything that hypotheses can name, with the kind that it belongs to."""
    for measure in MEASURES.values():
        for one in measure.testables:
            yield one, measure
    for intervention in INTERVENTIONS.values():
        for one in intervention.testables:
            yield one, intervention


testables.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


def declared_testables(spec: Spec) -> Iterator[tuple[Testable, MeasureKind[Any] | InterventionKind[Any]]]:
    """What hypotheses of a spec can name: that of its measures and of its interventions."""
    used = {*spec.measures.declared, *(one.kind for one in spec.interventions)}
    return ((one, kind) for one, kind in testables() if kind.name in used)


def owner(measure: str) -> tuple[Testable, MeasureKind[Any] | InterventionKind[Any]]:
    """What a hypothesis names, with the kind that it belongs to.

    Raises:
        KeyError: if there is none of that name.
    """
    found = next((both for both in testables() if both[0].name == measure), None)
    if found is None:
        raise KeyError(measure)
    return found


def testable(measure: str) -> Testable:
    """What a hypothesis names.

    Raises:
        KeyError: if there is none of that name.
    """
    return owner(measure)[0]


testable.__test__ = False  # type: ignore[attr-defined]  # no test case of pytest


def attributes(intervention: Intervention) -> bool:
    """Whether an intervention scores the edges, which all measures of circuits are computed from."""
    return INTERVENTIONS[intervention.kind].attributes


def server(spec: Spec, measure: str) -> Intervention | None:
    """The intervention of a spec that a measure is computed from, beside the edge attribution; None without one."""
    return next((one for one in spec.interventions if INTERVENTIONS[one.kind].computes(measure, spec, one)), None)


def serving_kinds(measure: str) -> tuple[str, ...]:
    """The kinds of interventions that can compute a measure."""
    return tuple(kind.name for kind in INTERVENTIONS.values() if measure in kind.served)


def is_two_sided(test: str, alternative: str) -> bool:
    """Whether a test of a kind looks on both sides."""
    kind = TESTS[test]
    return alternative == "two-sided" and not kind.sided and not kind.refers
