"""How far the weights of the model after are from those of the model before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mechshift_core.analysis.measured import Measured, Results, Rows, by_example, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.scores import Stored, read_stored
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.movement.section import WeightMovement
from mechshift_core.spec import Spec
from stats.replicates import Replicated

MEASURE = "weight_shift"
_NUMBERS = ("component", "kind", "layer", "head", "parameters", "norm_before", "norm_after", "difference", "relative")


def measure_weights(sample: Sample, spec: Spec, own: WeightMovement, results: Results) -> Measured:
    """The relative norm of the difference of all weights: the same on every task, without error over prompts."""
    stored = results["before"]
    if isinstance(stored, str):
        return Measured(problems={MEASURE: stored})
    before, difference = (float(stored.tensors[name][-1]) for name in ("before", "difference"))
    if not before:
        return Measured(problems={MEASURE: f"all weights of {sample.before.model!r} are 0"})
    value = difference / before
    shown = estimate(
        sample,
        spec,
        measure=MEASURE,
        side="shift",
        value=value,
        low=None,
        high=None,
        method=f"{own.name}: exact, of all weights",
    )
    made = Replicated(
        label=f"{MEASURE} of {sample.pair.name}",
        estimate=value,
        replicates=None,
        se=0.0,
        df=max(1.0, sample.units - 1.0),
        units=sample.units,
        influence=by_example(sample, {}),
        linearised=True,
    )
    return Measured(estimates=(shown,), replicated={MEASURE: made})


def weight_rows(plan: Plan, folder: RunFolder, failures: Mapping[str, str], own: WeightMovement) -> Mapping[str, Rows]:
    """Rows of `weight_shift`: every component of every declared pair, once; or why there are none."""
    roles = {pair.name: pair.role for pair in plan.spec.pairs}
    rows: Rows = []
    for cell in plan.cells:
        if cell.intervention != own.name or cell.pair not in roles:
            continue
        base = {"pair": cell.pair, "role": roles[cell.pair], "intervention": own.name}
        if cell.key in failures:
            rows.append(base | dict.fromkeys(_NUMBERS) | {"status": f"failed: {failures[cell.key]}"})
        else:
            rows += (base | row for row in _component_rows(read_stored(folder, [cell])))
    return {"weight_shift": rows}


def _component_rows(stored: Stored) -> Iterator[dict[str, object]]:
    numbers = stored.tensors
    for place, component in enumerate(stored.description["components"]):
        before, after, difference = (float(numbers[name][place]) for name in ("before", "after", "difference"))
        yield {
            "component": component["name"],
            "kind": component["kind"],
            "layer": component["layer"],
            "head": component["head"],
            "parameters": int(numbers["parameters"][place]),
            "norm_before": before,
            "norm_after": after,
            "difference": difference,
            "relative": difference / before if before else None,
            "status": "ok",
        }
