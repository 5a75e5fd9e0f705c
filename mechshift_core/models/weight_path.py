"""The straight line between the weights of two models: a model at any point of it, without a copy of either.

Tied weights stay tied where both models tie them; where one does not, each end has its own. Attention, masks and
everything else that is no weight are those of one of the two models, which the whole path is read as.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mechshift_core.errors import ExecutionError
from mechshift_core.models.load import Model
from mechshift_core.models.padding import padding
from mechshift_core.models.precision import wide_dtype

CLOSE, CLOSE_IN_HALF = 1e-3, 0.1
"""Difference of an end's logits from the model's own, as a share of their spread, up to which they are the same; the
second where one of the two models is in half precision."""
NAMED = 3
"""Names that a message lists."""


@dataclass(frozen=True, eq=False, slots=True)
class WeightPath:
    """The models between two.

    Attributes:
        before: The model at point 0, and `after`, that at point 1.
        read_as: One of the two: what the path has of it is all but the weights.
    """

    before: Model
    after: Model
    read_as: Model

    def weights(self, point: float) -> dict[str, Tensor]:
        """The weights at a point between 0 and 1, by name; exactly those of the models at the ends.

        Computed in float32 or wider, in the number format of the model that the path is read as.
        """
        first, second = _parameters(self.before), _parameters(self.after)
        made: dict[tuple[int, int], Tensor] = {}
        found = {}
        for name, own in _parameters(self.read_as).items():
            key = (id(first[name]), id(second[name]))
            if key not in made:
                made[key] = _between(first[name], second[name], point).to(dtype=own.dtype, device=own.device)
            found[name] = made[key]
        return found

    def logits(self, weights: Mapping[str, Tensor], ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [batch, positions, vocabulary] with some weights, without gradients; those of padding mean nothing."""
        model = self.read_as
        options = {"input_ids": ids.to(model.device), "use_cache": False, **padding(mask, model.device)}
        with torch.no_grad():
            output: Any = torch.func.functional_call(model.module, dict(weights), kwargs=options, tie_weights=False)
        logits: Tensor = output.logits
        return logits

    def check_ends(self, ids: Tensor, mask: Tensor | None = None) -> None:
        """Refuse two models that are read alike and differ in more than their weights.

        Args:
            ids: Prompts that both can read, [batch, positions].
            mask: Where there is a token.

        Raises:
            ExecutionError: if an end of the path does not compute what its model does.
        """
        other = self.after if self.read_as is self.before else self.before
        if (other.paradigm, other.shifted) != (self.read_as.paradigm, self.read_as.shifted):
            return
        present = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask != 0
        expected = other.logits(ids, mask)[present]
        end = self.logits(self.weights(float(other is self.after)), ids, mask)[present]
        apart = float((end.to(expected.dtype) - expected).abs().max())
        half = any(next(one.module.parameters()).element_size() < 4 for one in (self.before, self.after))
        if apart > (CLOSE_IN_HALF if half else CLOSE) * float(expected.std()):
            raise ExecutionError(
                f"{self.before.source} and {self.after.source} differ in more than their weights: with the weights of "
                f"{other.source} and all else of {self.read_as.source}, logits are {apart:.3g} away from its own; "
                "compare their config.json (rotary embeddings, norms, scaling)"
            )


def weight_path(before: Model, after: Model, read_as: Model) -> WeightPath:
    """The path between two models.

    Args:
        before: The model at its beginning.
        after: The model at its end.
        read_as: One of the two.

    Raises:
        ExecutionError: if the two do not have the same weights by name and shape, or buffers that differ.
    """
    first, second = _parameters(before), _parameters(after)
    where = f"no straight line leads from {before.source} to {after.source}"
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        raise ExecutionError(f"{where}: only one of them has {_listed(alone)}; they are of different architectures")
    shapes = [f"{name} {[*first[name].shape]} and {[*second[name].shape]}" for name in first]
    unlike = [text for text, name in zip(shapes, first, strict=True) if first[name].shape != second[name].shape]
    if unlike:
        advice = "give both the same vocabulary" if len(unlike) <= 2 else "they are of different sizes"
        raise ExecutionError(f"{where}: weights have different shapes, {_listed(unlike)}; {advice}")
    ends = dict(before.module.named_buffers()), dict(after.module.named_buffers())
    differing = [name for name in ends[0].keys() & ends[1].keys() if not _same(ends[0][name], ends[1][name])]
    if differing:
        raise ExecutionError(
            f"{where}: they differ in {_listed(sorted(differing))}, which is no weight and has nothing between; "
            "compare their config.json (for rotary embeddings rope_theta and rope_scaling)"
        )
    return WeightPath(before, after, read_as)


def _parameters(model: Model) -> dict[str, Tensor]:
    """Every weight under each of its names."""
    return dict(model.module.named_parameters(remove_duplicate=False))


def _between(first: Tensor, second: Tensor, point: float) -> Tensor:
    if point in (0.0, 1.0):
        return (second if point else first).detach()
    wide = torch.promote_types(wide_dtype(first.dtype), wide_dtype(second.dtype))
    return torch.lerp(first.detach().to(wide), second.detach().to(device=first.device, dtype=wide), point)


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return bool(torch.allclose(first.double().cpu(), second.double().cpu(), rtol=1e-5, atol=1e-8))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
