"""Depth: where in the layers the attribution lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mechshift_core.kinds.measure import MeasureKind
from mechshift_core.kinds.testable import Least, Testable
from mechshift_core.measures.depth.section import Depth
from mechshift_core.measures.depth.tables import TABLES
from stats.minimums import FEWEST_FOR_SPREAD

if TYPE_CHECKING:
    from mechshift_core.analysis.measured import Measured
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.translate import Complaint
    from mechshift_core.spec.tree import Path


def _measure(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.depth.depth import measure_depth

    return measure_depth(sample, spec)


def _shifts(sample: Sample, spec: Spec) -> Measured:
    from mechshift_core.measures.depth.depth import measure_depth_shifts

    return measure_depth_shifts(sample, spec)


def _check_models(_: Spec, models: Mapping[str, ModelFacts], path: Path) -> Iterator[Complaint]:
    from mechshift_core.execution.graph_checks import check_layers

    return check_layers(models, path)


DEPTH = MeasureKind(
    name="depth",
    section=Depth,
    least=Least(FEWEST_FOR_SPREAD, "for a spread over prompts"),
    measure=_measure,
    shifts=_shifts,
    testables=(
        Testable(
            name="depth_slope",
            words="depth slope",
            estimand="slope over depth of the after-minus-before shift of attribution shares",
            reading="negative: attribution moves to earlier layers",
            scale="shift of the share of the attribution, per depth of the whole model; no bounds",
            lower="earlier layers",
            higher="later layers",
            per_prompt=True,
            choices=frozenset({"location"}),
            of_mass=True,
            truth=0.0,
        ),
        Testable(
            name="early_share",
            words="early share",
            estimand="after-minus-before shift of the early layers' attribution share",
            reading="higher: more of the attribution lies in the early layers",
            scale="shift of a share; -1 to 1",
            lower="less in early layers",
            higher="more in early layers",
            per_prompt=True,
            choices=frozenset({"location"}),
            of_mass=True,
            truth=0.0,
        ),
    ),
    tables=TABLES,
    usual=True,
    checks_models=_check_models,
)
