"""The section of a spec for depth."""

from __future__ import annotations

from mechshift_core.spec.base import Section, Share


class Depth(Section):
    """Where in the layers the attribution lies: share per layer, slope of the shift over depth, early share."""

    early: Share = 0.333
    """Share of the layers, from the first, that count as early."""
