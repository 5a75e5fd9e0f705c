"""The sections of a spec for how far the models moved."""

from __future__ import annotations

from typing import Literal

from mechshift_core.kinds.section import Intervention


class Movement(Intervention):
    """How far the model after is from the model before on the same prompts: their residual streams, layer by layer, at
    the position read and at each token role, and their predictions. Nothing is changed in the models."""

    kind: Literal["movement"]
    """`movement`."""
    by_role: bool = True
    """Whether streams are also kept at each token role (the mean over the tokens of the role), beside the position
    read. A cell holds layers x roles x hidden size numbers for each prompt."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "by_role" if self.by_role else None


class WeightMovement(Intervention):
    """How far the weights of the model after are from those of the model before: the norm of their difference, for each
    head's queries, keys, values and outputs, each MLP, the embeddings and the norms. No prompt is read."""

    kind: Literal["weight_movement"]
    """`weight_movement`."""
