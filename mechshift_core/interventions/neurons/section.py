"""The section of a spec for neurons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.kinds.section import Intervention


class Neurons(Intervention):
    """Attribution of the neurons of all MLPs: the strongest, the tokens and examples that drive them, and how selective
    they are for one of the answers. Nothing is changed in the model."""

    kind: Literal["neurons"]
    """`neurons`."""
    strongest: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many of the strongest neurons of each model and task are listed; chosen on one half of the prompts, scored on
    the other."""
