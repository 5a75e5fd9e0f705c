"""`mechshift cells list`, `cells gc`, `cells verify`: the store of cells that runs share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on
from mechshift_core.cli.runs_commands import size
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.times import utc_text

if TYPE_CHECKING:
    from mechshift_core.execution.store_room import Entry

cells = typer.Typer(no_args_is_help=True, help="The store of cells that runs share: look into it, make room, check it.")
Store = Annotated[
    str | None,
    typer.Option("--cells", metavar="PATH", help="The store; MECHSHIFT_CELLS, or `cells` in the cache, unless given."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove it; otherwise it is only shown.")]
NAMES = ("study", "model", "task")
"""What cells are listed by, as the run called them that computed them."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(cells, name="cells")


@cells.command("list")
def list_cells(context: typer.Context, store: Store = None) -> None:
    """List the cells of the store by study, model and task of the run that computed them: number, size, last use."""
    from mechshift_core.execution.store_room import limit

    console: Console = context.obj
    folder, found = _open(store)
    own = [entry for entry in found if not entry.left]
    most, total = limit(), sum(entry.bytes for entry in own)
    groups = _groups(own)
    if console.json:
        rows = [group | {"used": utc_text(group["used"])} for group in groups]
        facts = {"store": str(folder), "cells": len(own), "bytes": total, "limit": most}
        console.result_json({**facts, "groups": rows})
        return
    console.result(f"{folder}: {_count(len(own))}, {size(total)} of at most {size(most)}")
    now = time.time()
    for group in groups:
        amount, used = f"{_count(group['cells']):>12}  {size(group['bytes']):>10}", _age(now - group["used"])
        console.result(f"{amount}  used {used:>10}  {', '.join(f'{name} {group[name]}' for name in NAMES)}")


@cells.command("gc")
def gc(
    context: typer.Context,
    store: Store = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Also those that were not used for so long, e.g. 30d.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All cells.")] = False,
    yes: Yes = False,
) -> None:
    """Show the cells used least recently that are beyond the limit of the store; remove them with --yes.

    The limit is MECHSHIFT_CELLS_LIMIT, 20 GiB unless given.
    """
    from mechshift_core.execution.store_room import limit, seconds_of, unwanted

    console: Console = context.obj
    if everything and older_than is not None:
        raise UsageError("--all and --older-than: expected one of them, got both")
    age = None if older_than is None else seconds_of("--older-than", older_than)
    most = -1 if everything else limit()
    folder, found = _open(store)
    gone = unwanted(found, most=most, older_than=age)
    if yes:
        _discard(gone)
    if console.json:
        items = [{"path": str(entry.path), "bytes": entry.bytes} for entry in gone]
        console.result_json({"removed": yes, "items": items})
        return
    for entry in gone:
        console.say(f"{'removed' if yes else 'not needed'}: {entry.path} ({size(entry.bytes)})")
    total = size(sum(entry.bytes for entry in gone))
    console.result(f"{folder}: {_count(len(gone))}, {total}{'' if yes else ' to remove (--yes removes them)'}")


@cells.command("verify")
def verify(context: typer.Context, store: Store = None, yes: Yes = False) -> None:
    """Hash every cell of the store and name those that are damaged, which no run takes; remove them with --yes.

    Exit code 3 if some are damaged.
    """
    from mechshift_core.execution.store_room import damaged

    console: Console = context.obj
    folder, found = _open(store)
    with progress_on(console) as progress:
        wrong = damaged(found, progress=progress)
    if yes:
        _discard(wrong)
    own = [entry for entry in found if not entry.left]
    if console.json:
        paths = [str(entry.path) for entry in wrong]
        console.result_json({"store": str(folder), "cells": len(own), "damaged": paths, "removed": yes})
    else:
        console.result(f"{folder}: {_count(len(own))}, {len(wrong)} damaged")
    for entry in wrong:
        console.complain(f"damaged{' and removed' if yes else ''}: {entry.path}")
    if wrong:
        raise typer.Exit(3)


def _open(named: str | None) -> tuple[Path, list[Entry]]:
    """The store and what it holds; one in the default place need not be there yet.

    Raises:
        UsageError: if there is none.
        ExecutionError: if it can't be read.
    """
    from mechshift_core.execution.cell_store import VARIABLE, store_folder
    from mechshift_core.execution.store_room import entries

    folder = store_folder(named)
    if folder is None:
        raise UsageError(f"there is no store of cells: --cells or {VARIABLE} is `none`; name one with --cells PATH")
    if named is not None and not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the folder of a store of cells")
    try:
        return folder, entries(folder)
    except OSError as error:
        raise ExecutionError(f"store of cells {folder} cannot be read: {error}") from error


def _discard(gone: list[Entry]) -> None:
    from mechshift_core.execution.store_room import discard

    for entry in gone:
        try:
            discard(entry)
        except FileNotFoundError:  # somebody else was faster
            continue
        except OSError as error:
            raise ExecutionError(
                f"{entry.path} cannot be removed: {error}; what is left can be removed by the same command"
            ) from error


def _groups(found: list[Entry]) -> list[dict[str, Any]]:
    """Number, size and last use (seconds since 1970) of the cells, by what they say of themselves."""
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in found:
        said = entry.described()
        names = {name: str(said.get(name, "not recorded")) for name in NAMES}
        group = groups.setdefault(tuple(names.values()), {**names, "cells": 0, "bytes": 0, "used": 0.0})
        group["cells"] += 1
        group["bytes"] += entry.bytes
        group["used"] = max(group["used"], entry.used / 1e9)
    return [groups[key] for key in sorted(groups)]


def _age(seconds: float) -> str:
    """A time that has passed, for the eye, e.g. `3 d ago`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _count(number: int) -> str:
    return "1 cell" if number == 1 else f"{number} cells"
