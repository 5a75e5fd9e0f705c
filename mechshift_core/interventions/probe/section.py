"""The section of a spec for probes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention

OF_STATES = ("denoising_step", "mask_fraction")
"""What is probed for in every state of an example, not of the example."""


class Probe(Intervention):
    """What can be read off the residual stream at the position read, layer by layer: a logistic regression for each
    task variable, cross-validated over the selected examples. Nothing is changed in the model."""

    kind: Literal["probe"]
    """`probe`."""
    variables: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """What is probed for: `answer`, `template`, or a token role, whose first token it is; or what a state of the
    denoising is, `denoising_step` or `mask_fraction`, read in every state of each example. Unless given, all that vary
    enough but these two: at least two values, each in five examples or more."""
    shuffles: Annotated[int, Field(ge=1, le=100)] = 3
    """Permutations of the labels behind the control."""
