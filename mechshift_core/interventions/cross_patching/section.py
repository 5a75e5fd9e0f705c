"""The section of a spec for cross-model activation patching."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention

Moved = Annotated[tuple[Literal["heads", "attention", "mlps", "residual"], ...], Field(min_length=1)]


class CrossPatching(Intervention):
    """What one model of a pair can use of the other's activations: what components of the other model write takes the
    place of their counterparts' output, in the run on the corrupted prompt and in the clean one, beside the model's
    own."""

    kind: Literal["cross_patching"]
    """`cross_patching`."""
    components: Moved = ("heads", "mlps", "residual")
    """What is patched, one at a time: every head, every layer's `attention` as a whole, every MLP, the `residual`
    stream at each block's input and at the final norm's. Hypotheses are about heads and MLPs together, or about what
    there is where neither is patched."""
    positions: Literal["all", "roles"] = "all"
    """Where: at all positions together, or also at those of each token role separately (as many more times the
    runs). Hypotheses are about all positions together."""
    into: Literal["both", "before", "after"] = "both"
    """Into which model, for hypotheses: what the model `before` can use of the one after, or the other way round; or
    the mean of both, of use the geometric one, in which a factor between the models cancels, and which needs both to
    clear 0. Tables have both."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "positions" if self.positions == "roles" else None

    @property
    def counted(self) -> tuple[str, ...]:
        """The kinds of components that hypotheses are about."""
        written = tuple(kind for kind in self.components if kind in ("heads", "mlps"))
        return written or self.components
