"""A run that is opened is the one that was run; what is no finished run says what is wrong with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import mechshift_core
from mechshift_core import drawing, open_run, plot
from mechshift_core.errors import ExecutionError, MechshiftError, UsageError
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run
from mechshift_core.run_tables import UnknownTableError
from mechshift_core.spec import SpecError


def changed(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.long
def test_an_opened_run_is_the_one_that_was_run(finished: Run) -> None:
    files = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")}
    assert open_run(finished.path) == replace(finished, analysed=False)
    assert open_run(str(finished.path)).tables["overlap"].equals(finished.tables["overlap"])
    assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*")} == files, "nothing is written"


def test_it_is_one_line_of_text_and_shows_its_verdicts(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run = open_run(finished.path)
    assert repr(run) == f"Run('random-study' in '{finished.path}': 2 hypotheses)"
    html = run._repr_html_()
    assert html is not None and "The circuit is kept." in html and 'class="badge' in html
    (finished.path / "findings.json").unlink()
    assert run._repr_html_() is None, "then its text is shown"


def test_tables_are_read_by_name(finished: Run) -> None:
    tables = finished.tables
    assert tables["edges"].equals(pl.read_parquet(finished.path / "tables" / "edges.parquet"))
    assert list(tables) == sorted(path.stem for path in (finished.path / "tables").iterdir())
    assert len(tables) == len(list(tables)) and "overlap" in tables and "overlaps" not in tables
    assert repr(tables).startswith(f"RunTables({len(tables)} tables: ") and "\n" not in repr(tables)
    assert tables.get("nothing") is None
    for wrong in ("overlaps", "../tables/overlap", 3):
        with pytest.raises(KeyError) as caught:
            tables[wrong]  # type: ignore[index]
        assert isinstance(caught.value, UnknownTableError)
        assert f"no table {wrong!r} in" in str(caught.value) and "overlap, " in str(caught.value)
    with pytest.raises(UsageError, match=r"no table 'overlaps' .* \(did you mean 'overlap'\?\); there are: "):
        tables["overlaps"]
    (finished.path / "tables" / "overlap.parquet").write_bytes(b"PAR1 not quite")
    with pytest.raises(ExecutionError, match=r"overlap\.parquet: cannot be read: .*`mechshift analyze .*` writes it"):
        tables["overlap"]


def test_findings_are_a_frame(finished: Run) -> None:
    frame = finished.findings.to_frame()
    assert frame["id"].to_list() == ["kept", "earlier"]
    table = finished.tables["findings"]
    assert frame.select("estimate", "low", "high", "p").equals(table.select("estimate", "low", "high", "p"))


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder; give a run directory"):
        open_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"holds no run \(no plan.json\); give a run directory"):
        open_run(tmp_path)
    with pytest.raises(UsageError, match="path: expected text or a path, got 3"):
        open_run(3)  # type: ignore[arg-type]


def test_an_unfinished_run_is_refused(finished: Run) -> None:
    RunFolder(finished.path)
    cell = next((finished.path / "cells").iterdir())
    shutil.rmtree(cell)
    with pytest.raises(ExecutionError, match=r"has not come to an end \(\d+ of \d+ cells are computed\); run it again"):
        open_run(finished.path)
    (finished.path / "findings.json").unlink()
    with pytest.raises(ExecutionError, match=r"has not come to an end \(no findings.json\); run it again"):
        open_run(finished.path)


def test_a_run_that_a_process_writes_is_refused(finished: Run) -> None:
    with (
        RunFolder(finished.path).claim(),
        pytest.raises(ExecutionError, match="a process is running in it; open it when"),
    ):
        open_run(finished.path)


def test_damaged_files_are_said(finished: Run) -> None:
    (finished.path / "findings.json").write_text("{")
    with pytest.raises(ExecutionError, match=r"findings.json: not a findings document.*`mechshift analyze"):
        open_run(finished.path)
    (finished.path / "plan.json").write_text("{")
    with pytest.raises(ExecutionError, match="holds no complete run"):
        open_run(finished.path)
    (finished.path / "spec.yaml").write_text("schema: mechshift/v1\nnom: x\n")
    with pytest.raises(SpecError, match="unknown key 'nom'"):
        open_run(finished.path)


@pytest.mark.parametrize("file", ["findings.json", "plan.json", "spec.yaml"])
def test_a_run_of_a_newer_version_says_so(finished: Run, file: str) -> None:
    changed(finished.path / "provenance.json", mechshift="99.0.1")
    open_run(finished.path)  # what can be read is read
    path = finished.path / file
    if file == "spec.yaml":
        path.write_text(path.read_text().replace("mechshift/v1", "mechshift/v2"))
    else:
        changed(path, **({"schema": "mechshift-findings/v2"} if file == "findings.json" else {"models": []}))
    message = (
        rf"It was written by mechshift 99\.0\.1, and this is {mechshift_core.__version__}, which is older; upgrade"
    )
    with pytest.raises(MechshiftError, match=message):
        open_run(finished.path)


@pytest.mark.long
def test_drawings_are_of_a_run_or_its_directory(finished: Run) -> None:
    shown = plot.circuit(finished, task="mine", pair="shift")
    assert [(panel.title, panel.subtitle) for panel in shown.figure.panels] == [("mine", "shift")]
    assert plot.circuit(str(finished.path), pair="shift").figure == shown.figure
    assert {"verdicts", "circuits", "overlap", "depth"} <= set(plot.names(finished.path))
    assert plot.forest(finished).name == "verdicts"
    with pytest.raises(UsageError, match=r"task: the run 'random-study' has none called 'mien' \(did you mean 'mine'"):
        plot.overlap(finished, task="mien")
    with pytest.raises(
        UsageError, match=r"no drawing 'faithfulness' in the run 'random-study'; there are: verdicts, cir"
    ):
        plot.faithfulness(finished)
    with pytest.raises(UsageError, match="run: expected a run or its directory, got int"):
        plot.depth(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="name: expected text, got None"):
        plot.figure(finished, None)  # type: ignore[arg-type]
    (finished.path / "findings.json").unlink()
    with pytest.raises(ExecutionError, match="has not come to an end"):
        plot.depth(finished)


def test_every_short_function_draws_something_of_the_report() -> None:
    from reports.page import drawn_as

    named = {"circuit": "circuits", "forest": None}
    for name in set(plot.__all__) - {"Drawing", "figure", "names"}:
        wanted = named.get(name, name)
        assert wanted is None or drawn_as(wanted), f"plot.{name}: no section of the report is called so"


def test_a_run_is_checked_against_a_baseline(finished: Run, tmp_path: Path) -> None:
    path = finished.save_baseline(tmp_path / "baseline.json")
    gate = finished.check(path)
    assert [one.outcome for one in gate.comparisons] == ["unchanged"] * 2 and not gate.regressed
    assert repr(gate) == f"Gate('random-study': 2 unchanged; exit code {gate.exit_code})"
    recorded = json.loads(path.read_text())
    known = [one["estimate"] for one in recorded["findings"]]
    assert any(estimate is not None for estimate in known)
    moved = [
        {**one, "estimate": None if estimate is None else estimate + 1e3}
        for one, estimate in zip(recorded["findings"], known, strict=True)
    ]
    path.write_text(json.dumps({**recorded, "findings": moved}))
    assert finished.check(path).exit_code == 1
    with pytest.raises(UsageError, match=r"no hypothesis 'kep' \(did you mean 'kept'\?\); there are: kept, earlier"):
        finished.check(path, must_hold=["kep"])
    with pytest.raises(UsageError, match="must_hold: expected a list, each text, got 'kept'"):
        finished.check(path, must_hold="kept")
    with pytest.raises(UsageError, match="tolerance: expected a number > 0 or None, got -1"):
        finished.check(path, tolerance=-1)
    with pytest.raises(UsageError, match="no such file"):
        finished.check(tmp_path / "other.json")
    with pytest.raises(UsageError, match="cannot be written"):
        finished.save_baseline(tmp_path / "nowhere" / "baseline.json")


def test_a_partial_run_is_opened_as_such_and_makes_no_baseline(finished: Run, tmp_path: Path) -> None:
    changed(finished.path / "provenance.json", failures=["mine of after: broken"])
    run = open_run(finished.path)
    assert run.failures == ("mine of after: broken",) and repr(run).endswith("2 hypotheses, 1 failed)")
    with pytest.raises(ExecutionError, match="is partial, which makes no baseline: mine of after: broken"):
        run.save_baseline(tmp_path / "baseline.json")


def test_a_run_whose_code_was_allowed_is_drawn_with_it(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def data_of(path: Path, *, allow_code: bool) -> None:
        assert path == finished.path
        asked.append(allow_code)

    monkeypatch.setattr(drawing, "report_data_of", data_of)
    for run, allow in ((finished, False), (replace(finished, allowed_code=True), False), (finished, True)):
        drawing.data_of(run, allow_code=allow)
    assert asked == [False, True, True]


@pytest.mark.long
def test_a_run_with_a_broken_analysis_is_opened_and_tried_again(
    finished: Run, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mechshift_core.measures.depth import depth

    def breaks(*_: object) -> None:
        raise TypeError("no luck")

    whole = (finished.path / "findings.json").read_bytes()
    (finished.path / "analysis.json").unlink()
    shutil.rmtree(finished.path / "statistics")
    with monkeypatch.context() as patched:
        patched.setattr(depth, "measure_depth", breaks)
        partial = mechshift_core.run(study, out=finished.path)
        assert any("depth of shift on mine" in line and "no luck" in line for line in partial.failures)
        opened = open_run(finished.path)
        assert opened.failures == partial.failures and opened == replace(partial, analysed=False, cached=opened.cached)
        assert repr(opened).endswith(f"{len(partial.failures)} failed)")
        html = opened._repr_html_()
        assert html is not None and "Parts of this run failed and are missing." in html and "no luck" in html
        mechshift_core.report(finished.path)
        assert mechshift_core.run(study, out=finished.path).analysed, "what broke is tried again"
    again = mechshift_core.run(study, out=finished.path)
    assert again.analysed and again.failures == ()
    assert (finished.path / "findings.json").read_bytes() == whole
    html = open_run(finished.path)._repr_html_()
    assert html is not None and "failed" not in html
