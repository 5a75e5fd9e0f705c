"""The section of a spec for the path of an answer through the denoising."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention


class DenoisingPath(Intervention):
    """What a model would answer in each denoising step: which answers are right and then overwritten, and how far its
    confidence can be believed. Of all prompts, whichever are selected; nothing is changed in the model."""

    kind: Literal["denoising_path"]
    """`denoising_path`."""
    tokens: Literal["solution", "own"] = "solution"
    """What is visible of a completion. `solution`: the prompt's own solution, in the states in which all else is read.
    `own`: what the model chooses itself, its most likely tokens, in the order and the steps of `denoising`: with
    `reveal: confidence` all but the surest are masked again in every step. An autoregressive model goes from left to
    right and reads masks for what it has not chosen."""
    bins: Annotated[int, Field(ge=2, le=100)] = 10
    """Bins of equal numbers of prompts, in which confidence is held against accuracy."""
