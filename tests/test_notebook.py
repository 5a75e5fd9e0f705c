"""The example notebook runs, and what it shows is what it computes."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOK = DOCS / "example.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


def texts(outputs: Sequence[Mapping[str, Any]]) -> str:
    """What cells print or show, as text; a folder that is made anew each time is left out."""
    shown = ["".join(output.get("text") or output["data"]["text/plain"]) for output in outputs]
    return re.sub(r"'/[^']*'", "FOLDER", "\n".join(shown))


def test_every_code_cell_parses_and_has_been_run() -> None:
    assert [cell["execution_count"] for cell in CODE] == [*range(1, len(CODE) + 1)]
    for cell in CODE:
        compile("".join(cell["source"]), str(NOTEBOOK), "exec")


def test_the_notebook_goes_the_whole_way() -> None:
    code = "".join("".join(cell["source"]) for cell in CODE)
    for name in ("from_text", "to_frame", "metric_frame", "run(", "open_run(", "plot.", ".tables", ".check("):
        assert name in code


def test_drawings_are_shown_as_html() -> None:
    shown = ["".join(one["data"].get("text/html", "")) for cell in CODE for one in cell["outputs"] if "data" in one]
    assert sum('<div class="mechshift">' in html for html in shown) >= 3
    assert NOTEBOOK.stat().st_size < 400_000


@pytest.mark.long
def test_the_notebook_runs_and_shows_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.spec_from_file_location("run_notebook", DOCS / "run_notebook.py")
    assert found is not None and found.loader is not None
    runner = importlib.util.module_from_spec(found)
    found.loader.exec_module(runner)
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    for cell in CODE:
        shown, now = cell["outputs"], runner.outputs_of("".join(cell["source"]), space)
        assert [sorted(one.get("data", [])) for one in now] == [sorted(one.get("data", [])) for one in shown]
        # Sums in another order differ in the last digits, and Polars rounds what it prints.
        assert re.sub(r"[\d.e-]+", "#", texts(now)) == re.sub(r"[\d.e-]+", "#", texts(shown))
        assert numbers(texts(now)) == pytest.approx(numbers(texts(shown)), rel=0.02, abs=2e-3)
