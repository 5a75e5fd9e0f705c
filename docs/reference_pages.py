"""The reference, generated from the code: a hook of MkDocs, and `python docs/reference_pages.py FOLDER` without it.

Nothing of it is written by hand, so nothing of it can go stale: fields and their texts come from the models of the
spec, commands and options from the parser, tables and columns from `mechshift_core.tables`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import typer

README = Path(__file__).parents[1] / "README.md"
INTERVENTIONS = "What is done to the models besides"
MEASURES = "## What is measured"
FOLDER = "reference"


def pages() -> dict[str, str]:
    """File name -> Markdown of every generated page."""
    return {
        "spec.md": spec_page(),
        "commands.md": commands_page(),
        "measures.md": measures_page(),
        "tasks.md": tasks_page(),
        "tables.md": tables_page(),
        "verdicts.md": verdicts_page(),
        "exit-codes.md": exit_codes_page(),
        "python.md": python_page(),
    }


def on_files(files: Any, config: Any) -> Any:
    """Hook of MkDocs: add the pages."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"{FOLDER}/{name}", content=text))
    return files


def spec_page() -> str:
    """Every section of a spec with its fields: type, default and meaning."""
    from mechshift_core.spec import json_schema

    schema = json_schema()
    parts = [
        "# The spec\n\nGenerated from the models that validate it. `mechshift schema` prints the same as JSON Schema, "
        "for completion and checks in an editor. Unknown keys, wrong types and wrong references are errors with "
        "line and column, all at once. What the grammar has and this version does not do is refused by name.\n"
    ]
    for name, section in _sections(schema):
        title = "Spec (top level)" if name == "Spec" else name
        rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
        required = section.get("required", [])
        for key, field in section["properties"].items():
            default = "**required**" if key in required else _default(field)
            rows.append(f"| `{key}` | {_type(field)} | {default} | {_cell(field.get('description', ''))} |")
        parts.append(
            f"## {title} {{ #{name.lower()} }}\n\n{_prose(section.get('description', ''))}\n\n" + "\n".join(rows)
        )
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Every command with its arguments and options."""
    from mechshift_core.cli.main import app

    group: Any = typer.main.get_command(app)
    parts = [
        "# Commands\n\nGenerated from the parser; `mechshift COMMAND --help` says the same. `mechshift "
        "--install-completion` teaches your shell to complete commands and options (`--show-completion` prints the "
        "script instead).\n\n## mechshift\n\n" + _options(group)
    ]
    for name, command in _commands(group):
        parts.append(f"## mechshift {name}\n\n{_prose(command.help or '')}\n\n{_options(command)}")
    return "\n\n".join(parts) + "\n"


def measures_page() -> str:
    """Measures and kinds of interventions, as the README has them."""
    return (
        "# Measures and interventions\n\nWhat hypotheses can be about, per pair and task; options are fields of "
        f"[`measures`](spec.md#measures).\n\n{_table_after(MEASURES)}\n\n## Interventions\n\nWhat is done to the "
        f"models; options are in [the spec](spec.md).\n\n{_table_after(INTERVENTIONS)}\n"
    )


def tasks_page() -> str:
    """The generated tasks."""
    from mechshift_core.tasks import TASKS

    rows = [f"| `{task.name}` | {task.regime} | {_cell(task.summary)} |" for task in TASKS.values()]
    return "\n".join(["# Tasks", "", "| task | regime | asks |", "|---|---|---|", *rows]) + "\n"


def tables_page() -> str:
    """Every table of a run with its columns."""
    from mechshift_core.tables import TABLES

    parts = ["# Tables\n\nTidy Parquet files under `tables/` of a run directory."]
    for name, columns in TABLES.items():
        rows = [f"| `{key}` | {column.type} | {_cell(column.meaning)} |" for key, column in columns.items()]
        parts.append("\n".join([f"## {name}", "", "| column | type | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def verdicts_page() -> str:
    """The rule that turns tests into verdicts, and the statuses of findings."""
    from stats import verdicts
    from stats.findings import Status, Verdict

    names = ", ".join(f"`{verdict}`" for verdict in get_args(Verdict))
    statuses = ", ".join(f"`{status}`" for status in get_args(Status))
    return (
        f"# Verdicts\n\nA hypothesis comes out as one of {names}. The rule, from the module that applies it:\n\n"
        f"```text\n{inspect.cleandoc(verdicts.__doc__ or '')}\n```\n\n## Statuses\n\nWhether the numbers of a finding "
        f"can be used: {statuses}. Only with `ok` is there a verdict other than `not estimable`; the finding's message "
        "says what happened.\n"
    )


def exit_codes_page() -> str:
    """What the command answers with."""
    from mechshift_core.errors import EXIT_CODES

    rows = [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(["# Exit codes", "", "| code | means |", "|---|---|", *rows]) + "\n"


def python_page() -> str:
    """The public names with signature and docstring."""
    parts = ["# Python API\n\nAll that is public; everything else may change without notice."]
    for package in ("mechshift_core", "stats"):
        module = importlib.import_module(package)
        parts.append(f"## {package}")
        for name in module.__all__:
            found = getattr(module, name)
            if callable(found):
                doc = inspect.cleandoc(found.__doc__ or "")
                parts.append(f"### {package}.{name}\n\n```python\n{_signature(name, found)}\n```\n\n{_quoted(doc)}")
    return "\n\n".join(parts) + "\n"


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The spec and every section in it, in the order in which a reader meets them."""
    seen, queue = {"Spec"}, [("Spec", schema)]
    while queue:
        name, section = queue.pop(0)
        yield name, section
        for reference in re.findall(r"#/\$defs/(\w+)", str(section["properties"])):
            if reference not in seen and "properties" in schema["$defs"][reference]:
                seen.add(reference)
                queue.append((reference, schema["$defs"][reference]))


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in field:
            options = [_type(option) for option in field[union] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(options))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        items = field.get("items") or {"anyOf": field.get("prefixItems", [])}
        return f"{'two' if 'prefixItems' in field else 'list'} of {_type(items)}"
    if field.get("type") == "object":
        values = field.get("additionalProperties") or next(iter(field.get("patternProperties", {"": {}}).values()))
        return f"mapping of names to {_type(values)}"
    words = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}
    text = words.get(field.get("type", ""), "anything")
    signs = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    limits = [f"{word} {field[key]:g}" for key, word in signs.items() if key in field and abs(field[key]) < 2**31 - 1]
    return "name" if "pattern" in field else ", ".join([text, *limits])


def _default(field: dict[str, Any]) -> str:
    if field.get("default") is None:
        return ""
    value = field["default"]
    if isinstance(value, dict):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value != "" else "empty"


def _commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def _options(command: Any) -> str:
    rows = ["| argument or option | default | meaning |", "|---|---|---|"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = f"`{parameter.metavar or (parameter.name or '').upper()}`"
        else:
            name = ", ".join(f"`{option}`" for option in parameter.opts)
        default = parameter.default
        shown = f"`{default}`" if isinstance(default, str | int | float) and not isinstance(default, bool) else ""
        rows.append(f"| {name} | {shown} | {_cell(parameter.help or '')} |")
    return "\n".join(rows)


def _table_after(heading: str) -> str:
    """The first table of the README after a text."""
    rest = README.read_text(encoding="utf-8").partition(heading)[2].splitlines()
    start = next(index for index, line in enumerate(rest) if line.startswith("|"))
    stop = next((index for index in range(start, len(rest)) if not rest[index].startswith("|")), len(rest))
    return "\n".join(rest[start:stop])


def _signature(name: str, found: Any) -> str:
    parameters, keywords = [], False
    for parameter in inspect.signature(found).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not keywords:
            keywords = True
            parameters.append("*")
        parameters.append(str(parameter).replace("'", ""))
    flat = f"{name}({', '.join(parameters)})"
    return flat if len(flat) < 100 else f"{name}(\n    " + ",\n    ".join(parameters) + ",\n)"


def _quoted(doc: str) -> str:
    first, _, rest = doc.partition("\n\n")
    return _prose(first) + (f"\n\n```text\n{rest}\n```" if rest else "")


def _prose(text: str) -> str:
    return re.sub(r":(?:data|class|func|mod):`~?([^`]+)`", r"`\1`", " ".join(inspect.cleandoc(text).split()))


def _cell(text: str) -> str:
    """A text in a cell of a table; braces and stars are text in Markdown, and bars end no cell."""
    return _prose(text).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*") if text else ""


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for file, content in pages().items():
        (target / file).write_text(content, encoding="utf-8")
