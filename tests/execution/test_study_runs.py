"""A run resumes, believes nothing half-written, and recomputes what changed and only that."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from safetensors.numpy import load_file
from shared_cells import interrupted_after
from studies import EVERY_KIND, HYPOTHESES, write_pairs, write_study

from mechshift_core import run
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution import plan as planning
from mechshift_core.pipeline import Run, analyze, report
from mechshift_core.tables import TABLES
from stats.findings import Findings


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SHARD", 5)


def outputs(result: Run) -> dict[str, bytes]:
    names = ["findings.json", "report.html", "provenance.json", "spec.yaml"]
    return {name: (result.path / name).read_bytes() for name in names}


NOT_ASKED_FOR = {"trajectory", "trajectory_changes", "attention_parts", "reliability"}
"""Tables that are empty where a study has no trajectory, attention is not split, and answers are sets of tokens."""


def test_a_run_leaves_everything_that_is_promised(study: Path, out: Path) -> None:
    paired: dict[str, object] = {"name": "paired", "kind": "ablation", "ablation": "zero", "pairwise": 2}
    paired["shapley"] = {"components": 2, "order": 2}
    model = {"mixed_model": {"formula": "shift ~ depth * role"}}
    write_study(
        study.parent, interventions=[*EVERY_KIND, paired], diffusion=True, statistics=model, tasks=("mine", "other")
    )
    result = run(study, out=out)
    assert result.failures == ()
    assert (out / "spec.yaml").read_bytes() == study.read_bytes()
    for name in ("provenance.json", "findings.json", "report.html", "events.jsonl"):
        assert (out / name).stat().st_size > 0
    tables = {path.stem: pl.read_parquet(path) for path in (out / "tables").glob("*.parquet")}
    assert set(tables) == set(TABLES)
    for name, table in tables.items():
        assert table.schema == {column: spec.type for column, spec in TABLES[name].items()}, name
        assert table.height > 0 or name in NOT_ASKED_FOR, name
    findings = Findings.from_json((out / "findings.json").read_text())
    assert [finding.id for finding in findings.hypotheses] == ["kept", "earlier"]
    for line in (out / "events.jsonl").read_text().splitlines():
        assert {"time", "event"} <= set(json.loads(line))


def test_the_edges_table_holds_the_means_of_the_stored_scores(study: Path, out: Path, finished: Run) -> None:
    edges = pl.read_parquet(out / "tables" / "edges.parquet")
    scores = pl.read_parquet(out / "tables" / "edge_scores.parquet")
    examples = pl.read_parquet(out / "tables" / "examples.parquet").filter(
        (pl.col("pair") == "shift") & (pl.col("side") == "after")
    )
    path = scores.filter(pl.col("model") == "after")["path"][0]
    stored = load_file(out / path)["scores"][examples["selected"].to_numpy()]
    table = edges.filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))
    assert table["score"].to_list() == pytest.approx(stored.mean(0).tolist(), abs=1e-6)
    best = table.filter(pl.col("rank") == 1)["score"][0]
    assert abs(best) == pytest.approx(table["score"].abs().max())


@pytest.mark.long
def test_a_second_run_computes_nothing_and_changes_nothing(study: Path, out: Path) -> None:
    first = run(study, out=out)
    before = outputs(first)
    second = run(study, out=out)
    assert (second.computed, second.cached, second.analysed) == (0, first.computed, False)
    assert outputs(second) == before


@pytest.mark.long
def test_a_changed_hypothesis_recomputes_no_cell(study: Path, out: Path, finished: Run) -> None:
    write_study(study.parent, hypotheses=HYPOTHESES[:1])
    second = run(study, out=out)
    assert (second.computed, second.cached, second.analysed) == (0, finished.cached, True)
    assert [finding.id for finding in second.findings.hypotheses] == ["kept"]


@pytest.mark.long
def test_a_changed_prompt_recomputes_only_its_own_cells(study: Path, out: Path, small_shards: None) -> None:
    first = run(study, out=out)
    assert first.computed == 9  # three models, three shards
    write_pairs(study.parent / "pairs.jsonl", 12, changed=7)
    second = run(study, out=out)
    assert (second.computed, second.cached) == (3, 6)


@pytest.mark.long
def test_a_changed_template_recomputes_no_cell_but_is_analysed(study: Path, out: Path) -> None:
    first = run(study, out=out)
    path = study.parent / "pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps({**row, "template": f"t{number % 2}"}) for number, row in enumerate(rows)))
    second = run(study, out=out)
    assert (second.computed, second.cached, second.analysed) == (0, first.computed, True)
    assert set(pl.read_parquet(out / "tables" / "examples.parquet")["template"]) == {"t0", "t1"}
    analyze(out)
    assert set(pl.read_parquet(out / "tables" / "examples.parquet")["template"]) == {"t0", "t1"}


def test_a_data_set_is_stored_once_and_a_damaged_one_is_made_again(study: Path, out: Path, finished: Run) -> None:
    (stored,) = (out / "data").iterdir()
    whole = stored.read_text()
    stored.write_text(whole[: len(whole) // 2])
    assert run(study, out=out).failures == ()
    assert stored.read_text() == whole


@pytest.mark.long
def test_a_changed_checkpoint_recomputes_its_cells(study: Path, out: Path) -> None:
    from random_models import write_random_model

    run(study, out=out)
    write_random_model("qwen2", study.parent / "after", seed=9)
    second = run(study, out=out)
    assert (second.computed, second.cached) == (1, 2)


@pytest.mark.parametrize("killed_after", [1, *(pytest.param(n, marks=pytest.mark.long) for n in (0, 4))])
def test_an_interrupted_run_goes_on_where_it_was(
    study: Path, out: Path, tmp_path: Path, small_shards: None, killed_after: int
) -> None:
    uninterrupted = run(study, out=tmp_path / "whole")
    with interrupted_after(killed_after):
        run(study, out=out)
    resumed = run(study, out=out)
    assert (resumed.computed, resumed.cached) == (9 - killed_after, killed_after)
    assert outputs(resumed) == outputs(uninterrupted)


def test_a_half_written_cell_is_swept_away(study: Path, out: Path, finished: Run) -> None:
    leftover = out / "cells" / ".0123.99.tmp"
    leftover.mkdir()
    (leftover / "tensors.safetensors").write_bytes(b"half")
    second = run(study, out=out)
    assert second.cached == finished.cached
    assert not leftover.exists()


@pytest.mark.parametrize(
    "damage",
    ["flipped", *(pytest.param(one, marks=pytest.mark.long) for one in ("truncated", "no description", "no tensors"))],
)
def test_a_damaged_cell_is_computed_again(study: Path, out: Path, finished: Run, damage: str) -> None:
    before = outputs(finished)
    cell = next(path for path in (out / "cells").iterdir() if not path.name.startswith("."))
    tensors = cell / "tensors.safetensors"
    if damage == "truncated":
        tensors.write_bytes(tensors.read_bytes()[:-50])
    elif damage == "flipped":
        content = bytearray(tensors.read_bytes())
        content[-1] ^= 1
        tensors.write_bytes(bytes(content))
    elif damage == "no description":
        (cell / "cell.json").unlink()
    else:
        tensors.unlink()
    second = run(study, out=out)
    assert second.computed == 1
    assert outputs(second) == before


@pytest.mark.long
def test_the_order_and_size_of_batches_do_not_matter(
    study: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(study, out=out)
    monkeypatch.setattr(planning, "SHARD", 3)
    apart = run(study, out=tmp_path / "apart")
    for one, other in zip(whole.findings.hypotheses, apart.findings.hypotheses, strict=True):
        assert one.estimate == pytest.approx(other.estimate, abs=1e-6)
        assert one.p == pytest.approx(other.p, abs=1e-6)
        assert one.verdict == other.verdict


def test_two_runs_in_one_folder_do_not_mix(study: Path, out: Path, finished: Run) -> None:
    with (out / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(ExecutionError, match="another process is running"):
            run(study, out=out)
    run(study, out=out)


def test_a_folder_that_holds_something_else_is_refused(study: Path, out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not empty and holds no run"):
        run(study, out=out)
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_folder_with_another_study_is_refused(study: Path, out: Path, finished: Run) -> None:
    study.write_text(study.read_text().replace("random-study", "other-study"))
    with pytest.raises(UsageError, match="holds the run of 'random-study'"):
        run(study, out=out)


def test_a_file_in_place_of_the_folder_is_refused(study: Path, out: Path) -> None:
    out.write_text("")
    with pytest.raises(UsageError, match="is a file"):
        run(study, out=out)


def test_an_unwritable_folder_is_a_clear_error(study: Path) -> None:
    with pytest.raises(UsageError, match="cannot write to /proc/nowhere"):
        run(study, out=Path("/proc/nowhere"))


@pytest.mark.long
def test_a_failed_model_is_shown_and_the_rest_goes_on(study: Path, out: Path) -> None:
    weights = study.parent / "after" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-100])
    partial = run(study, out=out)
    assert len(partial.failures) == 1
    assert "cannot be read" in partial.failures[0]
    assert "cannot be read" in (out / "report.html").read_text()
    kept, earlier = partial.findings.hypotheses
    assert (kept.verdict, kept.status) == ("not estimable", "failed")
    assert (earlier.verdict, earlier.status) == ("not estimable", "failed")
    assert {row["pair"] for row in pl.read_parquet(out / "tables" / "overlap.parquet").to_dicts()} == {"control"}
    weights.write_bytes(good)
    mended = run(study, out=out)
    assert mended.failures == ()
    assert mended.computed == 1


def test_models_of_different_shape_are_refused(study: Path, out: Path) -> None:
    from random_models import write_random_model

    write_random_model("qwen2", study.parent / "after", layers=3)
    with pytest.raises(UsageError, match="different graphs"):
        run(study, out=out)


def test_a_prompt_beyond_the_context_is_refused(study: Path, out: Path) -> None:
    row = {"clean_ids": [1] * 33, "corrupt_ids": [2] * 33, "answer_ids": 3, "foil_ids": 4}
    (study.parent / "pairs.jsonl").write_text(json.dumps(row))
    with pytest.raises(UsageError, match="prompt of 34 tokens, but model 'before' reads 32"):
        run(study, out=out)


def test_too_few_correct_examples_are_a_status_not_a_number(study: Path, out: Path) -> None:
    rows = [json.loads(line) for line in (study.parent / "pairs.jsonl").read_text().splitlines()]
    for row in rows:
        row["answer_ids"], row["foil_ids"] = [37], list(range(37))
    (study.parent / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = run(study, out=out)
    for finding in result.findings.hypotheses:
        assert finding.verdict == "not estimable"
        assert "examples selected (correct: both, by: argmax), 'before' answers" in finding.message


@pytest.mark.long
def test_analysis_and_report_need_no_model(study: Path, out: Path, finished: Run) -> None:
    before = outputs(finished)
    for name in ("before", "after", "continued"):
        (study.parent / name / "model.safetensors").unlink()
    (study.parent / "pairs.jsonl").unlink()
    analyze(out)
    assert (out / "findings.json").read_bytes() == before["findings.json"]
    (out / "report.html").unlink()
    report(out)
    assert (out / "report.html").read_bytes() == before["report.html"]


def test_analysing_a_folder_without_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        analyze(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.long
@pytest.mark.parametrize("filled", [100_000, *(pytest.param(n, marks=pytest.mark.long) for n in (60_000, 140_000))])
def test_a_full_disk_is_a_clear_error_and_loses_no_complete_cell(
    study: Path, tmp_path: Path, small_disk: Path, small_shards: None, filled: int
) -> None:
    whole = run(study, out=tmp_path / "whole")
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(filled))
    with pytest.raises(ExecutionError, match="No space left"):
        run(study, out=small_disk / "out")
    ballast.unlink()
    complete = [path for path in (small_disk / "out" / "cells").iterdir() if not path.name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    resumed = run(study, out=small_disk / "out")
    assert (resumed.computed, resumed.cached, resumed.failures) == (9 - len(complete), len(complete), ())
    assert outputs(resumed) == outputs(whole)
