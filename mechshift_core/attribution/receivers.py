"""What is proven of receivers: that queries, keys, values, MLPs and the logits read what the declaration says.

Replacing every edge proves nothing of how a query is read, since the logits are then replaced as well. So, by hooks on
the modules and not through the views that attribution uses:

- the input of each projection is the declared norm of the residual stream, and so are those of the MLPs and the head;
- what a projection gives is its weight times its input plus its bias, head by head: an adapter that was not merged,
  quantised weights or a hook show here;
- attention takes the parts of the projections for what they are called. A head whose values are all the same vector
  gives that vector, whatever its queries and keys; a query moves its own head at its own position only; and no key or
  value moves a head that does not read it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mechshift_core.attribution.agreement import TOLERANCE, blame, compare
from mechshift_core.errors import ExecutionError
from mechshift_core.graph import ROLES, Role
from mechshift_core.models.load import Model
from mechshift_core.models.precision import widened

LENGTH, QUERY = 5, 2
"""Positions of a probe, and the one at which a query is changed."""
_NAMES = {"q": "query", "k": "key", "v": "value"}
STRENGTH = 4.0
"""Size of what takes the place of a query, key or value, in units of what is there."""


@dataclass
class _Layer:
    """What modules of a layer read and gave; the logits are one more layer."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


def prove_inputs(model: Model, ids: Tensor) -> None:
    """Prove what receivers read, and that each projection is its weight times that.

    Args:
        model: The model.
        ids: What to run, [rows, positions].

    Raises:
        ExecutionError: if it does not hold, with the layer and what is off.
    """
    view, declared = model.view, model.view.declaration
    layers = [_Layer() for _ in range(model.shape.layers)]
    last = _Layer()
    kept: list[tuple[_Layer, str, nn.Module]] = [
        (last, path, view.module(path)) for path in (declared.final_norm, declared.head)
    ]
    for number, layer in enumerate(layers):
        behind = (declared.mlp_post_norm,) if declared.mlp_post_norm is not None else ()
        paths = (declared.attention_norm, *declared.modules, declared.mlp_norm, declared.mlp, *behind)
        kept += [(layer, path, view.module(path, number)) for path in dict.fromkeys(paths)]
    with _hooks([module.register_forward_hook(_keeper(layer, path), with_kwargs=True) for layer, path, module in kept]):
        model.logits(ids)
    for number, layer in enumerate(layers):
        heads = f"layer {number}: what projections read is not the attention norm of the residual stream"
        for path in declared.modules:
            _prove_linear(model, number, path)
            _prove_read(model, layer, declared.attention_norm, number, path, heads)
            _prove_projection(model, number, path, layer)
        mlp = f"layer {number}: what the MLP reads is not its norm of the residual stream"
        _prove_read(model, layer, declared.mlp_norm, number, declared.mlp, mlp)
        if declared.mlp_post_norm is not None:
            found, expected = layer.inputs[declared.mlp_post_norm], layer.outputs[declared.mlp]
            what = f"layer {number}: the norm behind the MLP reads something else than the MLP's output"
            compare(model, found, expected, what, strict=True)
    _prove_read(model, last, declared.final_norm, None, declared.head, "what the head reads is not the final norm")


def prove_attention(model: Model, ids: Tensor) -> None:
    """Prove which query, key or value of which head each part of a projection is.

    One pass: each row changes one head's queries, keys or values in every layer, and what that does is undone behind
    the attention, so that layers do not mix.

    Args:
        model: The model.
        ids: One prompt, [1, positions].

    Raises:
        ExecutionError: if a part is something else, with layer, role and head.
    """
    view, declared, shape = model.view, model.view.declaration, model.shape
    changed = [(role, head) for role in ROLES for head in range(view.heads(role))]
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(len(changed), shape.head_size, generator=draw).to(model.device)
    read = [torch.empty(0)] * shape.layers
    put = [torch.empty(0)] * shape.layers  # the values that took the place, [values changed, head_size]
    handles: list[Any] = []

    def change(layer: int, path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            result = output.clone()
            for role, part in view.split(path, result).items():  # views of `result`
                size = STRENGTH * widened(part[0]).square().mean().sqrt()
                rows = [row for row, (of, _) in enumerate(changed) if of == role]
                instead = (vectors[rows] * size).to(part.dtype)
                for row, vector in zip(rows, instead, strict=True):
                    where = slice(None) if role == "v" else QUERY if role == "q" else 0
                    part[row + 1, where, changed[row][1]] = vector
                if role == "v":
                    put[layer] = instead
            return result

        return hook

    def keep(layer: int) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            read[layer] = inputs[0].detach().unflatten(-1, (shape.heads, shape.head_size))
            return (inputs[0][:1].expand_as(inputs[0]).contiguous(), *inputs[1:])

        return hook

    for layer in range(shape.layers):
        handles += [view.module(path, layer).register_forward_hook(change(layer, path)) for path in declared.modules]
        handles.append(view.module(declared.attention_output, layer).register_forward_pre_hook(keep(layer)))
    one: Any = lambda module, inputs: (inputs[0][:, :1],)  # noqa: E731 - a vocabulary is wide
    handles.append(view.module(declared.head).register_forward_pre_hook(one))
    with _hooks(handles):
        model.logits(ids[:, :LENGTH].repeat(len(changed) + 1, 1))
    for layer in range(shape.layers):
        _check_layer(model, layer, changed, widened(read[layer]), widened(put[layer]))


def _check_layer(model: Model, layer: int, changed: list[tuple[Role, int]], z: Tensor, values: Tensor) -> None:
    """What the heads of a layer gave, [1 + changed, positions, heads, head_size]; first, with nothing changed."""
    shape, reached = model.shape, float(z.abs().max())
    bound = TOLERANCE[next(model.module.parameters()).dtype] * reached
    own = _own(model, changed, z.shape[1]).to(z.device)
    spread = (z[1:] - z[0]).abs().amax(-1).masked_fill(own, 0).amax((1, 2))
    valued = [row for row, (role, _) in enumerate(changed) if role == "v"]
    off = (z[1:][valued] - values[:, None, None]).abs().amax(-1).masked_fill(~own[valued], 0).amax((1, 2))
    for (role, head), by in zip(changed, spread.tolist(), strict=True):
        if not by <= bound:
            raise ExecutionError(
                f"{blame(model)}: layer {layer}: what is read as the {_NAMES[role]} of head {head} moves other heads "
                f"or positions (by {by:.2g} where heads reach {reached:.2g})"
            )
    for head, by in enumerate(off.tolist()):
        if not by <= bound:
            group = f" (of {shape.key_value_heads}, of {shape.heads} query heads)"
            raise ExecutionError(
                f"{blame(model)}: layer {layer}: what is read as the value of head {head}{group} is not what its heads "
                f"average (off by {by:.2g} where heads reach {reached:.2g})"
            )


def _own(model: Model, changed: list[tuple[Role, int]], positions: int) -> Tensor:
    """Where a changed query, key or value may show, bool, [changed, positions, heads]."""
    group = model.shape.heads // model.shape.key_value_heads
    own = torch.zeros(len(changed), positions, model.shape.heads, dtype=torch.bool)
    for row, (role, head) in enumerate(changed):
        if role == "q":
            own[row, QUERY, head] = True
        else:
            own[row, :, head * group : (head + 1) * group] = True
    return own


def _prove_linear(model: Model, layer: int, path: str) -> None:
    """A projection is a plain linear layer."""
    from transformers.pytorch_utils import Conv1D

    module = model.view.module(path, layer)
    if type(module) not in (nn.Linear, Conv1D):
        raise ExecutionError(
            f"{model.source}: layer {layer}: {path} is a {type(module).__module__}.{type(module).__name__}; expected a "
            "plain linear layer, whose output is weight times input plus bias: merge adapters (merge_and_unload()), "
            "dequantize() weights, remove parametrizations"
        )


def _prove_read(model: Model, kept: _Layer, norm: str, layer: int | None, reader: str, what: str) -> None:
    expected = model.view.norm(norm, layer)(kept.inputs[norm])
    compare(model, kept.inputs[reader], expected, what, strict=True)


def _prove_projection(model: Model, layer: int, path: str, kept: _Layer) -> None:
    """Head by head, and from exactly what the module read: no rounding but that of one product."""
    view, tolerance = model.view, TOLERANCE[next(model.module.parameters()).dtype]
    for role, found in view.split(path, kept.outputs[path]).items():
        weight, bias = view.projection(layer, role)
        expected = torch.einsum("bsd,hed->bshe", widened(kept.inputs[path]), widened(weight))
        expected = expected if bias is None else expected + widened(bias)
        off = (widened(found) - expected).abs().amax((0, 1, 3))
        reached = expected.abs().amax((0, 1, 3))
        wrong = (~(off <= tolerance * reached.clamp(min=1e-6))).nonzero()[:, 0].tolist()  # NaN is wrong too
        if wrong:
            head = wrong[0]
            raise ExecutionError(
                f"{blame(model)}: layer {layer}: the {_NAMES[role]} of head {head} is not weight times input plus "
                f"bias (off by {float(off[head]):.2g} where values reach {float(reached[head]):.2g}); is there an "
                f"adapter or a hook on {path}?"
            )


def _keeper(layer: _Layer, path: str) -> Any:
    def hook(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
        layer.inputs[path] = (inputs or tuple(named.values()))[0].detach()
        if isinstance(output, Tensor):
            layer.outputs[path] = output.detach()

    return hook


@contextmanager
def _hooks(handles: list[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
