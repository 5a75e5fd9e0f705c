"""How long computations say how far they have come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps done, and steps in all."""
