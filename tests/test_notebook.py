"""The example notebook runs, and what it shows is what it computes."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "example.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


def test_every_code_cell_parses_and_has_been_run() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    for cell in code:
        compile("".join(cell["source"]), str(NOTEBOOK), "exec")


@pytest.mark.long
def test_the_notebook_runs_and_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    for cell in CELLS:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), space)
            shown = "".join("".join(output["text"]) for output in cell["outputs"])
            # Sums in another order differ in the last digits, and Polars rounds what it prints.
            assert re.sub(r"[\d.e-]+", "#", printed.getvalue()) == re.sub(r"[\d.e-]+", "#", shown)
            assert numbers(printed.getvalue()) == pytest.approx(numbers(shown), rel=0.02, abs=2e-3)
