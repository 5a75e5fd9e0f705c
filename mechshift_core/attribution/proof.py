"""What is proven of an architecture's declaration before any number comes out of a model.

On random tokens: each receiver's norm and each head's queries, keys and values, recomputed, are what the modules give,
and attention takes them for what they are called (:mod:`.receivers`); the heads' contributions, recomputed, sum to the
attention output; what a receiver reads differs between two runs by exactly what its sources write differently;
replacing every edge by what it carries anyway gives the clean run, and by its corrupted value the corrupted run; the
attention kernel computes what eager attention does, which defines the architecture; and both leave padding out, so that
a padded prompt gives what it gives alone.
"""

from __future__ import annotations

from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.agreement import blame, compare
from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import written_differences
from mechshift_core.attribution.patching import circuit_patch, run_patched
from mechshift_core.attribution.receivers import prove_attention, prove_inputs
from mechshift_core.attribution.record import Recorder, Recording
from mechshift_core.attribution.walk import Site, traced, walk
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Graph
from mechshift_core.models.kernels import attention_kernel
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

PROBES, LENGTH, PADDED = 2, 5, 2
"""Random prompts, their tokens, and how many of these are taken for padding in one of them."""


def prove(model: Model) -> None:
    """Prove that the declaration of a model's architecture says what the model does.

    Raises:
        ExecutionError: if it does not, with what does not hold.
    """
    generator = torch.Generator().manual_seed(0)
    config: Any = model.module.config
    clean, corrupt = torch.randint(config.vocab_size, (2, PROBES, LENGTH), generator=generator)
    logits = model.logits(clean)[:, -1]  # the tokens furthest apart: a metric that rounding does not drown
    if bool((logits.amax(-1) == logits.amin(-1)).any()):
        raise ExecutionError(
            f"{model.source}: all tokens have the same logit ({float(logits[0, 0]):.3g}), so that nothing is told "
            "apart; is its output matrix zero, or a cap of the logits in its config.json?"
        )
    batch = CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=logits.argmax(-1), foil_ids=logits.argmin(-1)
    ).to(model.device)
    try:
        _prove_modules(model)
        prove_inputs(model, batch.clean_ids)
        prove_attention(model, batch.clean_ids[:1])
        _prove_kernel(model, batch)
        _prove_padding(model, batch.clean_ids)
        runs = [_run(model, batch, ids) for ids in (batch.clean_ids, batch.corrupt_ids)]
        _prove_heads(model, runs[0][0])
        _prove_graph(model, batch, runs)
        _prove_patching(model, batch, runs[0][1], runs[1][1])
    except ExecutionError:
        raise
    except Exception as error:  # what nnsight or torch make of a module that is not there, or not where it is expected
        raise ExecutionError(f"{blame(model)}: {error}") from error


def _prove_modules(model: Model) -> None:
    """Every declared module is there, and the norms are norms that are known."""
    view, declared = model.view, model.view.declaration
    for path in (declared.embedding, declared.blocks, declared.final_norm, declared.head):
        view.module(path)
    if not isinstance(view.module(declared.embedding), torch.nn.Embedding):
        raise ExecutionError(f"{blame(model)}: {declared.embedding} is no embedding of tokens")
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
        summed = torch.einsum("bshe,hed->bsd", widened(heads), widened(model.view.output_weight(layer)))
        bias = model.view.output_bias(layer)
        summed = summed if bias is None else summed + widened(bias)
        compare(model, summed, written, f"layer {layer}: the heads do not sum to the attention output")


def _prove_graph(model: Model, batch: CounterfactualBatch, runs: list[tuple[_Everything, Recording]]) -> None:
    """Receivers read what the sources before them write."""
    (clean, clean_run), (corrupt, corrupt_run) = runs
    written = widened(written_differences(model, clean_run.activations, corrupt_run.activations))
    graph = Graph.of(model.shape)
    sources = {receiver.layer * 2 + (receiver.kind == "mlp"): receiver.sources for receiver in graph.receivers}
    names = [f"the {kind} of layer {layer}" for layer in range(model.shape.layers) for kind in ("heads", "MLP")]
    for number, (name, before, after) in enumerate(zip([*names, "the logits"], clean.read, corrupt.read, strict=True)):
        expected = written[: sources[number]].sum(0).unflatten(0, batch.clean_ids.shape)
        expected = expected if len(before[0]) == len(expected[0]) else batch.rows_read(expected)
        what = f"what {name} read is not the sum of what the sources before write"
        size = widened(torch.maximum(before.abs(), after.abs()))
        compare(model, widened(after) - widened(before), expected, what, subtracted=size)


def _prove_kernel(model: Model, batch: CounterfactualBatch) -> None:
    """The chosen attention kernel leaves nothing out that eager attention does, e.g. a cap of attention logits."""
    module: Any = model.module
    kernel = module.config._attn_implementation
    found = model.logits(batch.clean_ids)
    with attention_kernel(module, "eager"):
        expected = model.logits(batch.clean_ids)
    what = f"with the attention kernel {kernel!r} it computes something else than with 'eager'; choose no other kernel"
    compare(model, found, expected, what)


def _prove_padding(model: Model, ids: Tensor) -> None:
    """Masked tokens on the right of a prompt change nothing, with the chosen attention kernel and with `eager`."""
    module: Any = model.module
    length = ids.shape[1] - PADDED
    mask = torch.ones_like(ids)
    mask[1:, length:] = 0
    expected = model.logits(ids[1:, :length])
    for kernel in dict.fromkeys((module.config._attn_implementation, "eager")):
        with attention_kernel(module, kernel):
            found = model.logits(ids, mask)[1:, :length]
        what = (
            f"with the attention kernel {kernel!r} a prompt that is padded, beside a longer one, gives something else: "
            "padding is not left out"
        )
        compare(model, found, expected, what)


def _prove_patching(model: Model, batch: CounterfactualBatch, clean: Recording, corrupt: Recording) -> None:
    graph = Graph.of(model.shape)
    nothing = circuit_patch(graph, [graph.mask & False], model.device)
    patched = run_patched(model, batch, corrupt.activations, nothing)[0]
    compare(model, patched, corrupt.metric, "replacing every edge does not give the corrupted run")
    patched = run_patched(model, batch, clean.activations, nothing)[0]
    compare(model, patched, clean.metric, "replacing every edge by what it carries does not give the clean run")
