"""An interrupted run says so; statistics have a progress of their own; plan knows minutes from earlier cells."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from studies import ATTRIBUTION, write_study

from mechshift_core.cli import progress as shown
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.timing import expect
from mechshift_core.pipeline import analyze, calibrate, report, run
from mechshift_core.spec import load_spec


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its run in `out`."""
    folder = tmp_path_factory.mktemp("study")
    told: list[tuple[str, int, int]] = []
    run(str(write_study(folder)), out=str(folder / "out"), progress=lambda *step: told.append(step))
    (folder / "told.json").write_text(json.dumps(told))
    return folder


@pytest.mark.long
def test_paths_are_strings_or_paths(finished: Path) -> None:
    assert report(str(finished / "out")) == finished / "out" / "report.html"
    assert analyze(str(finished / "out")).path == finished / "out"
    with pytest.raises(UsageError, match="out: expected text or a path or None, got 3"):
        run(finished / "study.yaml", out=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"path: expected text or a path, got None"):
        report(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="repetitions: expected at least 1, got 0"):
        calibrate(finished / "study.yaml", out="x", repetitions=0)


@pytest.mark.long
def test_statistics_have_steps_of_their_own(finished: Path) -> None:
    told = json.loads((finished / "told.json").read_text())
    steps = [step for step in told if step[0].startswith("statistics: ")]
    assert len({what for what, _, _ in steps}) > 4
    assert "statistics: overlap of shift on mine" in [what for what, _, _ in steps]
    totals = {total for _, _, total in steps}
    assert len(totals) == 1 and [done for _, done, _ in steps] == list(range(totals.pop()))


def test_the_clock_goes_on_when_a_stretch_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    now = [100.0]
    monkeypatch.setattr(shown.time, "monotonic", lambda: now[0])
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=120)
    with shown._bar(terminal) as update:
        update("cells", 3, 3)  # a stretch is done: rich's own clock would stand still from here on
        now[0] += 75
        update("statistics: overlap", 0, 5)
        now[0] += 600
        update("statistics: hypotheses", 5, 5)
    assert "0:11:15" in file.getvalue()


def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


def test_report_says_that_a_run_has_not_come_to_an_end(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(finished, tmp_path)
    cells = sorted((out / "cells").iterdir())
    shutil.rmtree(cells[0])
    with pytest.raises(ExecutionError, match=rf"not come to an end \({len(cells) - 1} of {len(cells)} cells are comp"):
        report(out)
    (out / "findings.json").unlink()
    assert main(["report", str(out)]) == 3
    said = capsys.readouterr().err
    assert "the run has not come to an end (no findings.json); run it again, it resumes" in said
    assert f"({len(cells) - 1} of {len(cells)} cells are computed)" in said


def test_report_says_that_findings_are_of_another_spec(finished: Path, tmp_path: Path) -> None:
    out = copied(finished, tmp_path)
    (out / "spec.yaml").write_text((out / "spec.yaml").read_text() + "\n")
    with pytest.raises(ExecutionError, match=r"the findings are of another version of spec\.yaml; run it again"):
        report(out)


def test_what_was_not_declared_leaves_nothing_in_the_report(finished: Path, tmp_path: Path) -> None:
    path = write_study(tmp_path, hypotheses=[])
    text = path.read_text()
    start = text.index("measures:")
    path.write_text(text[:start] + "measures:\n  depth: {}\n" + text[text.index("hypotheses:") :])
    page = (run(path, out=tmp_path / "out").path / "report.html").read_text()
    assert "nothing to draw here" not in page
    assert 'id="depth"' in page and 'id="overlap"' not in page and 'id="specialization"' not in page
    assert "the none of" not in page and "Specialization is" not in page
    assert 'id="overlap"' in (finished / "out" / "report.html").read_text()


def test_minutes_come_from_earlier_cells_of_their_kind(finished: Path, tmp_path: Path) -> None:
    spec = load_spec(write_study(tmp_path, examples=24))
    plan = make_plan(spec)
    found = expect(plan, plan.every_cell, [tmp_path / "nothing", finished / "out"])
    assert found.seconds is not None and found.timed == found.cells == len(plan.every_cell)
    assert found.measured == 3 and found.runs == (str(finished / "out"),)
    assert "less than a minute for 3 of 3 cells" in str(found)
    assert f"(from 3 earlier cells on this machine, in {finished / 'out'})" in str(found)
    # Twice the prompts take twice as long, at the rate that was logged.
    events = [json.loads(line) for line in (finished / "out" / "events.jsonl").read_text().splitlines()]
    timed = [event for event in events if event["event"] == "cell timed"]
    rates = sorted(event["seconds"] / (event["passes"] * event["tokens"]) for event in timed)
    passes = sum(2 * event["passes"] for event in timed)
    tokens = sum(len(one.clean_ids) for one in plan.datasets["mine"].examples) / 24
    assert found.seconds == pytest.approx(rates[1] * passes * tokens, rel=1e-6)


def test_what_was_never_timed_is_said_to_be_unknown(finished: Path, tmp_path: Path) -> None:
    more = [ATTRIBUTION, {"name": "lens", "kind": "logit_lens"}]
    plan = make_plan(load_spec(write_study(tmp_path, interventions=more)))
    assert str(expect(plan, plan.every_cell, [])).startswith("minutes not known: no such cell has been computed")
    found = expect(plan, plan.every_cell, [finished / "out"])
    assert found.timed == 3 and found.cells == 6
    assert "; 3 more cells of kinds not timed yet" in str(found)
    log = tmp_path / "old" / "events.jsonl"
    log.parent.mkdir()
    log.write_text('half\n{"event": "cell timed", "seconds": "x"}\n[1]\n{"event": "cell timed", "kind": 3}\n')
    assert expect(plan, plan.every_cell, [log.parent]).seconds is None
    other = (finished / "out" / "events.jsonl").read_text().replace('"machine": "', '"machine": "not-')
    log.write_text(other)
    assert expect(plan, plan.every_cell, [log.parent]).seconds is None


def test_plan_tells_budgets_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path)
    path.write_text(path.read_text() + "denoising:\n  steps: [1, per_token]\n")
    assert main(["plan", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [line for line in lines if line.startswith("to do ")]
    assert len(set(cells)) == len(cells)
    assert sum(" at 1," in line for line in cells) == sum(" at per_token," in line for line in cells) == 3
    assert sum(line.startswith("  denoising steps ") for line in lines) == 2
    assert any(line.startswith("time: minutes not known") for line in lines)
    assert main(["plan", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {cell["budget"] for cell in shown["cells"]} == {"1", "per_token"}
    assert shown["time"] == {"seconds": None, "timed": 0, "measured": 0, "runs": []}
