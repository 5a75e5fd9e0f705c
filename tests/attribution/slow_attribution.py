"""A slow and direct implementation of the attribution methods: a Transformers model, hooks and autograd.

It shares no code with what it is held against: not the analytic gradients of norms, not the contraction, not the walk
through a traced model, not the rules. Every receiver reads the residual stream plus a vector of zeros of its own, and
autograd says what that vector does to the metric. Backward rules are written as autograd functions with the formula of
the paper, in modules that take the place of the model's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core import CounterfactualBatch
from mechshift_core.graph import Graph, Shape
from mechshift_core.models.declared import ARCHITECTURES, Architecture
from mechshift_core.models.precision import Doubled

KERNEL = "slow_attribution"


class _Times(torch.autograd.Function):
    """The same values; the gradient times a factor."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.factor, None


class _Softmax(torch.autograd.Function):
    """Softmax; backward as if at a temperature (GIM), without its 1/T."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, temperature: float) -> Tensor:
        weights = torch.exp(logits - torch.logsumexp(logits, -1, keepdim=True))
        ctx.save_for_backward(torch.exp(logits / temperature - torch.logsumexp(logits / temperature, -1, keepdim=True)))
        return weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (soft,) = ctx.saved_tensors
        return soft * (gradients[0] - (gradients[0] * soft).sum(-1, keepdim=True)), None


class _Ratio(torch.autograd.Function):
    """A function f of single numbers; backward as if f(x) = c x with c = f(x)/x (LRP's identity rule)."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        result = function(values)
        ctx.save_for_backward(result / values)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.saved_tensors[0], None


class _FrozenNorm(nn.Module):
    """A norm by its formula, the divisor taken for a constant."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if isinstance(norm, nn.LayerNorm):
            x = x - x.mean(-1, keepdim=True)
            return x / (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt().detach() * norm.weight + norm.bias
        gemma = type(norm).__name__.startswith("Gemma")
        epsilon = norm.eps if gemma else norm.variance_epsilon
        divisor = (x.pow(2).mean(-1, keepdim=True) + epsilon).sqrt().detach()
        return x / divisor * (1 + norm.weight if gemma else norm.weight)


class _RuledMLP(nn.Module):
    """An MLP by its formula, with the rules of a method."""

    def __init__(self, mlp: Any, method: str) -> None:
        super().__init__()
        self.mlp, self.method = mlp, method

    def forward(self, x: Tensor) -> Tensor:
        mlp = self.mlp
        function = mlp.act_fn if hasattr(mlp, "act_fn") else mlp.act

        def act(values: Tensor) -> Tensor:
            return _Ratio.apply(values, function) if self.method == "relp" else function(values)  # type: ignore[no-any-return]

        if hasattr(mlp, "gate_proj"):
            left, right = _Times.apply(act(mlp.gate_proj(x)), 0.5), _Times.apply(mlp.up_proj(x), 0.5)
            return mlp.down_proj(left * right)  # type: ignore[no-any-return]
        if hasattr(mlp, "c_fc"):
            return mlp.c_proj(act(mlp.c_fc(x)))  # type: ignore[no-any-return]
        return mlp.dense_4h_to_h(act(mlp.dense_h_to_4h(x)))  # type: ignore[no-any-return]


def _attention(method: str) -> Callable[..., tuple[Tensor, None]]:
    def attention(
        module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
        scaling: float | None = None, softcap: float | None = None, **_: Any,
    ) -> tuple[Tensor, None]:  # fmt: skip
        heads, outputs = query.shape[1], []
        for head in range(heads):
            shared = head * key.shape[1] // heads
            q, k, v = query[:, head], key[:, shared], value[:, shared]
            if method == "gim":
                q, k, v = _Times.apply(q, 0.25), _Times.apply(k, 0.25), _Times.apply(v, 0.5)
            logits = torch.einsum("bqe,bke->bqk", q, k) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
            if softcap is not None:
                logits = softcap * torch.tanh(logits / softcap)
            if attention_mask is not None:
                logits = logits + attention_mask[:, 0]
            weights = _Softmax.apply(logits, 2.0 if method == "gim" else 1.0)
            weights = _Times.apply(weights, 0.0) if method == "relp" else weights
            outputs.append(torch.einsum("bqk,bke->bqe", weights, v))
        return torch.stack(outputs, dim=2), None

    return attention


@dataclass
class SlowModel:
    """A model folder as Transformers loads it, in float64, with eager attention."""

    folder: Path
    bidirectional: bool
    module: Any = field(init=False)
    declared: Architecture = field(init=False)
    shape: Shape = field(init=False)

    def __post_init__(self) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(self.folder)
        config.is_causal = not self.bidirectional
        with Doubled():  # the frequencies of rotary embeddings, too
            self.module = AutoModelForCausalLM.from_pretrained(
                self.folder, config=config, dtype=torch.float64, attn_implementation="eager"
            ).eval()
        for buffer in self.module.buffers():
            buffer.data = buffer.data.double()
        self.declared = ARCHITECTURES[config.model_type].declaration
        heads = config.num_attention_heads
        self.shape = Shape(
            layers=config.num_hidden_layers,
            heads=heads,
            key_value_heads=getattr(config, "num_key_value_heads", heads) or heads,
            head_size=getattr(config, "head_dim", None) or config.hidden_size // heads,
            hidden_size=config.hidden_size,
            parallel=getattr(config, "use_parallel_residual", False),
        )

    def at(self, path: str, layer: int | None = None) -> Any:
        """A module."""
        return self.module.get_submodule(path if layer is None else f"{self.declared.blocks}.{layer}.{path}")

    def logits(self, ids: Tensor, at: Tensor) -> Tensor:
        """Logits at one position of each example, [examples, vocabulary]."""
        with Doubled():
            found: Tensor = self.module(input_ids=ids, use_cache=False).logits
        return found[torch.arange(len(ids)), at]

    def ruled(self, method: str) -> SlowModel:
        """A copy with the modules of a method's backward rules."""
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface, eager_mask

        changed = copy.copy(self)
        changed.module = copy.deepcopy(self.module)
        for path, module in list(changed.module.named_modules()):
            if type(module).__name__.endswith("Norm"):
                changed.module.set_submodule(path, _FrozenNorm(module))
        for layer in range(self.shape.layers):
            path = f"{self.declared.blocks}.{layer}.{self.declared.mlp}"
            changed.module.set_submodule(path, _RuledMLP(changed.module.get_submodule(path), method))
        AttentionInterface.register(f"{KERNEL}_{method}", _attention(method))
        AttentionMaskInterface.register(f"{KERNEL}_{method}", eager_mask)
        changed.module.set_attn_implementation(f"{KERNEL}_{method}")
        cap = getattr(self.module.config, "final_logit_softcapping", None)
        if cap is not None and method == "relp":
            changed.module.config.final_logit_softcapping = None
            changed.at(self.declared.head).register_forward_hook(
                lambda _, inputs, output: _Ratio.apply(output, lambda x: cap * torch.tanh(x / cap))
            )
        return changed


@contextmanager
def _hooks(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def written(slow: SlowModel, ids: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What each source writes, and what each component (`input`, `heads0`, `m0`, ...) writes, by name."""
    declared, shape = slow.declared, slow.shape
    sources: dict[str, Tensor] = {}
    components: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, inputs, output: kept.__setitem__(name, output.detach())

    def keep_input(name: str) -> Any:
        return lambda module, inputs: kept.__setitem__(name, inputs[0].detach())

    handles = [slow.at(declared.embedding).register_forward_hook(keep("input"))]
    for layer in range(shape.layers):
        output = slow.at(declared.attention_output, layer)
        handles.append(output.register_forward_pre_hook(keep_input(f"z{layer}")))
        written_by = slow.at(declared.attention_post_norm or declared.attention_output, layer)
        handles.append(written_by.register_forward_hook(keep(f"heads{layer}")))
        handles.append(slow.at(declared.mlp_post_norm or declared.mlp, layer).register_forward_hook(keep(f"m{layer}")))
    with _hooks(handles), torch.no_grad():
        slow.logits(ids, torch.zeros(len(ids), dtype=torch.long))
    with torch.no_grad():
        sources["input"] = components["input"] = kept["input"]
        for layer in range(shape.layers):
            z, output = kept[f"z{layer}"], slow.at(declared.attention_output, layer)
            none = output(torch.zeros_like(z))
            whole = output(z)
            size = kept[f"heads{layer}"] / whole if declared.attention_post_norm else torch.ones_like(whole)
            for head in range(shape.heads):
                alone = torch.zeros_like(z)
                columns = slice(head * shape.head_size, (head + 1) * shape.head_size)
                alone[..., columns] = z[..., columns]
                sources[f"a{layer}.h{head}"] = (output(alone) - none) * size
            components[f"heads{layer}"] = kept[f"heads{layer}"]
            sources[f"m{layer}"] = components[f"m{layer}"] = kept[f"m{layer}"]
    return sources, components


def gradients(slow: SlowModel, batch: CounterfactualBatch, component: str, value: Tensor) -> dict[str, Tensor]:
    """Gradient of the metric at what each receiver reads, where one component writes a given value."""
    declared, shape = slow.declared, slow.shape
    size = (*batch.clean_ids.shape, shape.hidden_size)
    changes = {
        receiver.name: torch.zeros(size, dtype=torch.float64, requires_grad=True)
        for receiver in Graph.of(shape).receivers
    }
    streams: dict[int, Tensor] = {}
    handles: list[Any] = []
    handles.append(slow.at(declared.embedding).register_forward_hook(_instead(component == "input", value)))

    def read(layer: int) -> Any:
        return lambda module, inputs: streams.__setitem__(layer, inputs[0])

    def added(receiver: str) -> Any:
        return lambda module, inputs: (inputs[0] + changes[receiver],)

    for layer in range(shape.layers):
        handles.append(slow.at(declared.attention_norm, layer).register_forward_pre_hook(read(layer)))
        handles += [
            slow.at(path, layer).register_forward_hook(_apart(slow, layer, path, streams, changes))
            for path in dict.fromkeys(declared.attention_projections.values())
        ]
        attention = slow.at(declared.attention_post_norm or declared.attention_output, layer)
        handles.append(attention.register_forward_hook(_instead(component == f"heads{layer}", value)))
        handles.append(slow.at(declared.mlp_norm, layer).register_forward_pre_hook(added(f"m{layer}")))
        mlp = slow.at(declared.mlp_post_norm or declared.mlp, layer)
        handles.append(mlp.register_forward_hook(_instead(component == f"m{layer}", value)))
    handles.append(slow.at(declared.final_norm).register_forward_pre_hook(added("logits")))
    with _hooks(handles):
        assert isinstance(batch.position, Tensor)
        total = batch.measure(slow.logits(batch.clean_ids, batch.position)).sum()
    found = torch.autograd.grad(total, list(changes.values()), allow_unused=True)
    return {
        name: torch.zeros(size, dtype=torch.float64) if gradient is None else gradient
        for name, gradient in zip(changes, found, strict=True)
    }


def _instead(here: bool, value: Tensor) -> Any:
    return lambda module, inputs, output: value if here else output


def _apart(slow: SlowModel, layer: int, path: str, streams: dict[int, Tensor], changes: dict[str, Tensor]) -> Any:
    """A hook that gives each head of a projection an input of its own."""
    declared, shape = slow.declared, slow.shape
    norm = slow.at(declared.attention_norm, layer)
    roles = [role for role in ("q", "k", "v") if declared.attention_projections[role] == path]  # type: ignore[index]

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        parts = output
        start = 0
        for number, role in enumerate(roles):
            heads = shape.heads if role == "q" else shape.key_value_heads
            for head in range(heads):
                name = f"a{layer}.{'h' if heads == shape.heads else 'kv'}{head}<{role}>"
                first = start + head * shape.head_size
                if declared.fusion == "interleaved" and len(roles) > 1:
                    first = (head * 3 + number) * shape.head_size
                mask = torch.zeros(output.shape[-1], dtype=torch.bool)
                mask[first : first + shape.head_size] = True
                with Doubled():
                    own = module.forward(norm.forward(streams[layer] + changes[name]))
                parts = torch.where(mask, own, parts)
            start += heads * shape.head_size
        return parts

    return hook


def slow_scores(
    slow: SlowModel,
    batch: CounterfactualBatch,
    method: str,
    *,
    alphas: list[float] | None = None,
    points: Tensor | None = None,
) -> Tensor:
    """Scores of every edge, [examples, edges]: a run for each component and each point of its path.

    Args:
        slow: The model.
        batch: Examples.
        method: As in `attribute_edges`.
        alphas: Points of a path, equally weighted.
        points: One random point of each example's path, [examples].
    """
    graph = Graph.of(slow.shape)
    (clean, clean_parts), (corrupt, corrupt_parts) = (
        written(slow, ids) for ids in (batch.clean_ids, batch.corrupt_ids)
    )
    activations = method in ("eap-ig-activations", "eap-ig-sources")
    runner = slow.ruled(method) if method in ("gim", "relp") else slow
    fixed = [1.0] if alphas is None else alphas
    places = [torch.full((len(batch), 1, 1), alpha, dtype=torch.float64) for alpha in fixed]
    if points is not None:
        places = [points[:, None, None]]
    found: dict[str, dict[str, Tensor]] = {}
    for component in clean_parts if activations else ["input"]:
        for place in places:
            value = (1 - place) * corrupt_parts[component] + place * clean_parts[component]
            here = gradients(runner, batch, component, value)
            summed = found.setdefault(component, {name: torch.zeros_like(value) for name in here})
            found[component] = {name: summed[name] + here[name] / len(places) for name in here}
    columns = []
    for receiver in graph.receivers:
        for source in graph.sources[: receiver.sources]:
            if method == "eap-ig-sources":
                own = f"heads{source.layer}" if source.kind == "head" else source.name
                gradient = found[own][receiver.name]
            else:
                gradient = torch.stack([by_receiver[receiver.name] for by_receiver in found.values()]).mean(0)
            columns.append(-((corrupt[source.name] - clean[source.name]) * gradient).sum((1, 2)))
    return torch.stack(columns, dim=1)
