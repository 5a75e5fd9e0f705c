"""Statistics that are kept: computed once, whole or not at all, and anew only where what they depend on has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from studies import ATTRIBUTION, EVERY_KIND, write_study

from mechshift_core import run
from mechshift_core.analysis import kept, listing
from mechshift_core.analysis.kept import FOLDER, Kept, packed, unpacked
from mechshift_core.analysis.listing import every_statistic
from mechshift_core.analysis.measured import Measured
from mechshift_core.analysis.statistic import Statistic
from mechshift_core.execution.profiles import Profile
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import MEASURES
from mechshift_core.pipeline import Run, analyze, stored_plan

Changed = Callable[[dict[str, Any]], object]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed, by name, as it is."""
    found: list[str] = []
    compute = Statistic.compute

    def counted(one: Statistic) -> Measured:
        found.append(f"{one}{' alone' if one.alone else ''}")
        return compute(one)

    monkeypatch.setattr(Statistic, "compute", counted)
    return found


def edited(path: Path, change: Changed) -> Path:
    yaml = YAML()
    content = yaml.load(path.read_text())
    change(content)
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


def statistics(made: Run) -> list[Statistic]:
    return list(every_statistic(stored_plan(made.path), RunFolder(made.path), {}))


def assert_same(one: Measured, other: Measured) -> None:
    assert (one.rows, one.estimates, one.problems) == (other.rows, other.estimates, other.problems)
    assert one.replicated.keys() == other.replicated.keys()
    for name, first in one.replicated.items():
        for field in fields(first):
            before, after = getattr(first, field.name), getattr(other.replicated[name], field.name)
            if isinstance(before, np.ndarray):
                assert before.dtype == after.dtype and before.tobytes() == after.tobytes(), (name, field.name)
            else:
                assert before == after and type(before) is type(after), (name, field.name)


@pytest.mark.long
def test_what_is_kept_of_every_kind_is_what_was_computed(tmp_path: Path, computed: list[str]) -> None:
    made = run(write_study(tmp_path, interventions=EVERY_KIND, diffusion=True), out=tmp_path / "out")
    those, every = Kept(RunFolder(made.path)), statistics(made)
    assert len(computed) == len({one.key for one in every}) == len(every) > 20
    del computed[:]
    for one in every:
        assert one in those
        assert_same(those.of(one), one.compute())
    assert len(computed) == len(every)  # those of this loop


@pytest.mark.long
def test_a_study_that_is_analysed_again_computes_nothing_and_finds_the_same(
    tmp_path: Path, computed: list[str]
) -> None:
    made = run(write_study(tmp_path), out=tmp_path / "out")
    before = (made.path / "findings.json").read_bytes()
    assert len(computed) == 6  # three measures of two pairs on a task
    del computed[:]
    analyze(made.path)
    assert computed == []
    assert (made.path / "findings.json").read_bytes() == before


@pytest.mark.long
def test_an_analysis_lists_its_statistics_once_and_reads_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(write_study(tmp_path), out=tmp_path / "out")
    read: list[str] = []
    listed: list[object] = []
    read_file, list_them = kept.read_arrays, listing.statistics_of
    monkeypatch.setattr(kept, "read_arrays", lambda *given: read.append(given[0].name) or read_file(*given))
    monkeypatch.setattr(listing, "statistics_of", lambda *a, **named: listed.append(a[3]) or list_them(*a, **named))
    analyze(made.path, profile=Profile(workers=2))
    assert sorted(read) == sorted(file.name for file in (made.path / FOLDER).iterdir())
    assert len(listed) == 2  # a sample each


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "anew"),
    [
        (lambda spec: spec["hypotheses"][1]["test"].update(alternative="greater"), 0),
        (lambda spec: spec["hypotheses"].pop(), 0),
        (lambda spec: spec["statistics"].update(correction="none"), 0),
        (lambda spec: spec.update(title="Another title"), 0),
        (lambda spec: spec["measures"].update(depth={"early": 0.5}), 2),
        (lambda spec: spec["statistics"].update(confidence=0.9), 6),
        (lambda spec: spec.update(seed=2), 6),
        (lambda spec: spec.update(sensitivity={"top_k": [7]}), 2),  # of both pairs, alone
        (lambda spec: spec["hypotheses"][0].update(measure="overlap"), 2),  # which is then drawn more often
        (lambda spec: spec["pairs"].pop(0), 1),  # without hypotheses the overlap is drawn less often
    ],
)
def test_only_what_depends_on_a_change_is_computed_anew(
    tmp_path: Path, computed: list[str], change: Changed, anew: int
) -> None:
    spec = edited(
        write_study(tmp_path),
        lambda content: content.update(
            measures={"overlap": {"top_k": [5], "splits": 4, "permutations": 40}, "depth": {}, "specialization": {}}
        ),
    )
    run(spec, out=tmp_path / "out")
    assert len(computed) == 6
    del computed[:]

    def with_fewer_hypotheses(content: dict[str, Any]) -> None:
        change(content)
        if len(content["pairs"]) == 1:
            content["hypotheses"] = []

    run(edited(spec, with_fewer_hypotheses), out=tmp_path / "out")
    assert len(computed) == anew


def test_a_damaged_file_is_computed_anew(tmp_path: Path, computed: list[str]) -> None:
    made = run(write_study(tmp_path), out=tmp_path / "out")
    files = sorted((made.path / FOLDER).glob("*.safetensors"))
    assert len(files) == 6
    content = bytearray(files[0].read_bytes())
    content[len(content) // 2] ^= 1
    files[0].write_bytes(bytes(content))
    files[1].write_bytes(files[1].read_bytes()[:-3])
    files[2].unlink()
    files[3].write_bytes(files[4].read_bytes())  # of another key
    before = (made.path / "findings.json").read_bytes()
    del computed[:]
    analyze(made.path)
    assert len(computed) == 4
    assert (made.path / "findings.json").read_bytes() == before


@pytest.mark.long
def test_what_no_analysis_needs_is_forgotten(tmp_path: Path) -> None:
    spec = write_study(tmp_path)
    made = run(spec, out=tmp_path / "out")
    before = {file.name for file in (made.path / FOLDER).iterdir()}
    run(edited(spec, lambda content: content.update(seed=2)), out=tmp_path / "out")
    after = {file.name for file in (made.path / FOLDER).iterdir()}
    assert len(after) == len(before) and before.isdisjoint(after)


@pytest.mark.long
def test_a_statistic_that_breaks_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = write_study(tmp_path)
    with monkeypatch.context() as patched:
        patched.setitem(MEASURES._known, "depth", replace(MEASURES["depth"], measure=lambda *_: None))  # type: ignore[arg-type,return-value]
        broken = run(spec, out=tmp_path / "out")
    assert broken.failures
    assert run(spec, out=tmp_path / "out").failures == ()


def test_numbers_that_json_has_no_word_for_are_kept() -> None:
    rows = [{"a": float("nan"), "b": float("inf"), "c": 0.1 + 0.2, "d": None, "e": True, "f": 3, "g": "é"}]
    content = packed(Measured(rows={"t": rows}, problems={"m": "why"}))
    found = unpacked(*content)
    assert np.isnan(found.rows["t"][0].pop("a")) and np.isnan(rows[0].pop("a"))  # type: ignore[arg-type]
    assert found.rows == {"t": rows} and found.problems == {"m": "why"}


@pytest.mark.nightly
def test_statistics_that_are_shared_out_are_those_of_one_process(tmp_path: Path, computed: list[str]) -> None:
    interventions = [ATTRIBUTION, {"name": "lens", "kind": "logit_lens"}]
    spec = edited(
        write_study(tmp_path, interventions=interventions),
        lambda content: content.update(sensitivity={"top_k": [7], "interval": ["percentile"]}),
    )
    alone = run(spec, out=tmp_path / "alone")
    del computed[:]
    together = run(spec, out=tmp_path / "together", profile=Profile(workers=2))
    assert computed == []  # not in this process
    assert together.failures == alone.failures == ()
    assert (together.path / "findings.json").read_bytes() == (alone.path / "findings.json").read_bytes()
