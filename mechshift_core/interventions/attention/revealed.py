"""How much a model looks at what is already revealed of the answer: the measure `revealed_share`.

The mean over all heads of the attention from the position read to the tokens of the answer that are revealed; the table
`attention_parts` has that to the prompt and to the masks beside it. A prompt of whose answer nothing is revealed in any
of its states has exactly 0. Where all before the answer is visible, the last revealed token is the position read itself
of a shifted model: it counts as revealed. A model that is read at the answer's own place looks from a mask instead, so
that between it and a shifted one there is no shift: the rows of both models stand alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, mean_interval
from mechshift_core.analysis.paired import paired_shift
from mechshift_core.analysis.read_at import read_apart
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.attention.cells import PARTS
from mechshift_core.interventions.attention.section import Attention
from mechshift_core.spec import Spec

Floats = npt.NDArray[np.float64]


def measure_revealed(sample: Sample, spec: Spec, own: Attention, results: Results) -> Measured:
    """Rows of `attention_parts`, and `revealed_share` prompt by prompt; or why there is none."""
    failed = [f"{side}: {stored}" for side, stored in results.items() if isinstance(stored, str)]
    if failed or sample.too_few:
        return Measured(problems={"revealed_share": "; ".join(failed) or sample.too_few})
    stored = {side: one for side, one in results.items() if isinstance(one, Stored)}
    mass = {side: _of(one, "parts", sample.ids(side)).mean(axis=(0, 1)) for side, one in stored.items()}  # [parts, n]
    even = {side: _of(one, "even_parts", sample.ids(side)).mean(axis=1) for side, one in stored.items()}
    apart = read_apart(sample, spec)
    if apart:
        return Measured(
            rows={"attention_parts": list(_rows(sample, spec, own, mass, even))}, problems={"revealed_share": apart}
        )
    both = {**mass, "shift": mass["after"] - mass["before"]}, {**even, "shift": even["after"] - even["before"]}
    rows = {"attention_parts": list(_rows(sample, spec, own, *both))}
    if not any(_of(one, "shown", sample.ids(side)).any() for side, one in stored.items()):
        reason = f"nothing of an answer is revealed in any state at {sample.reading.budget!r}: both are exactly 0"
        return Measured(rows=rows, problems={"revealed_share": reason})
    revealed = PARTS.index("revealed")
    measured = paired_shift(
        sample,
        spec,
        "revealed_share",
        {side: values[revealed] for side, values in mass.items()},
        references={side: {"null": float(values[revealed])} for side, values in both[1].items()},
        source=own.name,
    )
    return replace(measured, rows=rows)


def _of(stored: Stored, name: str, ids: npt.NDArray[np.int64]) -> Floats:
    return np.asarray(stored.tensors[name][..., ids].astype(np.float64))


def _rows(
    sample: Sample, spec: Spec, own: Attention, mass: Mapping[str, Floats], even: Mapping[str, Floats]
) -> Iterator[dict[str, object]]:
    for side, values in mass.items():
        ids = sample.ids("before" if side == "before" else "after")
        for place, part in enumerate(PARTS):
            interval = mean_interval(sample, spec, values[place], examples=ids)
            yield {
                **sample.labels(),
                "model": None if side == "shift" else sample.side(side).model,
                "side": side,
                "intervention": own.name,
                "part": part,
                "mass": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "uniform": float(even[side][place]),
                "n": sample.n,
            }
