"""What one model can use of the other's activations, component by component and over all of them, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.linearised import labelled, linearised, tested
from mechshift_core.analysis.measured import Measured, Results, Rows
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.batches import roles_read
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.cross_patching.crossed import (
    COUNTED,
    crossed_of,
    everything,
    groups_of,
    kind_of,
    unusable,
)
from mechshift_core.interventions.cross_patching.section import CrossPatching
from mechshift_core.spec import Spec
from stats.component_use import METHOD as POOLED
from stats.component_use import both_ways
from stats.faithfulness import METHOD, RatioEstimate
from stats.findings import Estimate
from stats.replicates import Replicated

USE, COST = "cross_patching_use", "cross_patching_cost"
ALIKE = {USE: 1.0, COST: 0.0}
"""Measure -> its value for two models that are alike."""
RESTORED = ("restored_own", "restored_cross", "restored_floor")


def measure_crossed(sample: Sample, spec: Spec, intervention: CrossPatching, results: Results) -> Measured:
    """Rows of `cross_patching`; use and cost of each model, and over the directions that hypotheses are about."""
    rows: Rows = []
    for side, stored in results.items():
        reason = unusable(sample, stored)
        if isinstance(stored, str) or reason:
            rows.append(_row(sample, side, intervention, COUNTED, "pooled", None, None, status=reason))
        else:
            rows += _side_rows(sample, spec, intervention, side, stored)
    return replace(_tested(sample, spec, intervention, results), rows={"cross_patching": rows})


def measure_crossed_alone(sample: Sample, spec: Spec, intervention: CrossPatching, results: Results) -> Measured:
    """Use and cost without rows, as hypotheses are tested with them."""
    return _tested(sample, spec, intervention, results)


def _side_rows(
    sample: Sample, spec: Spec, intervention: CrossPatching, side: str, stored: Stored
) -> Iterator[dict[str, object]]:
    names: list[str] = stored.description["components"]
    shared = float(stored.tensors["shared"].mean())
    for place, (role, chosen) in enumerate(_places(sample, spec, side, stored)):
        if chosen.sum() < 2:
            continue
        one = crossed_of(sample, spec, stored, place, chosen)
        more = {"shared": shared, "n": int(chosen.sum())}
        for number, name in enumerate(names):
            row = _row(sample, side, intervention, name, kind_of(name), int(name[1:].partition(".")[0]), role)
            effects = (float((values[number] - one.corrupt).mean()) for values in (one.own, one.cross, one.floor))
            row |= dict(zip(RESTORED, effects, strict=True))
            yield row | more | _estimated(one.use(number), one.cost([number]))
        for label, members in groups_of(intervention, names).items():
            row = _row(sample, side, intervention, label, "pooled", None, role)
            yield row | more | _estimated(one.pooled(members), one.cost(members))


def _places(
    sample: Sample, spec: Spec, side: str, stored: Stored
) -> Iterator[tuple[str | None, npt.NDArray[np.bool_]]]:
    """Token role, None for all positions, and which of a cell's examples have it."""
    yield None, everything(stored)
    diffusion = spec.models[sample.side(side).model].paradigm == "masked_diffusion"
    read = [
        roles_read(sample.dataset.examples[number], sample.reading, diffusion=diffusion)
        for number in stored.tensors["examples"]
    ]
    for role in stored.description["roles"]:
        yield role, np.array([role in found for found in read], dtype=bool)


def _estimated(use: RatioEstimate, cost: RatioEstimate) -> dict[str, object]:
    """Columns of a row; without a denominator the reason."""
    undefined = dict.fromkeys(one.message for one in (use, cost) if one.status == "undefined")
    return {
        **{"use": use.estimate, "use_low": use.low, "use_high": use.high},
        **{"cost": cost.estimate, "cost_low": cost.low, "cost_high": cost.high},
        "status": "; ".join(undefined) or "ok",
    }


def _row(
    sample: Sample,
    side: str,
    intervention: CrossPatching,
    component: str,
    kind: str,
    layer: int | None,
    role: str | None,
    *,
    status: str = "ok",
) -> dict[str, object]:
    empty = (*RESTORED, "use", "use_low", "use_high", "cost", "cost_low", "cost_high", "shared")
    return {
        **sample.labels(),
        "model": sample.side(side).model,
        "side": side,
        "intervention": intervention.name,
        "donor": sample.side("after" if side == "before" else "before").model,
        "component": component,
        "kind": kind,
        "layer": layer,
        "token_role": role,
        **dict.fromkeys(empty),
        "n": sample.n,
        "status": status,
    }


def _tested(sample: Sample, spec: Spec, intervention: CrossPatching, results: Results) -> Measured:
    """Use and cost at all positions: of each model, and the mean over those that hypotheses are about."""
    estimates: list[Estimate] = []
    replicated: dict[str, Replicated] = {}
    problems: dict[str, str] = {}
    found: dict[str, dict[str, RatioEstimate | str]] = {USE: {}, COST: {}}
    for side, stored in results.items():
        reason = unusable(sample, stored)
        if isinstance(stored, str) or reason:
            found[USE][side] = found[COST][side] = reason
            continue
        one = crossed_of(sample, spec, stored, 0, everything(stored))
        members = groups_of(intervention, stored.description["components"])[COUNTED]
        found[USE][side], found[COST][side] = one.pooled(members), one.cost(members)
    into = ("before", "after") if intervention.into == "both" else (intervention.into,)
    for measure, values in found.items():
        estimates += [_of_side(sample, spec, intervention, measure, side, one) for side, one in values.items()]
        made = _mean(sample, measure, {side: values[side] for side in into})
        if isinstance(made, str):
            problems[measure] = made
        else:
            replicated[measure] = made
        estimates.append(_of_pair(sample, spec, intervention, measure, made))
    return Measured(estimates=tuple(estimates), replicated=replicated, problems=problems)


def _mean(sample: Sample, measure: str, values: Mapping[str, RatioEstimate | str]) -> Replicated | str:
    """The mean over directions, of use the geometric one; or why there is none."""
    problems = [f"into the model {side}: {one}" for side, one in values.items() if isinstance(one, str)]
    if problems:
        return "; ".join(problems)
    ratios = {side: one for side, one in values.items() if not isinstance(one, str)}
    found = both_ways(ratios) if measure == USE and len(ratios) > 1 else _plain_mean(ratios)
    if isinstance(found, str):
        return f"{found}; `into: before` and `into: after` are of one direction alone"
    mean, rates = found
    known = {side: None if one.influence is None else rates[side] * one.influence for side, one in ratios.items()}
    return linearised(sample, measure, mean, known)


def _plain_mean(values: Mapping[str, RatioEstimate]) -> tuple[float, dict[str, float]] | str:
    """The mean over directions, and by how much it changes with each; or why there is none."""
    problems = [f"into the model {side}: {one.message}" for side, one in values.items() if one.estimate is None]
    if problems:
        return "; ".join(problems)
    known = [one.estimate for one in values.values() if one.estimate is not None]
    return sum(known) / len(known), dict.fromkeys(values, 1 / len(values))


def _method(intervention: CrossPatching, measure: str) -> str:
    return f"{intervention.name}: {POOLED if measure == USE else METHOD}"


def _of_side(
    sample: Sample, spec: Spec, intervention: CrossPatching, measure: str, side: str, one: RatioEstimate | str
) -> Estimate:
    known, reason = (None, one) if isinstance(one, str) else (one, "")
    method, reference = _method(intervention, measure), {"alike": ALIKE[measure]}
    return labelled(sample, spec, known, reason, measure=measure, side=side, method=method, reference=reference)


def _of_pair(sample: Sample, spec: Spec, intervention: CrossPatching, measure: str, made: Replicated | str) -> Estimate:
    both = {USE: ", geometric mean", COST: ", mean"}[measure] if intervention.into == "both" else ""
    return labelled(
        sample,
        spec,
        tested(spec, made),
        str(made),
        measure=measure,
        side="between",
        method=f"{_method(intervention, measure)}; into: {intervention.into}{both}",
        reference={"alike": ALIKE[measure]},
    )
