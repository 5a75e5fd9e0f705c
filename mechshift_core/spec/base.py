"""What all sections of a spec share: strictness, and the types of names, paths and numbers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mechshift_core.wording import NAME_PATTERN

SCHEMA_TITLE = "mechshift spec"
"""Title of the JSON Schema."""
MOST = 200
"""Most entries of a section; far beyond any study, so that checks which combine them stay fast."""
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=80)]
NonEmpty = Annotated[str, Field(min_length=1, max_length=4096)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Percent = Annotated[float, Field(gt=0, le=100)]
Share = Annotated[float, Field(gt=0, lt=1)]
Role = Literal["treatment", "control", "unrelated"]
Regime = Literal["local", "global"]
Location = Literal["mean", "trimmed"]
Dtype = Literal["auto", "float64", "float32", "bfloat16", "float16"]


class Section(BaseModel):
    """A mapping of the spec: immutable, no unknown keys, documented field by field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )
