"""The section of a spec for attention."""

from __future__ import annotations

from typing import Literal

from mechshift_core.kinds.section import Intervention


class Attention(Intervention):
    """Where every head looks on the clean prompts: the attention from the position read, and from each token role, to
    each token role and to the tokens on the left and on the right. Nothing is changed in the model."""

    kind: Literal["attention"]
    """`attention`."""
    completion: bool = False
    """Whether it is also computed how much the position read looks at the prompt, at what is revealed of the answer and
    at its masks (measure `revealed_share`); it takes the passes once more."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "kind"
