"""`mechshift pairs train`, `pairs list`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.progress import progress_on
from mechshift_core.errors import UsageError

pairs = typer.Typer(no_args_is_help=True, help="Bundled model pairs: list them, train them from scratch.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(pairs, name="pairs")


@pairs.command("train")
def train(
    context: typer.Context,
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Recipe (YAML).", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for the models; pairs/NAME unless given.")] = None,
) -> None:
    """Train a pair from scratch: the ARM, from it the MDM, and the ARM trained on. Running it again resumes."""
    from mechshift_core.zoo.recipes import load_recipe

    console: Console = context.obj
    recipe = load_recipe(config)
    folder = Path("pairs") / recipe.name if out is None else out

    from mechshift_core.zoo.train import train_pair

    with progress_on(console) as progress:

        def show(phase: str, step: int, steps: int, loss: float) -> None:
            if progress is not None:
                progress(phase, step, steps)

        try:
            results = train_pair(recipe, folder, progress=show)
        except ValueError as error:
            raise UsageError(str(error)) from error
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
    if console.json:
        console.result_json(results)
        return
    for model, accuracies in results.items():
        shown = ", ".join(f"{task} {accuracy:.1%}" for task, accuracy in accuracies.items())
        console.say(f"{folder / model}: {shown}")


@pairs.command("list")
def list_pairs(context: typer.Context) -> None:
    """List the bundled models with their accuracy on held-out prompts."""
    import json

    from mechshift_core.zoo import bundled_models

    console: Console = context.obj
    rows = {}
    for name, folder in bundled_models().items():
        stored = folder / "evaluation.json"
        rows[name] = json.loads(stored.read_text(encoding="utf-8"))["held_out"] if stored.is_file() else {}
    if console.json:
        console.result_json(rows)
        return
    for name, accuracies in rows.items():
        console.result(f"{name:<24} " + "  ".join(f"{task} {accuracy:.1%}" for task, accuracy in accuracies.items()))
