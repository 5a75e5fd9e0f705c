"""Specs: the schema, templates, and checking one before it is handed in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from mechshift_core.service.api.shared import ERRORS, Answer, MissingError, ProblemAnswer, TheService, at_most
from mechshift_core.service.submissions import as_json, read_allowed, staged

router = APIRouter(prefix="/specs", tags=["specs"], responses=ERRORS)


class Handed(Answer):
    """A spec, with the files that it names."""

    spec: Annotated[str, Field(max_length=2**20, description="the YAML text")]
    files: Annotated[
        dict[str, str],
        at_most(1000),
        Field(description="name -> text of each file that the spec names by a relative path", default_factory=dict),
    ]

    def contents(self) -> dict[str, bytes]:
        """The files as bytes."""
        return {name: text.encode() for name, text in self.files.items()}


class Checking(Handed):
    """A spec to be checked."""

    full: Annotated[bool, Field(description="with models, data and cost; takes seconds to minutes")] = False


class CostAnswer(Answer):
    """What a run will take."""

    cells: int
    missing: int
    passes: str
    seconds: float | None
    timed: int
    text: str


class Checked(Answer):
    """What is wrong with a spec, and what it will take if nothing is."""

    ok: bool
    problems: list[ProblemAnswer]
    tasks: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()
    cost: CostAnswer | None = None


@router.post("/validate")
def validate(checking: Checking, service: TheService) -> Checked:
    """Check a spec: every problem with its line and column. `full` looks at models and data, too."""
    from mechshift_core.spec import SpecError

    files = checking.contents()
    service.submissions.check_sizes(checking.spec, files)
    with staged(service.root, ".check-", checking.spec, files) as staging:
        try:
            read_allowed(staging.inputs, service.settings)
        except SpecError as error:
            return Checked(ok=False, problems=[ProblemAnswer(**one) for one in as_json(error)])
        return Checked(**service.checker.check(staging.inputs)) if checking.full else Checked(ok=True, problems=[])


@router.get("/schema")
def schema() -> dict[str, Any]:
    """The JSON Schema of a spec, for editors."""
    from mechshift_core.spec import json_schema

    return json_schema()


@router.get("/templates")
def templates() -> dict[str, str]:
    """The templates, each with what it shows."""
    from mechshift_core.spec.starters import starters

    return starters()


@router.get("/templates/{name}")
def template(name: str) -> Handed:
    """A commented spec to start from, with its files."""
    from mechshift_core.spec.starters import starter, starters

    if name not in starters():
        raise MissingError(f"no template {name!r}")
    found = starter(name)
    return Handed(spec=found.spec, files=found.companions)
