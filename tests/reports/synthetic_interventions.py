"""What interventions add to the synthetic run: faithfulness, transfer, patched components, scores by token role."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import polars as pl
from synthetic_lens import denoising_table, lens_estimates, lens_indices, lens_table
from synthetic_neurons import neuron_estimates, neurons_table
from synthetic_run import HEADS, LAYERS, PAIRS, TASKS, graph
from synthetic_shapley import orders_table, shapley_table

from reports import CircuitFacts, ReportData
from stats.findings import Estimate, Findings

SIZES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
ROLES = {"ioi": ("subject", "repeated subject", "other", "end"), "countdown": ("number", "target", "other", "mask")}
Row = dict[str, object]


def faithfulness_table(*, seed: int = 3) -> pl.DataFrame:
    made = random.Random(seed)
    rows: list[Row] = []
    for key, regime in keys():
        edges = len(graph())
        middle = {("before", "local"): 0.8, ("before", "global"): 1.2, ("after", "local"): 2.0}.get(
            (str(key["side"]), regime), 9.0
        )
        middle = middle if key["role"] == "treatment" else 1.0
        for percent in SIZES:
            base = key | {"intervention": "faithfulness", "ablation": "counterfactual", "percent": percent}
            base |= {"edges": round(edges * percent / 100), "live_edges": round(0.9 * edges * percent / 100)}
            value = 1.0 if percent == 100 else 1.06 / (1 + (middle / percent) ** 1.6)
            chance = 1.0 if percent == 100 else (percent / 100) ** 1.5 - 0.05 * made.random()
            half = 0.0 if percent == 100 else 0.06
            rows.append(base | measured("own", value, half))
            rows.append(base | measured("random", chance, 0.0 if percent == 100 else 0.09))
        base = key | {"intervention": "carried", "ablation": "mean", "percent": 10.0}
        base |= {"edges": edges // 10, "live_edges": edges // 11}
        rows.append(base | measured("own", 0.95, 0.04))
        rows.append(base | measured("partner", 0.31 if (key["role"], regime) == ("treatment", "global") else 0.88, 0.1))
    return pl.DataFrame(rows, infer_schema_length=None)


def measured(circuit: str, value: float, half: float) -> Row:
    row: Row = {"circuit": circuit, "metric": 4.0 * value, "faithfulness": value}
    return row | {"low": value - half, "high": value + half, "n": 90, "status": "ok"}


def keys() -> list[tuple[Row, str]]:
    """Pair, role, model, side, task and regime of each model on each task, and the regime."""
    return [
        ({"pair": pair, "role": role, "model": model, "side": side, "task": task, "regime": regime}, regime)
        for task, regime in TASKS
        for pair, role, *models in PAIRS
        for side, model in zip(("before", "after"), models, strict=True)
    ]


def patched_components(attributed: pl.DataFrame, *, layers: int = LAYERS, heads: int = HEADS) -> pl.DataFrame:
    """The components of the run with rows of activation patching, mean ablation and patching by token role."""
    made = random.Random(5)
    names = [(f"a{layer}.h{head}", "head", layer) for layer in range(layers) for head in range(heads)]
    names += [(f"m{layer}", "mlp", layer) for layer in range(layers)]
    known = {
        tuple(row[:-1]): row[-1] for row in attributed.select("pair", "side", "task", "component", "effect").rows()
    }
    rows: list[Row] = []
    for key, _ in keys():
        for method, spread in (("activation patching", 0.15), ("mean ablation", 0.6)):
            for name, kind, layer in names:
                effect = known.get((key["pair"], key["side"], key["task"], name), made.gauss(0, 1) ** 3)
                rows.append(key | effects(name, kind, layer, effect + made.gauss(0, spread), method, None))
        for at, role in enumerate(ROLES[str(key["task"])]):
            for layer in range(layers + 1):
                place = layer / layers * (len(ROLES[str(key["task"])]) - 1)
                effect = 3 * math.exp(-((place - at) ** 2)) * (1 if made.random() > 0.1 else -0.2)
                rows.append(key | effects(f"x{layer}", "residual", layer, effect, "activation patching", role))
    first = attributed.with_columns(
        intervention=pl.lit("circuit"), method=pl.lit("attribution"), token_role=pl.lit(None, dtype=pl.String)
    )
    return pl.concat([first, pl.DataFrame(rows, infer_schema_length=None).select(first.columns)])


def effects(name: str, kind: str, layer: int, effect: float, method: str, role: str | None) -> Row:
    row: Row = {"component": name, "kind": kind, "layer": layer, "effect": effect}
    row |= {"low": effect - 0.1, "high": effect + 0.1}
    return row | {"intervention": method.replace(" ", "-"), "method": method, "token_role": role}


def edge_roles_table() -> pl.DataFrame:
    made = random.Random(13)
    rows: list[Row] = []
    for key, regime in keys():
        moved = (key["side"], key["role"], regime) == ("after", "treatment", "global")
        weights = (0.4, 0.3, 0.1, 0.2) if not moved else (0.15, 0.2, 0.1, 0.55)
        for source, target, *_ in graph()[:120]:
            size = made.gauss(0, 1) ** 3
            for role, weight in zip(ROLES[str(key["task"])], weights, strict=True):
                score = size * weight * made.uniform(0.5, 1.5)
                rows.append(key | {"token_role": role, "source": source, "target": target, "score": score})
    return pl.DataFrame(rows, infer_schema_length=None)


def attention_table() -> pl.DataFrame:
    """Attention from the position read; the model after looks to the right in the treatment only."""
    made = random.Random(17)
    rows: list[Row] = []
    for task, regime in TASKS:
        roles = ROLES[task]
        for pair, role, *models in PAIRS:
            base: Row = {"pair": pair, "role": role, "task": task, "regime": regime, "intervention": "looks"}
            bidirectional = role == "treatment"
            for layer in range(LAYERS):
                for head in (*range(HEADS), None):
                    sight = [made.random() for _ in roles]
                    before = {name: value / sum(sight) for name, value in zip(roles, sight, strict=True)}
                    right = made.uniform(0, 0.4) if bidirectional else 0.0
                    after = {name: value * (1 - right) for name, value in before.items()}
                    before |= {"(left)": 0.9, "(self)": 0.1, "(right)": 0.0}
                    after |= {"(left)": 0.9 - right, "(self)": 0.1, "(right)": right}
                    shift = {name: after[name] - before[name] for name in after}
                    sides = ((models[0], "before", before), (models[1], "after", after), (None, "shift", shift))
                    for model, side, masses in sides:
                        for to, mass in masses.items():
                            row = base | {"model": model, "side": side, "layer": layer, "head": head}
                            row |= {"from_role": "(read)", "to_role": to, "mass": mass, "uniform": 0.1, "n": 90}
                            tested = side == "shift" and head is not None
                            row |= {"p_corrected": 0.04 if tested else None}
                            rows.append(row | {"low": mass - 0.02, "high": mass + 0.02})
    return pl.DataFrame(rows, infer_schema_length=None)


def targeted_table() -> pl.DataFrame:
    """Early components matter to the diffusion model; one side of one panel could not be computed."""
    rows: list[Row] = []
    for key, regime in keys():
        moved = (key["side"], key["role"], regime) == ("after", "treatment", "global")
        shown = {"early": 3.0 if moved else 0.8, "middle": 1.4, "late": -0.2, "random": 0.3}
        missing = (key["side"], key["role"], regime) == ("before", "control", "local")
        for layers, effect in shown.items():
            target = layers == "early"
            row = key | {"intervention": "early", "ablation": "mean", "layers": layers, "target": target, "size": 4}
            row |= {"components": None if layers == "random" else "a0.h1 m0 m1 a1.h3", "effect": effect}
            row |= {"low": effect - 0.3, "high": effect + 0.3, "beyond": None if target else shown["early"] - effect}
            row |= {"beyond_low": None if target else -0.1, "beyond_high": None if target else 4.0}
            row |= {"p": 0.048 if layers == "random" else None, "n": 90, "status": "ok"}
            if missing:
                row |= dict.fromkeys(("components", "effect", "low", "high", "beyond", "beyond_low", "beyond_high"))
                row |= {"p": None, "status": "failed: no luck"}
            if target or not missing:
                rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def probes_table() -> pl.DataFrame:
    """The subject fades over the layers and the answer comes, earlier after than before; one variable is left out."""
    rows: list[Row] = []
    for key, _ in keys():
        after = key["side"] == "after"
        for variable, first in (("answer", 2 if after else 4), ("template", 0)):
            for layer in range(LAYERS + 1):
                accuracy = min(1.0, 0.3 + 0.25 * max(0, layer - first + 1))
                row = key | {"intervention": "read", "variable": variable, "layer": layer, "accuracy": accuracy}
                row |= {"low": accuracy - 0.05, "high": accuracy + 0.05, "control": 0.26, "majority": 0.3}
                rows.append(row | {"classes": 4, "n": 90, "status": "ok"})
        rare = key | {"intervention": "read", "variable": "rare", "n": 0, "status": "fewer than two values"}
        rows.append(rare | dict.fromkeys(("layer", "accuracy", "low", "high", "control", "majority", "classes")))
    return pl.DataFrame(rows, infer_schema_length=None)


def curve_estimates() -> tuple[Estimate, ...]:
    values = {
        "cmd": (0.012, 0.06, {"random": 0.55, "random_low": 0.5, "random_high": 0.58}),
        "cpr": (1.01, 0.95, {"random": 0.45, "random_low": 0.41, "random_high": 0.5}),
    }
    found = []
    for key, _ in keys():
        side = str(key["side"])
        transferred = 0.33 if (key["role"], key["regime"]) == ("treatment", "global") else 0.93
        measures: dict[str, tuple[float, dict[str, float]]] = {
            measure: ((before if side == "before" else after), dict(reference))
            for measure, (before, after, reference) in values.items()
        }
        for measure, (value, reference) in (measures | {"transfer_ratio": (transferred, {})}).items():
            common = {name: key[name] for name in ("pair", "role", "task", "regime", "side")}
            made = Estimate(
                **common,  # type: ignore[arg-type]
                seed=0,
                measure=measure,
                estimate=value,
                low=value - 0.02,
                high=value + 0.03,
                confidence=0.95,
                n={"prompt": 90},
                method=f"{'carried' if measure == 'transfer_ratio' else 'faithfulness'}: counterfactual ablation",
                status="ok",
                reference=reference,
            )
            found.append(made)
    return tuple(found)


def with_interventions(run: ReportData) -> ReportData:
    """The run with everything that the interventions produce."""
    tables = dict(run.tables) | {
        "components": patched_components(run.tables["components"]),
        "faithfulness": faithfulness_table(),
        "edge_roles": edge_roles_table(),
        "lens": lens_table(),
        "denoising": denoising_table(),
        "indices": pl.concat([run.tables["indices"], lens_indices(run.tables["indices"])]),
        "attention": attention_table(),
        "targeted": targeted_table(),
        "probes": probes_table(),
        "neurons": neurons_table(),
        "shapley": shapley_table(),
        "shapley_orders": orders_table(),
    }
    found = run.findings
    estimates = (*found.estimates, *curve_estimates(), *lens_estimates(), *neuron_estimates())
    findings = Findings(name=found.name, hypotheses=found.hypotheses, estimates=estimates)
    methods = replace(
        run.methods,
        circuits=(
            CircuitFacts(name="faithfulness", ablation="counterfactual", held_out=True, random=5),
            CircuitFacts(name="carried", ablation="mean", held_out=False, greedy=True),
        ),
    )
    execution = {"device": "cuda", "weights_dtype": "bfloat16"}
    failed = [{"model": "mdm-s0", "task": "countdown", "examples": 64, "sizes": [64, 32]}]
    batching = {"sizes": [16, 64], "out_of_memory": failed}
    provenance = dict(run.provenance) | {"execution": execution, "batching": batching}
    return replace(run, tables=tables, findings=findings, provenance=provenance, methods=methods)
