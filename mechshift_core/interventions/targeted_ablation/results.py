"""What knocking out the components that a circuit uses most costs, beside other layers and chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, location_interval, mean_interval
from mechshift_core.analysis.paired import paired_shift
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.selected import FEWEST
from mechshift_core.interventions.targeted_ablation.cells import RANDOM
from mechshift_core.interventions.targeted_ablation.section import TargetedAblation
from mechshift_core.spec import Spec

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """A group's effect on each selected example, [n]; of random ones the mean over draws, whose effects are `draws`."""

    effect: Floats
    components: str | None = None
    draws: list[float] = field(default_factory=list)


def measure_targeted(sample: Sample, spec: Spec, intervention: TargetedAblation, results: Results) -> Measured:
    """Rows of `targeted`: the effect of every group on each model, and after minus before; the measure `targeted`.

    The measure is the effect of the group aimed at minus the mean effect of the random groups, in units of the metric,
    after minus before on the same prompt. What any group of that size costs more in one model than in the other cancels
    out.
    """
    rows: list[dict[str, object]] = []
    groups: dict[str, Mapping[str, _Group]] = {}
    for side, stored in results.items():
        reason = _unusable(sample, stored)
        if isinstance(stored, str) or reason:
            rows.append(_row(sample, intervention, side, intervention.layers, status=reason))
            continue
        groups[side] = _by_layers(stored)
        rows += _side_rows(sample, spec, intervention, side, groups[side])
    if len(groups) == 2:
        rows += _shift_rows(sample, spec, intervention, groups["before"], groups["after"])
    return replace(_shift(sample, spec, intervention, results, groups), rows={"targeted": rows})


def measure_targeted_shift(sample: Sample, spec: Spec, intervention: TargetedAblation, results: Results) -> Measured:
    """`targeted` alone, without rows, as hypotheses are tested with it."""
    usable = {side: one for side, one in results.items() if isinstance(one, Stored) and not _unusable(sample, one)}
    return _shift(sample, spec, intervention, results, {side: _by_layers(one) for side, one in usable.items()})


def _shift(
    sample: Sample,
    spec: Spec,
    intervention: TargetedAblation,
    results: Results,
    groups: Mapping[str, Mapping[str, _Group]],
) -> Measured:
    problem = _without_contrast(sample, intervention, results)
    if problem:
        return Measured(problems={"targeted": problem})
    # `beyond` of the random groups, prompt by prompt.
    beyond = {side: found[intervention.layers].effect - found[RANDOM].effect for side, found in groups.items()}
    return paired_shift(sample, spec, "targeted", beyond, source=intervention.name)


def _unusable(sample: Sample, stored: Stored | str) -> str:
    """Why a side has no numbers; empty where it has."""
    if isinstance(stored, str):
        return stored
    return "" if stored.description["groups"] else f"{sample.selection}; halves need at least {FEWEST}"


def _without_contrast(sample: Sample, intervention: TargetedAblation, results: Results) -> str:
    """Why there is no effect beyond random groups to compare; empty where there is."""
    unusable = [f"{side}: {reason}" for side, stored in results.items() if (reason := _unusable(sample, stored))]
    return "; ".join(unusable) or ("" if intervention.random else f"{intervention.name} has no random groups")


def _by_layers(stored: Stored) -> dict[str, _Group]:
    effects = stored.tensors["clean_metric"].astype(np.float64) - stored.tensors["metric"]
    found, drawn = {}, []
    for group, effect in zip(stored.description["groups"], effects, strict=True):
        if group["layers"] == RANDOM:
            drawn.append(effect)
        else:
            names = dict.fromkeys(name for fold in group["components"] for name in fold)
            found[group["layers"]] = _Group(effect, " ".join(names))
    if drawn:
        found[RANDOM] = _Group(np.mean(drawn, axis=0), draws=[float(effect.mean()) for effect in drawn])
    return found


def _side_rows(
    sample: Sample, spec: Spec, intervention: TargetedAblation, side: str, groups: Mapping[str, _Group]
) -> Iterator[dict[str, object]]:
    target = groups[intervention.layers]
    for layers, group in groups.items():
        interval = mean_interval(sample, spec, group.effect)
        row = _row(sample, intervention, side, layers)
        row |= {"components": group.components, "effect": interval.estimate, "low": interval.low, "high": interval.high}
        if layers != intervention.layers:
            beyond = location_interval(sample, spec, "targeted", target.effect - group.effect)
            row |= {"beyond": beyond.estimate, "beyond_low": beyond.low, "beyond_high": beyond.high}
        if group.draws:
            as_strong = sum(draw >= float(target.effect.mean()) for draw in group.draws)
            row["p"] = (1 + as_strong) / (1 + len(group.draws))
        yield row


def _shift_rows(
    sample: Sample,
    spec: Spec,
    intervention: TargetedAblation,
    before: Mapping[str, _Group],
    after: Mapping[str, _Group],
) -> Iterator[dict[str, object]]:
    for layers in before:
        interval = mean_interval(sample, spec, after[layers].effect - before[layers].effect)
        row = _row(sample, intervention, "shift", layers)
        yield row | {"effect": interval.estimate, "low": interval.low, "high": interval.high}


def _row(
    sample: Sample, intervention: TargetedAblation, side: str, layers: str, *, status: str = "ok"
) -> dict[str, object]:
    return {
        **sample.labels(),
        "model": None if side == "shift" else sample.side(side).model,
        "side": side,
        "intervention": intervention.name,
        "ablation": intervention.ablation,
        "layers": layers,
        "target": layers == intervention.layers,
        "size": intervention.size,
        **dict.fromkeys(("components", "effect", "low", "high", "beyond", "beyond_low", "beyond_high", "p")),
        "n": sample.n,
        "status": status,
    }
