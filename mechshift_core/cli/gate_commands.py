"""`mechshift check`, `mechshift compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mechshift_core.cli import verdicts
from mechshift_core.cli.client_commands import Token
from mechshift_core.cli.console import Console
from mechshift_core.cli.run_commands import check_ids
from mechshift_core.cli.run_names import run_at, runs_argument
from mechshift_core.errors import ExecutionError, UsageError

if TYPE_CHECKING:
    from mechshift_core.gate import Gate, StoredRun

STREAMS = (Path("/dev/stdout"), Path("/dev/stderr"))
DESCRIPTORS = (Path("/dev/fd"), Path("/proc/self/fd"))
"""What may lead to a file that is open already, and is then written on; other folders of /dev may hold usual files."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (check, compare):
        app.command()(command)


def check(
    context: typer.Context,
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Run directory; with --server the run's name.", show_default=False)
    ],
    baseline: Annotated[Path, typer.Option(metavar="FILE", help="Baseline file (JSON).", show_default=False)],
    update: Annotated[bool, typer.Option("--update", help="Make the baseline what the run found.")] = False,
    fail_on: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Hypothesis that must be supported. Repeatable.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help="Largest difference that counts as none, in each measure's units; see docs/how-to/gate.md."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    server: Annotated[str | None, typer.Option(metavar="URL", help="Check a run of this server.")] = None,
    token: Token = None,
) -> None:
    """Compare the findings of a run with a stored baseline; exit code 1 if one regressed.

    4 if nothing is decided, 3 if the run is partial.
    """
    from mechshift_core.gate import check_run, formats, read_baseline, read_run

    console: Console = context.obj
    if tolerance is not None and not (tolerance > 0 and math.isfinite(tolerance)):
        raise UsageError(f"--tolerance: expected a number > 0, got {tolerance}")
    stored = read_run(run_at(Path(run))) if server is None else _fetched(run, server, token)
    new = update and not baseline.exists()
    recorded = stored.baseline if new else read_baseline(baseline)
    known = dict.fromkeys(finding.id for finding in (*stored.baseline.findings, *recorded.findings))
    check_ids(fail_on or [], [*known])
    if update:
        if stored.failures:
            raise ExecutionError(f"{run} is partial, which makes no baseline: {'; '.join(stored.failures)}")
        _write(baseline, stored.baseline.to_json())
        recorded = stored.baseline
    try:
        gate = check_run(stored, recorded, tolerance=tolerance, must_hold=fail_on or [])
    except UsageError as error:
        raise UsageError(f"{baseline}: {error}") from error
    code = gate.exit_code if not update or gate.exit_code == 1 else 0
    _show(console, stored, baseline, gate, update=update, code=code)
    for path, write in ((junit, formats.junit), (markdown, formats.markdown)):
        if path is not None:
            _write(path, write(gate))
    if code:
        raise typer.Exit(code)


def _fetched(name: str, server: str, token: str | None) -> StoredRun:
    """What a run on a server concluded."""
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from mechshift_core.gate import read_run
    from mechshift_core.run_files import REPORT
    from mechshift_core.service.client import Client
    from mechshift_core.service.fetching import fetch

    with TemporaryDirectory() as folder, Client(server, token) as client:
        place = Path(folder) / "run"
        fetch(client, name, place, wanted=lambda path: path != REPORT and not path.startswith("tables/"))
        return replace(read_run(place), path=Path(name))


def _show(console: Console, run: StoredRun, baseline: Path, gate: Gate, *, update: bool, code: int) -> None:
    from mechshift_core.gate import formats
    from mechshift_core.markdown import printable

    if console.json:
        content = formats.as_json(gate) | {"exit_code": code, "updated": update}
        told = verdicts.as_json(run.findings.hypotheses)
        console.result_json({"run": str(run.path), "baseline": str(baseline), **content, "hypotheses": told})
    elif not console.quiet:  # which leaves what regressed
        verdicts.tell(console, run.findings.hypotheses)
        console.say(f"wrote {baseline}" if update else formats.text(gate))
    for line in gate.failures:
        console.complain(f"failed: {printable(line)}")
    for found in gate.regressed:
        console.complain(f"{found.outcome}: {printable(found.id)}: {printable('; '.join(found.reasons))}")
    if gate.not_held:
        console.complain(f"not supported: {', '.join(gate.not_held)}")


def compare(
    context: typer.Context,
    runs: Annotated[list[Path], runs_argument("Run directories, two or more, or names of those in runs.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page as well.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Print all that differs, not only what matters.")] = False,
) -> None:
    """Show runs side by side: findings with another verdict or beyond the intervals, and what differs in their specs.

    Of two runs also such estimates, and where the provenance differs. What differs within the intervals is counted;
    --all prints it. --json, --markdown and --html have all of it.
    """
    from mechshift_core.comparison import compare_many, compare_runs, formats
    from reports.compare import render_comparison
    from reports.compare_many import render_many

    console: Console = context.obj
    if console.json and markdown:
        raise UsageError("--json and --markdown: give one of them")
    if len(runs) < 2:
        raise UsageError(f"compare: expected two or more run directories, got {len(runs)}")
    if len(runs) == 2:
        two = compare_runs(runs[0], runs[1])
        page = render_comparison(two)
        content, marked, text = formats.as_json(two), formats.markdown(two), formats.text(two, everything=all_)
    else:
        many = compare_many(runs)
        page = render_many(many)
        content, marked = formats.many_as_json(many), formats.many_as_markdown(many)
        text = formats.many_as_text(many, everything=all_)
    if html is not None:
        _write(html, page)
    if console.json:
        console.result_json(content)
    else:
        console.result(marked if markdown else text)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all; a device or pipe, such as /dev/stdout, is written to as it is."""
    from mechshift_core.files import unwritable, write_text

    try:
        if (
            path.absolute() in STREAMS
            or path.absolute().parent in DESCRIPTORS
            or (path.exists() and not path.is_file())
        ):
            with path.open("a", encoding="utf-8") as handle:
                handle.write(text)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path.resolve(), text)
    except OSError as error:
        raise UsageError(unwritable(path, error)) from error
