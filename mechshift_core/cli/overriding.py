"""`--set` and `--limit`: values that replace those of a spec, on the command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a value of the spec: a dotted path with places or names in lists, and YAML, e.g. "
        "tasks.ioi.examples=50. Recorded. Repeatable.",
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, max=100_000, help="At most N prompts of each task. Recorded.", show_default=False
    ),
]


def overrides(settings: list[str] | None, limit: int | None) -> dict[str, Any]:
    """What is given, by key.

    Raises:
        UsageError: for a setting that can't be read.
    """
    from mechshift_core.spec.overrides import parsed

    return parsed(settings or [], limit)
