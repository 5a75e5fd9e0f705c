"""The section of a spec for activation patching."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention

Nodes = Annotated[tuple[Literal["heads", "mlps", "residual"], ...], Field(min_length=1)]


class ActivationPatching(Intervention):
    """Effect of patching each component's output from the corrupted into the clean run."""

    kind: Literal["activation_patching"]
    """`activation_patching`."""
    components: Nodes = ("heads", "mlps")
    """Which components are patched; `residual` is the residual stream at each block's input and at the final norm's."""
    positions: Literal["all", "roles"] = "all"
    """Where: at all positions together, or at those of each token role separately (as many times the runs)."""

    @property
    def roles_key(self) -> str | None:
        """See the base class."""
        return "positions" if self.positions == "roles" else None
