"""What is proven of an architecture's declaration before any number comes out of a model.

On random tokens: the heads' contributions, recomputed, sum to the attention output; what a receiver reads differs
between two runs by exactly what its sources write differently; replacing every edge by what it carries anyway gives the
clean run, and by its corrupted value the corrupted run.
"""

from __future__ import annotations

from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import written_differences
from mechshift_core.attribution.patching import circuit_patch, run_patched
from mechshift_core.attribution.record import Recorder, Recording
from mechshift_core.attribution.walk import Site, traced, walk
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Graph
from mechshift_core.models.load import Model

PROBES, LENGTH = 2, 5
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest error, relative to the values that are compared."""
ROUNDINGS = 16
"""Units in the last place by which a residual stream of many layers can be off."""


def prove(model: Model) -> None:
    """Prove that the declaration of a model's architecture says what the model does.

    Raises:
        ExecutionError: if it does not, with what does not hold.
    """
    generator = torch.Generator().manual_seed(0)
    config: Any = model.module.config
    clean, corrupt = torch.randint(config.vocab_size, (2, PROBES, LENGTH), generator=generator)
    logits = model.logits(clean)[:, -1]  # the tokens furthest apart: a metric that rounding does not drown
    batch = CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=logits.argmax(-1), foil_ids=logits.argmin(-1)
    ).to(model.device)
    try:
        _prove_modules(model)
        runs = [_run(model, batch, ids) for ids in (batch.clean_ids, batch.corrupt_ids)]
        _prove_heads(model, runs[0][0])
        _prove_graph(model, batch, runs)
        _prove_patching(model, batch, runs[0][1], runs[1][1])
    except ExecutionError:
        raise
    except Exception as error:  # what nnsight or torch make of a module that is not there, or not where it is expected
        raise ExecutionError(f"{_blame(model)}: {error}") from error


def _prove_modules(model: Model) -> None:
    """Every declared module is there, and the norms are norms that are known."""
    view, declared = model.view, model.view.declaration
    for path in (declared.embedding, declared.blocks, declared.final_norm, declared.head):
        view.module(path)
    view.norm(declared.final_norm)
    norms = [declared.attention_norm, declared.mlp_norm, declared.attention_post_norm, declared.mlp_post_norm]
    for layer in range(model.shape.layers):
        for path in (*declared.modules, declared.attention_output, declared.mlp):
            view.module(path, layer)
        for norm in norms:
            if norm is not None:
                view.norm(norm, layer)


class _Everything(Recorder):
    """Also keeps what the heads of a layer write together, and what receivers read."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.written: list[Tensor] = []
        self.read: list[Tensor] = []  # by layer attention and MLP, then the final norm at the position read

    def attention_norm(self, layer: int, site: Site) -> None:
        """Keep what the heads read."""
        self.read.append(site.input.detach())

    def attention_written(self, layer: int, site: Site) -> None:
        """Keep what the heads write together."""
        self.written.append(site.output.detach())

    def mlp_norm(self, layer: int, site: Site) -> None:
        """Keep what the MLP reads."""
        self.read.append(site.input.detach())

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        """Keep what the logits are computed from."""
        self.read.append(residual.detach())
        return output


def _run(model: Model, batch: CounterfactualBatch, ids: Tensor) -> tuple[_Everything, Recording]:
    recorder = _Everything(model)
    with torch.no_grad(), traced(model, batch, ids):
        recording: Recording = nnsight.save(recorder.recording(batch, walk(model, batch, recorder)))
    return recorder, recording


def _prove_heads(model: Model, kept: _Everything) -> None:
    for layer, (heads, written) in enumerate(zip(kept.heads, kept.written, strict=True)):
        summed = torch.einsum("bshe,hed->bsd", heads.float(), model.view.output_weight(layer).float())
        bias = _output_bias(model, layer)
        _compare(model, summed + bias, written, f"layer {layer}: the heads do not sum to the attention output")


def _prove_graph(model: Model, batch: CounterfactualBatch, runs: list[tuple[_Everything, Recording]]) -> None:
    """Receivers read what the sources before them write."""
    (clean, clean_run), (corrupt, corrupt_run) = runs
    written = written_differences(model, clean_run.activations, corrupt_run.activations).float()
    graph = Graph.of(model.shape)
    sources = {receiver.layer * 2 + (receiver.kind == "mlp"): receiver.sources for receiver in graph.receivers}
    names = [f"the {kind} of layer {layer}" for layer in range(model.shape.layers) for kind in ("heads", "MLP")]
    for number, (name, before, after) in enumerate(zip([*names, "the logits"], clean.read, corrupt.read, strict=True)):
        expected = written[: sources[number]].sum(0).unflatten(0, batch.clean_ids.shape)
        expected = expected if len(before[0]) == len(expected[0]) else batch.rows_read(expected)
        what = f"what {name} read is not the sum of what the sources before write"
        size = torch.maximum(before.abs(), after.abs()).float()
        _compare(model, after.float() - before.float(), expected, what, subtracted=size)


def _output_bias(model: Model, layer: int) -> Tensor | float:
    bias: Tensor | None = model.view.module(model.view.declaration.attention_output, layer).bias
    return 0.0 if bias is None else bias.float()


def _prove_patching(model: Model, batch: CounterfactualBatch, clean: Recording, corrupt: Recording) -> None:
    graph = Graph.of(model.shape)
    nothing = circuit_patch(graph, [graph.mask & False], model.device)
    patched = run_patched(model, batch, corrupt.activations, nothing)[0]
    _compare(model, patched, corrupt.metric, "replacing every edge does not give the corrupted run")
    patched = run_patched(model, batch, clean.activations, nothing)[0]
    _compare(model, patched, clean.metric, "replacing every edge by what it carries does not give the clean run")


def _compare(model: Model, found: Tensor, expected: Tensor, what: str, *, subtracted: Tensor | float = 0.0) -> None:
    """Refuse a model where two tensors differ by more than rounding.

    In float32 every value must agree; in half precision, where the rounding of every layer adds up, the typical one.

    Args:
        model: The model.
        found: What came.
        expected: What should have come.
        what: What is wrong if they differ.
        subtracted: Magnitude of the values of which `found` is a difference: their rounding is in it.
    """
    found, expected = found.float(), expected.float()
    dtype = next(model.module.parameters()).dtype
    rounding = ROUNDINGS * torch.finfo(dtype).eps * torch.as_tensor(subtracted)
    error, scale = ((found - expected).abs() - rounding).clamp(min=0), expected.abs()
    reduced = torch.max if dtype == torch.float32 or expected.ndim == 1 else torch.median
    off, reached = float(reduced(error)), float(reduced(scale))
    if not off <= TOLERANCE[dtype] * max(reached, 1e-6):
        raise ExecutionError(f"{_blame(model)}: {what} (off by {off:.2g} where values reach {reached:.2g})")


def _blame(model: Model) -> str:
    return (
        f"{model.source}: the declaration of {type(model.module).__name__} in mechshift_core/models/architectures.py "
        "does not fit this version of it"
    )
