"""`mechshift`: the commands, the options that all of them share, and the exit codes.

Nothing heavy is imported here or at the top of a command module: `mechshift --help` must answer at once.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from mechshift_core import __version__
from mechshift_core.allowed_code import code_allowed
from mechshift_core.cli import (
    calibrate_command,
    cells_commands,
    circuit_commands,
    client_commands,
    export_command,
    gate_commands,
    info_commands,
    model_commands,
    open_command,
    pair_commands,
    plan_command,
    run_commands,
    runs_commands,
    score_command,
    serve_commands,
    spec_commands,
    try_command,
    verify_command,
)
from mechshift_core.cli.console import Console, hoist_flags
from mechshift_core.cli.usage import PROGRAM, WrongUsage, asks_for_help, told
from mechshift_core.errors import MechshiftError

app = typer.Typer(
    name="mechshift",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mechshift {__version__}")
        raise typer.Exit


@app.callback(epilog="--debug, --quiet, --json and --allow-code may stand anywhere on the line.")
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print verdicts, results and errors only: no progress, no notes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print results as JSON.")] = False,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Run the Python files that a spec names as `extensions`.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Compare the circuits of a language model before and after post-training, with statistics that hold."""
    console = context.ensure_object(Console)
    console.debug, console.quiet, console.json = debug, quiet, json
    context.with_resource(code_allowed(allow_code))


for commands in (
    run_commands,
    plan_command,
    try_command,
    open_command,
    gate_commands,
    calibrate_command,
    runs_commands,
    cells_commands,
    verify_command,
    spec_commands,
    info_commands,
    model_commands,
    pair_commands,
    serve_commands,
    client_commands,
    export_command,
    circuit_commands,
    score_command,
):
    commands.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, one of :data:`mechshift_core.errors.EXIT_CODES`."""
    console = Console()
    given = hoist_flags(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given, prog_name=PROGRAM, obj=console, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 2
    except WrongUsage as error:
        if asks_for_help(error):
            console.complain(str(error))
            return 2
        return _fail(console, told(error, given), 2)
    except typer.Abort:
        return _fail(console, "aborted", 1)
    except MechshiftError as error:
        return _fail(console, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(console, "interrupted", 130)
    except OSError as error:
        if error.filename is None:
            return _fail(console, f"{error.strerror or error}", 3)
        return _fail(console, f"{error.filename}: {error.strerror}; check that path, and the rights to it", 3)
    except Exception as error:
        hint = "" if console.debug else " (run again with --debug for the traceback)"
        return _fail(console, f"internal error: {type(error).__name__}: {error}{hint}", 3)


def _fail(console: Console, message: str, code: int) -> int:
    if console.debug:
        console.complain(traceback.format_exc().rstrip())
    console.complain(message)
    return code


if __name__ == "__main__":
    sys.exit(main())
