"""How pairs of each role are drawn where several stand in one drawing."""

from __future__ import annotations

from collections.abc import Iterable

from reports.figures import svg
from reports.figures.base import Key

LOOKS = {"control": ("circle", [5, 3], "before"), "treatment": ("square", [1, 0], "after")}
"""Role of a pair -> shape of its points, dashes of its line, its colour; the last is drawn on top."""


def keys(roles: Iterable[str], *, note: str) -> tuple[Key, ...]:
    """What lines, points and bands of some roles mean."""
    found = []
    for role in roles:
        shape, dash, colour = LOOKS[role]
        gaps = None if dash == [1, 0] else " ".join(map(str, dash))
        point = (
            svg.element("circle", cx=17, cy=7, r=4, class_=f"f-{colour}")
            if shape == "circle"
            else svg.element("rect", x=13.5, y=3.5, width=7, height=7, class_=f"f-{colour}")
        )
        sample = svg.sample(
            svg.element("rect", x=1, y=2, width=32, height=10, class_=f"f-{colour}", opacity=0.2),
            svg.element("line", x1=1, y1=7, x2=33, y2=7, class_=f"s-{colour}", stroke_width=2, stroke_dasharray=gaps),
            point,
        )
        found.append(Key(sample=sample, label=f"{role}{note}"))
    return tuple(found)
