"""Where heads look: the attention of every head, summed by token role and by direction.

Probabilities are those of Transformers' eager attention, since fused kernels do not give them; the model keeps its own
kernel for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import nnsight
import torch
from torch import Tensor

from mechshift_core.attribution.batch import CounterfactualBatch
from mechshift_core.attribution.memory import Batching, in_batches, sequences_for_gradients
from mechshift_core.attribution.readable import check_finite, check_readable
from mechshift_core.attribution.walk import traced
from mechshift_core.models.kernels import attention_kernel
from mechshift_core.models.load import Model
from mechshift_core.models.precision import wide_dtype, widened
from mechshift_core.options import Count, checked

DIRECTIONS = ("left", "self", "right")
"""The tokens before a query, the query itself, and those after it, which only a bidirectional model sees."""


@dataclass(frozen=True, slots=True)
class AttentionMass:
    """Attention by groups of queries and of keys, on the CPU; float32, of a model in float64 float64.

    Queries: the position read, then those of each role, over which the mass is averaged. Keys: those of each role, over
    which it is summed, then those to the `DIRECTIONS` of the query. Over roles the mass sums to 1, and so it does over
    directions.

    Attributes:
        mass: [examples, layers, heads, 1 + roles, roles + 3]; 0 where no query has the role.
        uniform: The same of attention that is spread evenly over all that a query sees, [examples, 1 + roles,
            roles + 3]. (Sliding windows are disregarded.)
        queries: Number of queries of each group, [examples, 1 + roles].
    """

    mass: Tensor
    uniform: Tensor
    queries: Tensor


@checked
def attention_mass(
    model: Model,
    batch: CounterfactualBatch,
    roles: Tensor,
    *,
    count: Count,
    rows: Count | None = None,
    halvings: list[int] | None = None,
) -> AttentionMass:
    """The attention of every head on the clean prompts, by token role.

    Args:
        model: A loaded model.
        batch: Examples. Padding has no attention and is in no group, whatever role it is given.
        roles: Number of the role of every position, [examples, positions].
        count: Number of roles.
        rows: Examples that go through the model at once; as many as fit into memory unless given.
        halvings: Receives the numbers of rows that did not fit into memory.

    Raises:
        ValueError: if roles are not one for each position, or not below `count`, or the model can't read the batch.
        ExecutionError: if a number is not finite.
    """
    check_readable(model, batch)
    if roles.shape != batch.clean_ids.shape or bool(((roles < 0) | (roles >= count)).any()):
        raise ValueError(
            f"roles must be numbers below {count}, {list(batch.clean_ids.shape)}; they are {list(roles.shape)}"
        )
    batching = Batching(rows or sequences_for_gradients(model, roles.shape[1]), [] if halvings is None else halvings)

    def compute(part: slice) -> AttentionMass:
        return _of_part(model, batch.rows(part).to(model.device), roles[part].to(model.device), count)

    with attention_kernel(model.module, "eager"):
        parts = list(in_batches(len(batch), batching, compute))
    return AttentionMass(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("mass", "uniform", "queries"))
    )


def _of_part(model: Model, batch: CounterfactualBatch, roles: Tensor, count: int) -> AttentionMass:
    groups = _Groups.of(batch, roles, count, wide_dtype(next(model.module.parameters()).dtype))
    attention = model.view.declaration.attention_output.rpartition(".")[0]
    net: Any = model.net
    with torch.no_grad(), traced(model, batch, batch.clean_ids):
        layers = []
        for block in attrgetter(model.view.declaration.blocks)(net):
            probabilities = attrgetter(attention)(block).output[1]
            layers.append(groups.mass(probabilities))
        found = nnsight.save(torch.stack(layers, dim=1))
    positions = roles.shape[1]
    seen = torch.ones(positions, positions, dtype=groups.keys.dtype, device=model.device)
    seen = seen.tril() if model.paradigm == "autoregressive" else seen
    seen = seen * batch.present[:, None].to(seen.dtype)  # [examples, queries, keys]
    uniform = groups.mass((seen / seen.sum(-1, keepdim=True).clamp(min=1))[:, None])[:, 0]
    check_finite(model, "the attention of a head", found, uniform)
    return AttentionMass(found.cpu(), uniform.cpu(), groups.queries.sum(-1).cpu())


@dataclass(frozen=True, slots=True)
class _Groups:
    """The positions of each group: queries [examples, 1 + roles, positions], keys [examples, positions, roles]."""

    queries: Tensor
    keys: Tensor

    @classmethod
    def of(cls, batch: CounterfactualBatch, roles: Tensor, count: int, dtype: torch.dtype) -> _Groups:
        assert isinstance(batch.position, Tensor)
        keys = torch.nn.functional.one_hot(roles, count).to(dtype) * batch.present[:, :, None]
        read = torch.nn.functional.one_hot(batch.position, roles.shape[1]).to(dtype)
        return cls(torch.cat([read[:, None], keys.transpose(1, 2)], dim=1), keys)

    def mass(self, probabilities: Tensor) -> Tensor:
        """Of probabilities [examples, heads, queries, keys], [examples, heads, 1 + roles, roles + 3]."""
        attention = widened(probabilities)
        by_role = attention @ self.keys[:, None]
        directions = [
            attention.tril(-1).sum(-1), attention.diagonal(dim1=-2, dim2=-1), attention.triu(1).sum(-1)
        ]  # fmt: skip
        by_query = torch.cat([by_role, torch.stack(directions, dim=-1)], dim=-1)
        mean = self.queries / self.queries.sum(-1, keepdim=True).clamp(min=1)
        return mean[:, None] @ by_query
