"""`mechshift validate`, `mechshift schema`, `mechshift init`, `mechshift register`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechshift_core.cli.console import Console
from mechshift_core.cli.overriding import Limit, Set, overrides
from mechshift_core.errors import UsageError

if TYPE_CHECKING:
    from mechshift_core.execution.plan import Plan

NOT_RUN = "models were not run:"
LOOKED_UP = "models, tokenizers and data were not looked up, and no model was run:"
"""What `validate` has not done."""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (validate, schema, init):
        app.command()(command)
    app.command("register")(register_spec)


def check_spec_file(path: Path, given: Mapping[str, Any] | None = None) -> Plan:
    """Every check of a spec that needs no GPU; the one place where `validate` is extended.

    Args:
        path: The spec.
        given: Values that replace some of it.

    Returns:
        The plan, which knows the prompts of every task.

    Raises:
        SpecError: with everything that is wrong.
    """
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.spec import load_spec

    return make_plan(load_spec(path, overrides=given), headers_only=True)


def validate(
    context: typer.Context,
    specs: Annotated[list[Path], typer.Argument(metavar="SPEC", help="Spec files.", show_default=False)],
    no_files: Annotated[
        bool, typer.Option("--no-files", help="Check the specs alone: look up no models, tokenizers or data.")
    ] = False,
    settings: Set = None,
    limit: Limit = None,
) -> None:
    """Check specs without running anything: every problem, with its line, and how many prompts of each task are usable.

    Of models of the Hub configuration and tokenizer are fetched, and of their weights only the headers. No model is
    run: `mechshift try` runs each on a few prompts, and warns of a metric that does not move or of wrong answers.
    """
    from mechshift_core.cli.prompts import expanded_lines, prompt_lines, tasks_as_json, warning_lines
    from mechshift_core.execution.prompts import cautions
    from mechshift_core.spec import SpecError, load_spec
    from mechshift_core.spec.doubts import doubts

    console: Console = context.obj
    results: list[dict[str, Any]] = []
    given = overrides(settings, limit)
    for path in specs:
        tasks: list[dict[str, object]] = []
        warnings: list[str] = []
        expanded: dict[str, tuple[str, ...]] = {}
        lines: list[str] = []
        try:
            if no_files:
                loaded = load_spec(path, check_files=False, overrides=given)
                expanded, warnings = dict(loaded.expanded), [*doubts(loaded)]
                lines = [*expanded_lines(expanded), *warning_lines(warnings)]
            else:
                planned = check_spec_file(path, given) if given else check_spec_file(path)
                tasks, warnings, lines = tasks_as_json(planned), [*cautions(planned)], prompt_lines(planned)
                expanded = dict(planned.spec.expanded)
        except SpecError as error:
            results.append({"spec": str(path), "ok": False, "problems": [_as_json(p) for p in error.problems]})
            if not console.json:
                console.complain(str(error))
        else:
            told = {"spec": str(path), "ok": True, "problems": [], "tasks": tasks, "warnings": warnings}
            results.append(told | ({"expanded": expanded} if expanded else {}))
            console.say("\n".join([f"ok: {path}", *lines]))
    if console.json:
        console.result_json({"specs": results})
    elif any(result["ok"] for result in results):
        spec = specs[0] if len(specs) == 1 else "SPEC"
        console.say(f"{LOOKED_UP if no_files else NOT_RUN} `mechshift try {spec}` runs each on a few prompts")
    if not all(result["ok"] for result in results):
        raise typer.Exit(2)


def _as_json(problem: Any) -> dict[str, Any]:
    return {key: getattr(problem, key) for key in ("file", "line", "column", "message")}


def schema(
    context: typer.Context,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write it to a file instead, e.g. mechshift.schema.json beside the specs."),
    ] = None,
) -> None:
    """Print the JSON Schema of a spec, for editors; specs of `mechshift init` name it in their first line."""
    from mechshift_core.spec.editors import editor_schema, is_schema

    console: Console = context.obj
    if write is None:
        console.result_json(editor_schema())
        return
    if write.exists() and not is_schema(write):
        raise UsageError(f"{write}: exists already, is no schema of specs and is not overwritten; choose another file")
    _write_schema(write)
    if console.json:
        console.result_json({"written": str(write)})
    console.say(f"wrote {write}")


def _write_schema(path: Path) -> None:
    from mechshift_core.files import unwritable, write_text
    from mechshift_core.spec.editors import schema_text

    try:
        write_text(path, schema_text())
    except OSError as error:
        raise UsageError(unwritable(path, error)) from error


def init(
    context: typer.Context,
    template: Annotated[str, typer.Option(help="Which template; --list shows them.")] = "quickstart",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write, after which the study is named; TEMPLATE.yaml in the working directory unless given.",
        ),
    ] = None,
    list_templates: Annotated[bool, typer.Option("--list", help="List the templates and exit.")] = False,
) -> None:
    """Write a commented spec to start from."""
    from mechshift_core.spec.editors import SCHEMA_FILE, is_schema
    from mechshift_core.spec.problems import listing, suggestion
    from mechshift_core.spec.starters import starter, starters

    console: Console = context.obj
    known = starters()
    if list_templates:
        if console.json:
            console.result_json(known)
        else:
            console.result("\n".join(f"{name:<18} {summary}" for name, summary in known.items()))
        return
    if template not in known:
        raise UsageError(f"unknown template {template!r}{suggestion(template, known)}; expected {listing(known)}")
    target = out if out is not None else Path(f"{template}.yaml")
    chosen = starter(template).named(target.name)
    texts = {target: chosen.spec} | {target.parent / name: text for name, text in chosen.companions.items()}
    _write_new(texts)
    schema_file = target.parent / SCHEMA_FILE
    ours = SCHEMA_FILE in chosen.spec and (not schema_file.exists() or is_schema(schema_file))
    if ours:
        _write_schema(schema_file)
    if console.json:
        written = {"written": [str(path) for path in texts]}
        console.result_json({**written, "schema": str(schema_file) if ours else None})
    for path in texts:
        console.say(f"wrote {path}")
    if ours:
        console.say(f"wrote {schema_file} (editors complete and check specs by it)")
    console.say(f"next: mechshift validate {target}")


def register_spec(
    context: typer.Context,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Spec file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="File to write; SPEC.registration.json beside the spec unless given.")
    ] = None,
) -> None:
    """Write down what a spec claims before it is run: a small file to commit or to deposit.

    A run of the spec, with that file beside it, says whether it is as registered, or what differs.
    """
    from mechshift_core.declarations import register, registration_path
    from mechshift_core.spec import load_spec

    console: Console = context.obj
    loaded = load_spec(spec, check_files=False)
    target = registration_path(spec) if out is None else out
    written = register(loaded, target)
    if console.json:
        shown = {name: written[name] for name in ("name", "registered", "sha256")}
        console.result_json({"written": str(target), **shown})
    console.say(f"wrote {target}: {len(loaded.hypotheses)} hypotheses, registered {written['registered']}")


def _write_new(texts: dict[Path, str]) -> None:
    """Write files that must not be there yet; none is written if one of them is."""
    from mechshift_core.files import unwritable

    folders = [path for path in texts if path.is_dir()]
    if folders:
        raise UsageError(f"{folders[0]}: is a folder; give a file, such as --out {folders[0] / 'study.yaml'}")
    existing = [str(path) for path in texts if path.exists() or path.is_symlink()]
    if existing:
        raise UsageError(f"{', '.join(existing)}: exists already and is not overwritten; choose another --out")
    for path, text in texts.items():
        try:
            with path.open("x", encoding="utf-8") as handle:
                handle.write(text)
        except OSError as error:
            raise UsageError(unwritable(path, error)) from error
