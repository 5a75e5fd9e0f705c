"""`mechshift serve`, `index`, `tokens`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.run_files import RUNS

if TYPE_CHECKING:
    from mechshift_core.service.tokens import Tokens

RootFolder = Annotated[Path, typer.Option("--root", metavar="FOLDER", help="Folder of run directories.")]
tokens = typer.Typer(no_args_is_help=True, help="Tokens of a server: who is let in.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(serve)
    app.command()(index)
    app.add_typer(tokens, name="tokens")


def serve(
    context: typer.Context,
    root: RootFolder = RUNS,
    host: Annotated[str, typer.Option(help="Address to listen on; one that others reach needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for one that is free.")] = 8300,
) -> None:
    """Serve a folder of runs: hand in specs, watch them, search what they found. Ctrl+C ends it; runs go on."""
    from mechshift_core.service.serving import serve as serve_folder

    console: Console = context.obj

    def up(address: str) -> None:
        if console.json:
            record = {"event": "launch", "address": address, "root": str(root.resolve()), "pid": os.getpid()}
            sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()
        else:
            console.say(f"serving {root} on {address} (Ctrl+C ends it; runs go on)")

    serve_folder(root, host=host, port=port, up=up)


def index(
    context: typer.Context,
    root: RootFolder = RUNS,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Forget the index first, and make it anew.")] = False,
) -> None:
    """Bring the index of a root up to date with its run directories; no server may serve it meanwhile."""
    from mechshift_core.service.index import Index
    from mechshift_core.service.root import Root

    console: Console = context.obj
    place = Root(root.resolve())
    with place.claim():
        found = Index(place)
        good = found.open()
        count = found.rebuild() if rebuild or not good else len(found.refresh())
    if console.json:
        console.result_json({"root": str(place.folder), "runs": count})
    console.say(f"{count} runs in the index of {root}")


@tokens.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.", show_default=False)],
    root: RootFolder = RUNS,
) -> None:
    """Make a token and show it, once: what is kept of it is a hash. From then on the server asks for tokens."""
    console: Console = context.obj
    token = _tokens(root).create(name)
    if console.json:
        console.result_json({"name": name, "token": token})
    else:
        console.result(token)


@tokens.command("list")
def list_tokens(context: typer.Context, root: RootFolder = RUNS) -> None:
    """List whom the server lets in, and since when."""
    console: Console = context.obj
    found = _tokens(root).all()
    if console.json:
        console.result_json([{"name": one.name, "created": one.created} for one in found])
        return
    for one in found:
        console.result(f"{one.created}  {one.name}")
    if not found:
        console.say("no tokens")


@tokens.command("revoke")
def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.", show_default=False)],
    root: RootFolder = RUNS,
) -> None:
    """Let a token in no more; a server that runs knows at once."""
    console: Console = context.obj
    _tokens(root).revoke(name)
    if console.json:
        console.result_json({"revoked": name})
    console.say(f"{name} is let in no more")


def _tokens(root: Path) -> Tokens:
    from mechshift_core.service.root import Root
    from mechshift_core.service.tokens import Tokens

    return Tokens(Root(root.resolve()))
