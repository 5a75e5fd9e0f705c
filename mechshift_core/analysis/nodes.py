"""Effects of components measured by replacing them: activation patching and knock-outs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Component, Measured, Results, Rows, component_rows
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.batches import roles_read
from mechshift_core.execution.scores import Stored
from mechshift_core.spec import Spec


def measure_nodes(sample: Sample, spec: Spec, intervention: str, method: str, results: Results) -> Measured:
    """Rows of `components`: the clean metric minus the metric with a component replaced.

    Args:
        intervention: Its name in the spec, and `method`, what it does, for the rows.
    """
    rows: Rows = []
    for side, stored in results.items():
        if isinstance(stored, str) or not sample.n:
            continue
        components = [_component(name) for name in stored.description["components"]]
        for role, having, effects in _by_role(sample, spec, side, stored):
            rows += component_rows(
                sample,
                spec,
                side,
                zip(components, effects, strict=True),
                intervention=intervention,
                method=method,
                token_role=role,
                examples=having,
            )
    return Measured(rows={"components": rows})


def _by_role(
    sample: Sample, spec: Spec, side: str, stored: Stored
) -> Iterator[tuple[str | None, npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Token role, selected examples that have it, and effects on them [components, those examples].

    The role is None where all positions are patched.
    """
    clean, metric = (stored.tensors[name].astype(np.float64) for name in ("clean_metric", "metric"))
    effects = clean - metric
    roles = stored.description["roles"]
    if not roles:
        yield None, sample.ids(side), effects[:, sample.ids(side)]
        return
    diffusion = spec.models[sample.side(side).model].paradigm == "masked_diffusion"
    read = [roles_read(example, sample.reading, diffusion=diffusion) for example in sample.dataset.examples]
    for role, of_role in zip(roles, effects, strict=True):
        having = [number for number in sample.ids(side) if role in read[number]]
        if having:
            yield role, np.array(having), of_role[:, having]


def _component(name: str) -> Component:
    """Kind and layer from a node's name, see :mod:`mechshift_core.attribution.nodes`."""
    layer = int(name[1:].partition(".")[0])
    return name, {"a": "head", "m": "mlp", "x": "residual"}[name[0]], layer
