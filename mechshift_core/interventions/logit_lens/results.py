"""The logit lens: what streams and components say about the answer, how sharply they write it, when it is decided."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mechshift_core.analysis.measured import Measured, Results, Rows, joined, mean_interval
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.stream import Array
from mechshift_core.interventions.logit_lens.alignment import measure_alignment, measure_decision
from mechshift_core.interventions.logit_lens.alignment_section import Alignment
from mechshift_core.interventions.logit_lens.read import Floats, LensRead, read_lens
from mechshift_core.interventions.logit_lens.section import LogitLens
from mechshift_core.spec import Spec
from stats.decision import decision_times

LISTED = 3
"""Most likely tokens of a component that the table lists."""
_MEASURED = {"decision_time": measure_decision, "alignment": measure_alignment}
"""Measure that hypotheses can name -> what computes it."""


def measure_lens(sample: Sample, spec: Spec, intervention: LogitLens, results: Results) -> Measured:
    """Rows of `lens` and `denoising`, `decision_time` and, if declared, `alignment`."""
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    read = {side: read_lens(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)}
    rows: dict[str, Rows] = {"lens": [], "denoising": [], "indices": []}
    if sample.n:
        for side, one in read.items():
            rows["lens"] += [*_stream_rows(sample, spec, side, one), *_component_rows(sample, spec, side, one)]
            rows["denoising"] += _step_rows(sample, spec, side, one)
    for row in rows["lens"]:
        row["intervention"] = intervention.name
    declared = spec.measures.of(Alignment) is not None
    if problem:
        return Measured(rows=rows, problems=dict.fromkeys(("decision_time", *["alignment"] * declared), problem))
    decision = measure_decision(sample, spec, read)
    aligned = measure_alignment(sample, spec, read) if declared else Measured()
    return Measured(
        rows={**rows, **aligned.rows},
        estimates=(*decision.estimates, *aligned.estimates),
        replicated={**decision.replicated, **aligned.replicated},
        problems=decision.problems,
    )


def measure_lens_shift(sample: Sample, spec: Spec, results: Results) -> Measured:
    """The measures that some hypothesis names, without the tables, as hypotheses are tested with them."""
    tested = {hypothesis.measure for hypothesis in spec.hypotheses}
    wanted = [name for name in _MEASURED if name in tested]
    problem = next((stored for stored in results.values() if isinstance(stored, str)), sample.too_few)
    if problem:
        return Measured(problems=dict.fromkeys(wanted, problem))
    read = {side: read_lens(sample, side, stored) for side, stored in results.items() if isinstance(stored, Stored)}
    return joined(_MEASURED[name](sample, spec, read) for name in wanted)


def _labels(sample: Sample, side: str) -> dict[str, object]:
    return {**sample.labels(), "model": sample.side(side).model, "side": side}


def _stream_rows(sample: Sample, spec: Spec, side: str, read: LensRead) -> Rows:
    means = {name: read.mean_of_steps(name) for name in ("log_prob", "foil_log_prob", "rank", "entropy")}
    last = read.tensors["steps"] - 1
    top = read.tensors["stream_top"][last, :, np.arange(sample.n)].T
    return [
        {
            **_labels(sample, side),
            "component": f"x{layer}",
            "kind": "residual",
            "layer": layer,
            **_read_out(sample, spec, {name: values[layer] for name, values in means.items()}),
            "top": _listed(read, top[layer]),
            "direct": None,
            "direct_low": None,
            "direct_high": None,
            "n": sample.n,
        }
        for layer in range(len(top))
    ]


def _component_rows(sample: Sample, spec: Spec, side: str, read: LensRead) -> Rows:
    rows: Rows = []
    for number, (name, kind) in enumerate(zip(read.names, read.kinds, strict=True)):
        direct = mean_interval(sample, spec, read.tensors["direct"][number].astype(np.float64))
        projected = ("log_prob", "foil_log_prob", "rank", "entropy")
        own = {one: read.tensors[one][number].astype(np.float64) for one in projected} if kind != "bias" else {}
        rows.append(
            {
                **_labels(sample, side),
                "component": name,
                "kind": kind,
                "layer": {"input": -1, "bias": None}[kind] if kind in ("input", "bias") else _layer(name),
                **_read_out(sample, spec, own),
                "top": _listed(read, read.tensors["top"][number]) if own else None,
                "direct": direct.estimate,
                "direct_low": direct.low,
                "direct_high": direct.high,
                "n": sample.n,
            }
        )
    return rows


def _layer(name: str) -> int:
    return int(name[1:].partition(".")[0])


def _read_out(sample: Sample, spec: Spec, values: dict[str, Floats]) -> dict[str, object]:
    """What the lens says, over the selected examples; nothing of what is not projected."""
    if not values:
        return dict.fromkeys(("log_prob", "foil_log_prob", "rank", "entropy", "low", "high"))
    interval = mean_interval(sample, spec, values["log_prob"])
    return {
        "log_prob": interval.estimate,
        "foil_log_prob": float(values["foil_log_prob"].mean()),
        "rank": float(np.median(values["rank"])),
        "entropy": float(values["entropy"].mean()),
        "low": interval.low,
        "high": interval.high,
    }


def _listed(read: LensRead, tokens: Array) -> str:
    """The tokens that are most often the most likely one, with the share of the examples."""
    counted = Counter(tokens.tolist())
    first = sorted(counted, key=lambda token: (-counted[token], token))[:LISTED]
    return ", ".join(f"{read.tokens[str(token)]} ({counted[token] / len(tokens):.0%})" for token in first)


def _step_rows(sample: Sample, spec: Spec, side: str, read: LensRead) -> Rows:
    """One row a denoising step and residual stream, over the examples that have so many steps."""
    steps = read.tensors["steps"]
    decided = [decision_times(read.right[:, :, layer], steps) for layer in range(read.right.shape[2])]
    rows: Rows = []
    for step in range(int(steps.max())):
        having = np.flatnonzero(steps > step)
        for layer, times in enumerate(decided):
            values = read.tensors["stream_log_prob"][step, layer, having].astype(np.float64)
            interval = mean_interval(sample, spec, values, examples=sample.ids(side)[having])
            rows.append(
                {
                    **_labels(sample, side),
                    "step": step + 1,
                    "component": f"x{layer}",
                    "layer": layer,
                    "log_prob": interval.estimate,
                    "low": interval.low,
                    "high": interval.high,
                    "rank": float(np.median(read.tensors["stream_rank"][step, layer, having])),
                    "correct": float(read.right[having, step, layer].mean()),
                    "decided": float((times.decided & (times.first <= step)).mean()),
                    "n": len(having),
                }
            )
    return rows
