"""The documentation covers all there is, and what it quotes is what the code says."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel

from mechshift_core.cli.main import app
from mechshift_core.errors import EXIT_CODES
from mechshift_core.kinds import INTERVENTIONS, Intervention, testables
from mechshift_core.spec import Spec
from mechshift_core.spec.base import Section
from mechshift_core.spec.pairs import StepPair
from mechshift_core.spec.starters import starters
from mechshift_core.tables import TABLES
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.banks import NATURAL, banks_of
from stats.findings import Status, Verdict

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md")}


def test_the_reference_is_as_the_code_gives_it_now(reference: dict[str, str]) -> None:
    generated: dict[str, str] = script("generate_reference").pages()
    assert generated.keys() == reference.keys()
    unlike = [name for name in generated if generated[name] != reference[name]]
    assert unlike == [], "run python docs/generate_reference.py"


def test_an_outdated_or_missing_page_of_the_reference_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = script("generate_reference")
    monkeypatch.setattr(generator, "FOLDER", tmp_path)
    monkeypatch.setattr(generator, "pages", lambda: {"a.md": "new\n", "b.md": "b\n"})
    (tmp_path / "a.md").write_text("old\n")
    assert generator.main(["--check"]) == 1
    assert re.findall(r"docs/reference/(\w+\.md) is not", capsys.readouterr().out) == ["a.md", "b.md"]
    assert (tmp_path / "a.md").read_text() == "old\n"
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    (tmp_path / "c.md").write_text("of a page that is no more\n")
    assert generator.main(["--check"]) == 1


def part(page: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(heading)}(?: \{{[^\n]*\}})?\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def sections(model: type[BaseModel] = Section) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        if child.__module__.startswith("mechshift_core.") and child not in (Intervention, StepPair):
            yield child
        yield from sections(child)


@pytest.mark.parametrize("section", sorted({s.__name__: s for s in sections()}.items()), ids=lambda s: s[0])
def test_every_field_of_a_spec_has_its_line(section: tuple[str, type[BaseModel]], reference: dict[str, str]) -> None:
    name, model = section
    text = part(reference["spec.md"], "Spec (top level)" if model is Spec else name)
    for key, field in model.model_fields.items():
        (line,) = re.findall(rf"^\| `{field.alias or key}` \|.*\|$", text, re.MULTILINE)
        assert "anything" not in line.split(" | ")[1]
        assert field.description and field.description.split()[0].strip("`") in line


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{before}{name} ")
        if not hasattr(command, "commands"):
            yield f"{before}{name}", command


@pytest.mark.parametrize("found", list(commands(typer.main.get_command(app))), ids=lambda found: found[0])
def test_every_command_and_option_has_its_line(found: tuple[str, Any], reference: dict[str, str]) -> None:
    name, command = found
    text = part(reference["commands.md"], f"mechshift {name}")
    assert len(text.split("|", 1)[0].strip()) > 10
    for parameter in command.params:
        names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar]
        for option in names:
            assert re.search(rf"^\| .*`{re.escape(option)}`.* \| .* \| .+ \|$", text, re.MULTILINE), option


@pytest.mark.parametrize("table", TABLES)
def test_every_table_and_column_has_its_line(table: str, reference: dict[str, str]) -> None:
    text = part(reference["tables.md"], table)
    assert re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", text, re.MULTILINE) == [*TABLES[table]]


def test_every_measure_and_intervention_has_its_line(reference: dict[str, str]) -> None:
    works = [one.name for one, _ in testables()]
    kinds = [*INTERVENTIONS]
    assert re.findall(r"^\| `(\w+)` \| .+ \| .+ \| .+ \| .*\|$", reference["measures.md"], re.MULTILINE) == works
    for page, names in (("measures.md", works), ("interventions.md", kinds)):
        found = re.findall(r"^\| `(\w+)` \| .+\|$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert sorted(found) == sorted(names)


def test_every_task_verdict_status_and_exit_code_is_there(reference: dict[str, str]) -> None:
    assert re.findall(r"^\| `(\w+)` \| (?:local|global) ", reference["tasks.md"], re.MULTILINE) == [*TASKS]
    for task in TASKS.values():
        section = reference["tasks.md"].partition(f"\n### {task.name}\n")[2].partition("\n### ")[0]
        assert re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE) == [*banks_of(task)[NATURAL].bank.frames]
    for word in (*get_args(Verdict), *get_args(Status)):
        assert f"`{word}`" in reference["verdicts.md"]
    assert re.findall(r"^\| (\d+)", reference["exit-codes.md"], re.MULTILINE) == [str(code) for code in EXIT_CODES]


@pytest.mark.parametrize("package", ["mechshift_core", "stats"])
def test_every_public_function_and_class_has_its_entry(package: str, reference: dict[str, str]) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        if callable(getattr(module, name)):
            assert f"### {package}.{name}\n" in reference["python.md"]


def test_every_page_of_the_menu_is_there_and_every_page_is_in_the_menu(reference: dict[str, str]) -> None:
    menu = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    written = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert menu == written
    assert len([name for name in written if name.startswith("reference/")]) == len(reference)


def pages() -> list[Path]:
    return [*DOCS.rglob("*.md"), ROOT / "README.md"]


def anchors(page: Path) -> set[str]:
    """What the headings of a page can be linked by, in a browser of repositories as in the built site."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = page if not path else page.parent / path
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target


def test_the_picture_of_a_report_is_small() -> None:
    picture = DOCS / "figures" / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size <= 250_000


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_templates_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {name.split()[0] for name, _ in commands(typer.main.get_command(app))} | {"COMMAND"}
    assert set(re.findall(r"\bmechshift ([a-zA-Z]+)\b(?=[^:\n]*[`\n])", "\n".join(_code(text)))) <= known
    assert set(re.findall(r"--template ([a-z0-9-]+)", text)) <= set(starters())


def _code(text: str) -> list[str]:
    blocks = re.findall(r"^```(?:sh|console).*?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [*(line + "\n" for block in blocks for line in block.splitlines() if "mechshift" in line),
            *(f"{span}`" for span in re.findall(r"`(mechshift [^`\n]+)`", text))]  # fmt: skip


def test_the_numbers_of_the_tutorial_are_those_of_the_quickstart() -> None:
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    for found in json.loads((ROOT / "specs" / "baselines" / "quickstart.json").read_text())["findings"]:
        (line,) = re.findall(
            rf"^(supported|refuted|inconclusive) +{found['id']} +(\S+) \[(\S+), (\S+)\]", text, re.MULTILINE
        )
        assert line[0] == found["verdict"]
        numbers = [found["estimate"], found["low"], found["high"]]
        # The bootstrap's own error moves the ends of an interval a little between versions.
        assert [float(number) for number in line[1:]] == pytest.approx(numbers, abs=0.0025)


def messages() -> Iterator[str]:
    """Every string of the sources, with an ellipsis for what is filled in."""
    for package in ("mechshift_core", "stats", "reports"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
                elif isinstance(node, ast.JoinedStr):
                    yield "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in node.values)


def test_every_message_of_the_error_page_is_one_of_the_code() -> None:
    known = [*messages()]
    quoted = re.findall(r"^### `(.+)`$", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) >= 20
    for message in quoted:
        fragments = [fragment for fragment in message.split("…") if len(fragment.strip()) > 2]
        # Messages are put together from few strings: the longest fragment is of one, the others of any.
        assert fragments and all(any(f in text for text in known) for f in fragments), message


def test_the_simulated_numbers_of_the_figures_are_what_the_script_gives() -> None:
    script_ = script("draw_figures")
    stored = json.loads(script_.SIMULATED.read_text())
    for name, rows in script_.simulated().items():
        assert [r | {"rejected": None} for r in rows] == [r | {"rejected": None} for r in stored[name]]
        rates = [r["rejected"] for r in stored[name]]
        assert [r["rejected"] for r in rows] == pytest.approx(rates, abs=1e-3)
    for figure in ("coverage", "units", "skewness", "retention"):
        assert f"figures/{figure}.svg" in (DOCS / "statistics.md").read_text(encoding="utf-8")
        assert (DOCS / "figures" / f"{figure}.svg").read_text(encoding="utf-8").startswith("<svg")


def test_what_builds_the_documentation_is_pinned() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line for line in extras["docs"] if line.startswith("mkdocs-material")]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert {"mkdocs", "mkdocs-material"} <= {pin.partition("==")[0] for pin in pins}


@pytest.mark.long
def test_the_documentation_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "site" / "reference" / "spec" / "index.html").is_file()


def test_what_the_pages_import_is_there() -> None:
    found = 0
    for page in sorted(DOCS.rglob("*.md")):
        for module, names in re.findall(
            r"^from ((?:mechshift_core|stats)[\w.]*) import ([\w, ]+)$", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            for name in names.split(","):
                assert hasattr(importlib.import_module(module), name.strip()), f"{page.name}: {module}.{name}"
                found += 1
    assert found > 10


def test_the_findings_of_the_study_are_those_of_its_baseline() -> None:
    recorded = json.loads((ROOT / "specs" / "baselines" / "tiny-mechanism-shift.json").read_text())["findings"]
    text = (DOCS / "studies.md").read_text(encoding="utf-8").replace("−", "-")
    text = text.partition("## What it finds on a real model")[0]
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| ([^|]+) \| ([\w ]+) \|$", text, re.MULTILINE)
    expected = [
        (f["id"], "–" if f["estimate"] is None else "{estimate:.3f} [{low:.3f}, {high:.3f}]".format(**f), f["verdict"])
        for f in recorded
    ]
    assert rows == expected
