"""The section of a spec for the path between two models' weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention


class WeightInterpolation(Intervention):
    """Loss, metric and accuracy on the straight line between the weights of the two models of a pair, and the barrier
    between them (linear mode connectivity)."""

    kind: Literal["weight_interpolation"]
    """`weight_interpolation`."""
    points: Annotated[int, Field(ge=3, le=101)] = 11
    """How many points of the line are evaluated, equally far apart; the two models are the first and the last."""
    read_as: Literal["after", "before"] = "after"
    """As which model all points are read, for hypotheses: with its attention, causal or bidirectional, and its masks.
    Tables have both, which are the same where the two models are read alike."""
