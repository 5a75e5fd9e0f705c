"""What a cell costs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Passes of one prompt.

    Attributes:
        forward: Plain forward passes, `backward` with gradients.
        patched: Forward passes in which something is replaced, each a few times as long as a plain one; of circuits at
            most, since only the selected examples are run.
    """

    forward: int
    backward: int = 0
    patched: int = 0

    def __str__(self) -> str:
        patched = f", {self.patched} patched passes" if self.patched else ""
        return f"{self.forward} forward and {self.backward} backward passes of one prompt{patched}"
