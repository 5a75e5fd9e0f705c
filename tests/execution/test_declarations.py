"""What was declared before the results is on record, and what was changed after them is said everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from studies import HYPOTHESES, write_study

from mechshift_core import load_spec, run
from mechshift_core.analysis.hypotheses import CORRECTIONS
from mechshift_core.cli.main import main
from mechshift_core.declarations import Record, declaration_of, declared_by, read_record, registration_path
from mechshift_core.errors import UsageError
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.verify import verify
from mechshift_core.gate import formats
from mechshift_core.gate.check import check_run
from mechshift_core.gate.stored import read_run
from mechshift_core.pipeline import Run, analyze, stored_plan
from stats.findings import Dropped

SPREAD: dict[str, object] = {
    "id": "spread", "measure": "early_share", "where": {"role": "treatment"}, "test": {"kind": "difference"},
}  # fmt: skip


def change(study: Path, **sections: Any) -> None:
    yaml = YAML()
    content = yaml.load(study.read_text())
    with study.open("w") as handle:
        yaml.dump(content | sections, handle)


def edited(study: Path) -> None:
    """After results: one hypothesis claims something else, one is dropped, one added, and a setting is another."""
    earlier = {**HYPOTHESES[1], "test": {"kind": "difference", "alternative": "greater"}}
    change(study, hypotheses=[earlier, SPREAD], select={"correct": "none", "by": "argmax"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`first` is what a run says first, `out` what it is after another one of the edited spec."""
    folder = tmp_path_factory.mktemp("declared")
    study = write_study(folder)
    change(study, measures={"depth": {}, "overlap": {"top_k": [5], "splits": 2}})
    before = run(study, out=folder / "out")
    assert before.findings.declaration.before and before.findings.declaration.known
    (folder / "first.json").write_bytes((before.path / "findings.json").read_bytes())
    again = run(study, out=folder / "out")
    assert not again.analysed and len(read_record(again.path).entries) == 1, "nothing new was declared"
    edited(study)
    return folder


@pytest.fixture(scope="module")
def after(folder: Path) -> Run:
    return run(folder / "study.yaml", out=folder / "out")


@pytest.mark.long
def test_what_changed_after_results_is_marked_and_what_was_dropped_stays_in_the_family(after: Run) -> None:
    declaration = after.findings.declaration
    assert declaration.changed == {"earlier": ('test.alternative: "less" -> "greater"',), "spread": ("added",)}
    assert declaration.settings == ('select.correct: "both" -> "none"',)
    assert declaration.dropped == (Dropped(id="kept", claim="The circuit is kept."),)
    findings = after.findings.hypotheses
    assert {finding.family_size for finding in findings} == {3}
    raw = [finding.p for finding in findings]
    assert [finding.p_corrected for finding in findings] == CORRECTIONS["holm"]([*raw, 1.0])[:2] != raw


@pytest.mark.long
def test_the_report_and_the_gate_say_so(after: Run) -> None:
    page = (after.path / "report.html").read_text()
    assert "declared before the results" not in page and page.count("changed after results") >= 3
    assert "Hypothesis spread was added after results." in page
    assert "Declared once and dropped since, but still in the family of the correction: kept." in page
    stored = read_run(after.path)
    shown = formats.text(check_run(stored, stored.baseline))
    assert "Hypothesis earlier was changed after results: test.alternative" in shown
    assert json.loads(json.dumps(formats.as_json(check_run(stored, stored.baseline))))["declaration"]["dropped"]


def test_going_back_to_what_was_declared_is_as_if_nothing_had_changed_but_for_what_was_tried(
    folder: Path, after: Run, tmp_path: Path
) -> None:
    """The hypothesis that was added and taken out again was tested: it stays in the family."""
    text = (folder / "study.yaml").read_text()
    try:
        change(folder / "study.yaml", hypotheses=HYPOTHESES, select={"correct": "both", "by": "argmax"})
        back = run(folder / "study.yaml", out=folder / "out")
    finally:
        (folder / "study.yaml").write_text(text)
    assert (back.findings.declaration.changed, back.findings.declaration.settings) == ({}, ())
    assert [one.id for one in back.findings.declaration.dropped] == ["spread"]
    assert [entry["results"] for entry in read_record(back.path).entries] == [False, True, True]


def test_a_record_that_was_changed_is_found(after: Run) -> None:
    def outcome() -> tuple[str, str]:
        checks = verify(stored_plan(after.path), RunFolder(after.path), cells=0, seed=0)
        (found,) = [check for check in checks if check.subject == "declarations"]
        return found.outcome, found.detail

    file = after.path / "declarations.json"
    written = file.read_bytes()
    content = json.loads(written)
    try:
        content["entries"][0]["declared"]["hypotheses"].pop()
        file.write_text(json.dumps(content))
        assert outcome() == (
            "differs", "declarations.json: entry 1 is not what was written, or one before it is missing",
        )  # fmt: skip
        del content["entries"][0]
        file.write_text(json.dumps(content))
        assert outcome()[0] == "differs"
        file.write_text("{}")
        assert outcome()[0] == "differs"
        with pytest.raises(Exception, match="not a record of declarations"):
            analyze(after.path)
    finally:
        file.write_bytes(written)


@pytest.mark.long
def test_results_without_a_record_are_said_to_have_none(after: Run) -> None:
    file = after.path / "declarations.json"
    written = file.read_bytes()
    try:
        file.unlink()
        found = analyze(after.path).findings.declaration
        assert not found.known and not found.before
        assert "is not recorded" in (after.path / "report.html").read_text()
    finally:
        file.write_bytes(written)
        analyze(after.path)


@pytest.mark.long
def test_a_registration_is_held_against_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = write_study(tmp_path, hypotheses=[HYPOTHESES[1]])
    change(study, measures={"depth": {}})
    assert main(["register", str(study)]) == 0
    written = registration_path(study)
    assert written == tmp_path / "study.registration.json" and str(written) in capsys.readouterr().out
    assert main(["register", str(study)]) == 2
    assert "is not overwritten: a registration stands" in capsys.readouterr().err
    registered = json.loads(written.read_text())["registered"]
    found = run(study, out=tmp_path / "out")
    assert (found.findings.declaration.registered, found.findings.declaration.unlike) == (registered, ())
    assert f"As registered on {registered}." in (found.path / "report.html").read_text()
    change(study, seed=3, statistics={"bootstrap": {"replicates": 100}, "correction": "none"})
    other = run(study, out=tmp_path / "other").findings.declaration
    assert other.before and other.unlike == ('statistics.correction: "holm" -> "none"', "seed: 0 -> 3")


def test_a_registration_that_was_changed_or_is_of_another_study_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, hypotheses=[HYPOTHESES[1]])
    assert main(["register", str(study), "--quiet"]) == 0
    file = registration_path(study)
    content = json.loads(file.read_text())
    content["declared"]["hypotheses"][0]["test"]["alternative"] = "greater"
    for text, expected in (
        (json.dumps(content), "it was changed after it was written"),
        ("[]", "not a registration"),
        ("", "not a registration"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=expected):
            run(load_spec(study), out=tmp_path / "out")
    file.unlink()
    assert main(["register", str(study), "--quiet"]) == 0
    change(study, name="another")
    with pytest.raises(UsageError, match="registers 'random-study', not 'another'"):
        run(study, out=tmp_path / "out2")
    change(study, name="random-study", hypotheses=[])
    assert main(["register", str(study), "--out", str(tmp_path / "x.json")]) == 2


def test_a_setting_that_there_was_not_yet_is_no_change(tmp_path: Path) -> None:
    spec = load_spec(write_study(tmp_path))
    older = declared_by(spec)
    del older["statistics"]["location"]
    record = Record(({"results": False, "declared": older},), {"registered": "then", "declared": older})
    found = declaration_of(record, spec)
    assert found.before and (found.settings, found.unlike) == ((), ())
    other = spec.model_copy(update={"statistics": spec.statistics.model_copy(update={"location": "trimmed"})})
    assert declaration_of(record, other).settings == ('statistics.location: "mean" -> "trimmed"',)


def test_options_that_an_older_version_did_not_have_are_as_declared(tmp_path: Path) -> None:
    contrast = {"role": ["treatment", "control"]}
    claim = {"id": "more", "measure": "depth_slope", "contrast": contrast, "test": {"kind": "difference"}}
    spec = load_spec(write_study(tmp_path, hypotheses=[claim]))
    old = declared_by(spec)
    del old["trajectories"], old["statistics"]["location"], old["interventions"][0]["draws"]
    del old["hypotheses"][0]["along"], old["hypotheses"][0]["contrast"]["budget"]
    del old["hypotheses"][0]["where"]["trajectory"]
    entry = {"results": False, "declared": old}
    found = declaration_of(Record((entry,), {"registered": "2026-01-01", "declared": old}), spec)
    assert (found.changed, found.settings, found.unlike) == ({}, (), ())


def test_an_option_that_is_used_now_is_a_change(tmp_path: Path) -> None:
    kinds = [{"name": "circuit", "kind": "edge_attribution", "method": "expected-gradients", "draws": 3}]
    spec = load_spec(write_study(tmp_path, interventions=kinds))
    old = declared_by(spec)
    del old["interventions"][0]["draws"]
    found = declaration_of(Record(({"results": False, "declared": old},)), spec)
    assert found.settings == ("interventions[circuit].draws: 1 -> 3",)
