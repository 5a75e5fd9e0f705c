"""`mechshift export`: runs in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from stored_runs import equivalent, estimate, finding, findings, undefined, write_run

from mechshift_core.cli.main import main
from mechshift_core.export.schema import OWN
from stats.findings import Alternative, Part


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, *, layers: int = 3, **columns: Any) -> Path:
    part = Part(key="task", level="ioi", estimate=0.1, low=0.0, high=0.2, p=0.04)
    other = Alternative(choice="denoising", value="all_masked", hypotheses=(finding(),), estimates=(estimate(),))
    found = findings(
        finding(claim="\x00'; DROP TABLE runs; --", parts=(part,)), equivalent(), undefined(),
        estimates=(estimate(reference={"null": 0.1, "ceiling": None}),),
    )  # fmt: skip
    folder = write_run(Path(name), type(found)(**{**_fields(found), "alternatives": (other,)}))
    (folder / "tables").mkdir()
    values = {"layer": range(layers), "share": [float("nan")] * layers, "tokens": [["a", "b"]] * layers}
    pl.DataFrame({**values, "used": [True] * layers, **columns}).write_parquet(folder / "tables" / "layers.parquet")
    pl.DataFrame({"id": ["x"], "run": ["y"]}).write_parquet(folder / "tables" / "runs.parquet")
    pl.DataFrame({"id": ["x"]}).write_parquet(folder / "tables" / "findings.parquet")
    return folder


def _fields(found: Any) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def rows(text: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect("all.sqlite") as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = connection.execute(text).fetchall()
    connection.close()
    return found


def test_findings_and_tables_of_runs_are_in_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    write("first")
    write("second", extra=[1, 2, 3])
    assert main(["export", "first", "second", "--sqlite", "all.sqlite"]) == 0
    assert "2 runs" in capsys.readouterr().out
    assert rows("SELECT name, study, partial FROM runs") == [("first", "made-up", 0), ("second", "made-up", 0)]
    joined = "FROM hypotheses h JOIN runs r ON r.id = h.run WHERE r.name = 'first'"
    assert rows(f"SELECT h.name, verdict, estimate, prompts, choice {joined} ORDER BY h.id") == [
        ("lower", "supported", -0.4, 100, ""),
        ("kept", "supported", 0.03, 100, ""),
        ("none", "not estimable", None, 100, ""),
        ("lower", "supported", -0.4, 100, "denoising all_masked"),
    ]
    assert rows("SELECT claim FROM hypotheses LIMIT 1") == [("\x00'; DROP TABLE runs; --",)]
    assert rows("SELECT count(*), sum(weight) FROM terms") == [(8, 8.0)]
    assert rows("SELECT level, p FROM parts LIMIT 1") == [("ioi", 0.04)]
    values = "SELECT v.name, v.value FROM reference_values v JOIN estimates e ON e.id = v.of_estimate LIMIT 2"
    assert rows(values) == [("null", 0.1), ("ceiling", None)]
    layers = (
        "SELECT r.name, layer, share, tokens, used, extra FROM layers l JOIN runs r ON r.id = l.run WHERE layer = 2"
    )
    assert rows(layers) == [("first", 2, None, '["a", "b"]', 1, None), ("second", 2, None, '["a", "b"]', 1, 3)]
    assert rows("SELECT id_, run_ FROM table_runs") == [("x", "y")] * 2


def test_every_column_is_described_and_every_link_leads_somewhere() -> None:
    write("first")
    assert main(["export", "first", "--sqlite", "all.sqlite", "--quiet"]) == 0
    described = {(table, name): meaning for table, name, meaning in rows("SELECT of_table, name, meaning FROM columns")}
    tables = [name for (name,) in rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert {*OWN} <= {*tables}
    for table in tables:
        for column in rows(f"PRAGMA table_info('{table}')"):
            assert (table, column[1]) in described
    assert all(described[table, name] for table in OWN for name in OWN[table])
    assert described["layers", "layer"] == "layer that the edges leave" or described["layers", "layer"]
    for table in ("hypotheses", "estimates", "layers"):
        assert [key[2] for key in rows(f"PRAGMA foreign_key_list('{table}')")] == ["runs"]


def test_large_tables_are_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    write("first", layers=11)
    assert main(["export", "first", "--sqlite", "all.sqlite", "--most-rows", "10", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["skipped"] == [{"run": "first", "table": "layers", "rows": 11}] and "layers" not in shown["rows"]
    assert main(["export", "first", "--sqlite", "all.sqlite", "--most-rows", "10"]) == 0
    assert "left out: layers of first (11 rows" in capsys.readouterr().out


def test_nothing_else_is_replaced_and_nothing_is_left_half_written(capsys: pytest.CaptureFixture[str]) -> None:
    write("first")
    assert main(["export", "first", "--sqlite", "deep/er/all.sqlite"]) == 0
    Path("notes.txt").write_text("precious")
    sqlite3.connect("other.sqlite").execute("CREATE TABLE x (y)").connection.close()
    for target in ("notes.txt", "other.sqlite", "first"):
        assert main(["export", "first", "--sqlite", target]) == 2
        assert "was not written by `mechshift export`" in capsys.readouterr().err
    assert Path("notes.txt").read_text() == "precious"
    assert main(["export", "first", "--sqlite", "all.sqlite"]) == 0
    before = Path("all.sqlite").read_bytes()
    (Path("first") / "tables" / "layers.parquet").write_bytes(b"PAR1 no more")
    assert main(["export", "first", "--sqlite", "all.sqlite"]) == 3
    assert "layers.parquet" in capsys.readouterr().err and Path("all.sqlite").read_bytes() == before
    assert [path.name for path in Path().glob(".*")] == []


def test_what_is_no_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert main(["export", "empty", "--sqlite", "all.sqlite"]) == 2
    assert "holds no run" in capsys.readouterr().err
    write("first")
    write("deep/first")
    assert main(["export", "first", "deep/first", "--sqlite", "all.sqlite"]) == 2
    assert "two runs are called first" in capsys.readouterr().err
    (Path("first") / "findings.json").unlink()
    assert main(["export", "first", "--sqlite", "all.sqlite"]) == 3
    assert not Path("all.sqlite").exists()
