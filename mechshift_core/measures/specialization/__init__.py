"""Specialization: how unevenly the effect is spread over single components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mechshift_core.kinds.measure import MeasureKind, Otherwise
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.measures.specialization.section import (
    INDICES,
    NOISY_INDICES,
    Specialization,
    SpecializationIndex,
)
from mechshift_core.measures.specialization.tables import TABLES
from stats.minimums import FEWEST_FOR_SPREAD

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured, Rows
    from mechshift_core.analysis.samples import Sample, Samples
    from mechshift_core.spec.schema import Spec


def _measure(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.specialization.specialization import measure_specialization

    return measure_specialization(sample, spec)


def _shifts(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.specialization.specialization import measure_specialization_shift

    return measure_specialization_shift(sample, spec)


def _tabled(samples: Samples, spec: Spec) -> Mapping[str, Rows]:
    from mechshift_core.measures.specialization.task_selectivity import selectivity_rows

    if spec.ranks_edges:
        return {}
    return {"selectivity": selectivity_rows(samples, spec)}


SPECIALIZATION = MeasureKind(
    name="specialization",
    section=Specialization,
    least=Least(FEWEST_FOR_SPREAD, "for a spread over prompts"),
    measure=_measure,
    shifts=_shifts,
    testables=(
        Testable(
            name="specialization",
            words="specialization",
            estimand="after-minus-before shift of the {index} of component effects",
            reading="higher: fewer components carry more of the effect",
            scale="shift of an index between 0 and 1 (estimates can lie beyond)",
            lower="less specialised",
            higher="more specialised",
            choices=frozenset({"specialization"}),
            noisy=NOISY_INDICES,
            indices=INDICES,
            of_mass=True,
            truth=0.0,
            noisier=0.0,
        ),
    ),
    tables=TABLES,
    tabled=_tabled,
    usual=True,
    otherwise=(
        Otherwise(
            field="specialization",
            type=SpecializationIndex,
            text="Indices in place of `measures.specialization.index`.",
            update=lambda index: {"index": index},
            own=lambda section: (section.index,),
        ),
    ),
    facts=lambda own: {"index": own.index},
)
