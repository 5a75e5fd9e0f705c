"""Norms of the difference between two models' weights, component by component.

Every parameter counts once: squares of the components add up to that of all weights. A matrix that is both embedding
and output matrix is the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.hands import load_planned
from mechshift_core.execution.plan import Plan, describe_cell
from mechshift_core.execution.store import RunFolder
from mechshift_core.models.load import Model

if TYPE_CHECKING:
    from mechshift_core.models.architectures import ArchitectureView

AT_ONCE = 2**24
"""Numbers that are squared at once, in float64."""
ALL = "all"


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a model's weights.

    Attributes:
        name: `embedding`, `unembedding`, `a{l}.h{h}` (or `a{l}.kv{j}` where key/value heads are shared), `a{l}` (the
            bias of an attention output, which no head writes), `m{l}`, `n{l}` (the norms of a layer), `final norm`,
            another module by its path, or `all`.
        kind: q, k, v or o (of heads), mlp, norm, embedding, unembedding, other or all.
        layer: None outside of the layers; `head` None where it is not of a head.
    """

    name: str
    kind: str
    layer: int | None = None
    head: int | None = None


@dataclass(slots=True)
class Squares:
    """Sums of squares: of the weights before, of those after, and of their difference; over how many parameters."""

    parameters: int = 0
    before: float = 0.0
    after: float = 0.0
    difference: float = 0.0

    def add(self, before: Tensor, after: Tensor) -> None:
        """Count some weights in."""
        self.parameters += before.numel()
        for old, new in zip(before.reshape(-1).split(AT_ONCE), after.reshape(-1).split(AT_ONCE), strict=True):
            wide, other = old.double(), new.double()
            self.before += float(wide.square().sum())
            self.after += float(other.square().sum())
            self.difference += float((other - wide).square().sum())


@dataclass(frozen=True, slots=True)
class WeightNorms:
    """The components of two models, in order, and their squares; the last is `all`."""

    squares: dict[Component, Squares] = field(default_factory=dict)

    def norms(self) -> dict[str, np.ndarray]:
        """`parameters` int64, and the norms `before`, `after` and `difference` float32, each [components]."""
        found = list(self.squares.values())
        roots = {
            name: np.sqrt([getattr(one, name) for one in found]).astype(np.float32)
            for name in ("before", "after", "difference")
        }
        return {"parameters": np.array([one.parameters for one in found], dtype=np.int64), **roots}


def execute_weights(plan: Plan, cell: Cell, model: Model, folder: RunFolder) -> None:
    """Compute and store the norms of a pair: see :meth:`WeightNorms.norms`; the description names the components.

    The model after is loaded into the memory of the CPU, beside the model before.

    Raises:
        ExecutionError: if the model after can't be loaded, its weights are others, or the cell can't be written.
    """
    pair = plan.spec.pair(cell.pair)
    found = weight_norms(model, load_planned(plan, pair.after, device="cpu"))
    description = describe_cell(plan, cell, model) | {"weights_after": plan.models[pair.after].weights}
    components = [asdict(one) for one in found.squares]
    folder.write_cell(cell.key, {**description, "components": components, "halvings": []}, found.norms())


def weight_norms(before: Model, after: Model) -> WeightNorms:
    """Norms of two models' weights and of their difference, by component.

    Raises:
        ExecutionError: if a parameter of one is not in the other, or has another shape there.
    """
    models = (before, after)
    own, other = ({name: one.detach() for name, one in _parameters(model.module, shared=True)} for model in models)
    distinct = dict.fromkeys(name for model in models for name, _ in _parameters(model.module, shared=False))
    found: dict[Component, Squares] = {}
    total = Squares()
    for name in distinct:
        _check_alike(before, after, name, own.get(name), other.get(name))
        one, moved = own[name].cpu(), other[name].cpu()
        for (component, part), (_, changed) in zip(
            _parts(before.view, name, one), _parts(before.view, name, moved), strict=True
        ):
            squares = found.setdefault(component, Squares())
            squares.add(part, changed)
    for squares in found.values():
        total.parameters += squares.parameters
        for name in ("before", "after", "difference"):
            setattr(total, name, getattr(total, name) + getattr(squares, name))
    return WeightNorms({**found, Component(ALL, ALL): total})


def _parameters(module: nn.Module, *, shared: bool) -> Iterator[tuple[str, Tensor]]:
    """Parameters by name; `shared`: one that has several names under each of them."""
    yield from module.named_parameters(remove_duplicate=not shared)


def _check_alike(before: Model, after: Model, name: str, own: Tensor | None, other: Tensor | None) -> None:
    for model, one in ((before, own), (after, other)):
        if one is None:
            raise ExecutionError(
                f"{before.source} and {after.source}: {model.source} has no parameter {name}, which the other has; "
                "weights are compared between models of one architecture"
            )
    assert own is not None and other is not None
    if own.shape != other.shape:
        raise ExecutionError(
            f"{before.source} and {after.source}: {name} has the shapes {list(own.shape)} and {list(other.shape)}; "
            "weights are compared between models of one shape"
        )


def _parts(view: ArchitectureView, name: str, values: Tensor) -> Iterator[tuple[Component, Tensor]]:
    """A parameter by the components that it belongs to."""
    declared = view.declaration
    if name.startswith(f"{declared.blocks}."):
        layer, _, path = name.removeprefix(f"{declared.blocks}.").partition(".")
        yield from _parts_of_block(view, int(layer), path, values)
        return
    for path, component in (
        (declared.embedding, Component("embedding", "embedding")),
        (declared.head, Component("unembedding", "unembedding")),
        (declared.final_norm, Component("final norm", "norm")),
    ):
        if name.startswith(f"{path}."):
            yield component, values
            return
    yield Component(name.rpartition(".")[0] or name, "other"), values


def _parts_of_block(
    view: ArchitectureView, layer: int, path: str, values: Tensor
) -> Iterator[tuple[Component, Tensor]]:
    declared, shape = view.declaration, view.shape
    module, _, what = path.rpartition(".")
    if module in declared.modules:
        # Projections as [in, features], biases as [features].
        features = values.T if what == "weight" and not declared.transposed else values
        for role, heads in view.split(module, features).items():
            grouped = role != "q" and shape.key_value_heads != shape.heads
            for head in range(heads.shape[-2]):
                name = f"a{layer}.{'kv' if grouped else 'h'}{head}"
                yield Component(name, role, layer, head), heads[..., head, :]
    elif module == declared.attention_output and what == "weight":
        rows = values if declared.transposed else values.T
        for head, part in enumerate(rows.unflatten(0, (shape.heads, -1))):
            yield Component(f"a{layer}.h{head}", "o", layer, head), part
    elif module == declared.attention_output:
        yield Component(f"a{layer}", "o", layer), values
    elif module == declared.mlp or module.startswith(f"{declared.mlp}."):
        yield Component(f"m{layer}", "mlp", layer), values
    elif _is_norm(view, layer, module):
        yield Component(f"n{layer}", "norm", layer), values
    else:
        yield Component(f"{module} of layer {layer}", "other", layer), values


def _is_norm(view: ArchitectureView, layer: int, path: str) -> bool:
    """Whether a module is a norm: of the block, or of queries or keys."""
    declared = view.declaration
    known = (declared.attention_norm, declared.mlp_norm, declared.attention_post_norm, declared.mlp_post_norm)
    return path in known or "norm" in type(view.module(path, layer)).__name__.lower()
