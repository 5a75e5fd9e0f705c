"""The backward pass of an attribution: gradients where receivers read, contracted as they arrive.

Gradients are taken at projection and norm outputs only; the residual stream is never copied, the weights are frozen,
and a layer's gradients are turned into scores before those of the layer below are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.contraction import Contraction, head_gradients
from mechshift_core.attribution.methods import CLEAN
from mechshift_core.attribution.record import Recorder, Recording, live_heads
from mechshift_core.attribution.rules import BackwardRules
from mechshift_core.attribution.walk import Site, Visitor, traced, walk
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

Points = Sequence[tuple[float | Tensor, float]]
"""(alpha, weight) of each step; alpha is one number for all examples, or one each, [examples]."""


@dataclass(frozen=True, slots=True)
class Component:
    """What is put on a path in a run that is clean otherwise: the heads of a layer, together, or its MLP.

    Attributes:
        kind: `heads` or `mlp`.
        layer: The block.
        clean: What it writes on the clean run, [examples, positions, hidden]; `corrupt` on the corrupted one.
    """

    kind: str
    layer: int
    clean: Tensor
    corrupt: Tensor


@dataclass
class _Layer:
    """What is known of a layer's receivers until all their gradients are there."""

    residual: Tensor | None = None
    outputs: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Tensor] = field(default_factory=dict)
    mlp_gradient: Tensor | None = None


class _GradientPass(Visitor):
    """Runs interpolated embeddings forward, then hands each layer's gradients to the contraction.

    Args:
        model: The model.
        embeddings: What to run, [steps x examples, positions, hidden].
        steps: Number of steps.
        recorders: What else is to be kept of this run: rows at the ends of the path.
        instead: (component, values), what one writes in this run, [steps x examples, positions, hidden].
        rules: Other backward rules than the gradient's.
    """

    def __init__(
        self,
        model: Model,
        embeddings: Tensor,
        steps: int,
        recorders: list[Recorder],
        instead: tuple[Component, Tensor] | None = None,
        rules: BackwardRules | None = None,
    ) -> None:
        self.model = model
        self.embeddings = embeddings
        self.steps = steps
        self.recorders = recorders
        self.instead = instead
        self.rules = rules
        self.read: Tensor | None = None
        self.layers = [_Layer() for _ in range(model.shape.layers)]
        self.first: list[Tensor] = []
        self.watches: list[RemovableHandle] = []
        self.contraction: Contraction | None = None

    def embedding(self, site: Site) -> None:
        site.output = self.embeddings
        for recorder in self.recorders:
            recorder.keep_embedding(self.embeddings)

    def attention_norm(self, layer: int, site: Site) -> None:
        residual = site.input
        self.layers[layer].residual = residual.detach()
        if self.rules is not None:
            norm = self.model.view.norm(self.model.view.declaration.attention_norm, layer)
            site.output = norm.linear(residual, site.output)

    def projection(self, layer: int, path: str, site: Site) -> None:
        output = site.output
        self.layers[layer].outputs[path] = output.detach()

        def arrived(gradient: Tensor) -> None:
            self.layers[layer].gradients[path] = gradient
            self._contract(layer)

        self._watch(layer, output, arrived)

    def attention_output(self, layer: int, site: Site) -> None:
        if self.recorders:
            heads = live_heads(self.model, layer, site)  # a site is read once, and in order
            for recorder in self.recorders:
                recorder.keep_heads(heads)

    def attention_written(self, layer: int, site: Site) -> None:
        self._replace("heads", layer, site)

    def mlp_norm(self, layer: int, site: Site) -> None:
        residual, output = site.input, site.output
        norm = self.model.view.norm(self.model.view.declaration.mlp_norm, layer)
        frozen = self.rules is not None
        if frozen:
            output = norm.linear(residual, output)
            site.output = output
        residual = residual.detach()

        def arrived(gradient: Tensor) -> None:
            self.layers[layer].mlp_gradient = self._summed(norm.vector_jacobian(residual, gradient, frozen=frozen))
            self._contract(layer)

        self._watch(layer, output, arrived)

    def mlp_written(self, layer: int, site: Site) -> None:
        if self.recorders:
            written = site.output
            for recorder in self.recorders:
                recorder.keep_mlp(written)
        self._replace("mlp", layer, site)

    def final_norm(self, residual: Tensor, output: Tensor) -> Tensor:
        norm = self.model.view.norm(self.model.view.declaration.final_norm)
        frozen = self.rules is not None
        if frozen:
            output = norm.linear(residual, output)
        residual = residual.detach()

        def arrived(gradient: Tensor) -> None:
            assert self.contraction is not None
            gradient = norm.vector_jacobian(residual, gradient, frozen=frozen)
            self.contraction.add_logits(self._summed(gradient).squeeze(1))

        self.watches.append(output.register_hook(arrived))
        return output

    def head(self, site: Site) -> None:
        if self.rules is not None:
            self.read = site.output[:, 0]

    def logits(self, logits: Tensor) -> Tensor:
        """The logits, differentiated by the rules where something follows the output matrix (a soft cap)."""
        if self.rules is None or self.read is None:
            return logits
        return self.rules.capped(self.read, logits)

    def backward(self, total: Tensor, contraction: Contraction) -> None:
        """Run backward; every layer's receivers are contracted on the way."""
        self.contraction = contraction
        torch.autograd.grad(total, self.first)

    def release(self) -> None:
        """Let go of the run's tensors, which know this pass by their hooks: a cycle that no collector sees."""
        for watch in self.watches:
            watch.remove()
        self.watches.clear()
        self.first.clear()
        self.read = self.contraction = None

    def _watch(self, layer: int, output: Tensor, arrived: Callable[[Tensor], None]) -> None:
        self.watches.append(output.register_hook(arrived))
        if layer == 0:
            self.first.append(output)

    def _replace(self, kind: str, layer: int, site: Site) -> None:
        """Put a component on the path; a gradient of 0 goes on through it, so that every receiver has one."""
        if self.instead is not None and (self.instead[0].kind, self.instead[0].layer) == (kind, layer):
            site.output = self.instead[1] + 0 * site.output

    def _summed(self, gradient: Tensor) -> Tensor:
        summed: Tensor = gradient.unflatten(0, (self.steps, -1)).sum(0)
        return summed

    def _contract(self, layer: int) -> None:
        """Turn a layer's gradients into scores once all are there, and let go of them."""
        known = self.layers[layer]
        if known.mlp_gradient is None or len(known.gradients) < len(known.outputs):
            return
        assert self.contraction is not None and known.residual is not None
        heads = head_gradients(
            self.model,
            layer,
            known.residual,
            known.outputs,
            known.gradients,
            self.steps,
            frozen=self.rules is not None,
        )
        self.contraction.add_layer(layer, heads, known.mlp_gradient.flatten(0, 1))
        self.layers[layer] = _Layer()


def differentiate(
    model: Model,
    batch: CounterfactualBatch,
    path: Points,
    endpoints: dict[float, int],
    contraction: Callable[[dict[float, Recording]], Contraction],
    *,
    component: Component | None = None,
    rules: BackwardRules | None = None,
) -> None:
    """Add the scores of some steps of a path, which go through the model as one batch.

    Args:
        model: The model; where there are rules, they have to be in force (see :meth:`BackwardRules.applied`).
        batch: Examples, on the model's device.
        path: The steps.
        endpoints: alpha -> step, for the ends of the path of which a recording is wanted.
        contraction: Gives the contraction that the gradients go to, once the recordings at the ends are there.
        component: What is on the path; the input embeddings unless given.
        rules: Other backward rules than the gradient's.
    """
    steps, examples = len(path), len(batch)
    embed = model.view.module(model.view.declaration.embedding)
    dtype = next(model.module.parameters()).dtype
    with torch.no_grad():
        clean, corrupt = (widened(embed(ids)) for ids in (batch.clean_ids, batch.corrupt_ids))
        points = [torch.as_tensor(alpha, dtype=clean.dtype, device=clean.device) for alpha, _ in path]
        alphas = torch.stack([point.expand(examples) for point in points])

        def between(clean: Tensor, corrupt: Tensor, alphas: Tensor) -> Tensor:
            found: Tensor = (corrupt + alphas[:, :, None, None] * (clean - corrupt)).flatten(0, 1)
            return found.to(dtype)

        instead = None
        if component is not None:
            instead = component, between(widened(component.clean), widened(component.corrupt), alphas)
            alphas = torch.full_like(alphas, CLEAN)
        embeddings = between(clean, corrupt, alphas)
    embeddings.requires_grad_(True)
    recorders = {alpha: Recorder(model, slice(k * examples, (k + 1) * examples)) for alpha, k in endpoints.items()}
    visitor = _GradientPass(model, embeddings, steps, list(recorders.values()), instead, rules)
    try:
        with traced(model, batch, batch.clean_ids.repeat(steps, 1)):
            logits = visitor.logits(walk(model, batch, visitor))
            metric = batch.measure(logits).reshape(steps, examples)
            total = (metric * metric.new_tensor([weight for _, weight in path])[:, None]).sum()
            recordings = {alpha: recorder.recording(batch, logits) for alpha, recorder in recorders.items()}
            visitor.backward(total, contraction(recordings))
    finally:
        visitor.release()
