"""Every measure with every number of selected prompts, and with an error inside of one."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from few_prompts import COMPARED, TESTED, analysed, executed, unsound

from mechshift_core import analysis
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.kept import Kept
from mechshift_core.cli.main import main
from mechshift_core.execution.store import RunFolder
from mechshift_core.files import write_text
from mechshift_core.kinds import INTERVENTIONS, MEASURES
from mechshift_core.pipeline import Run, analyze, run, stored_plan
from mechshift_core.reporting import write_report
from mechshift_core.spec import load_spec
from mechshift_core.tables import write_tables
from stats.findings import Finding


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return executed(tmp_path_factory.mktemp("few"))


def by_measure(found: Any) -> dict[str, Finding]:
    return {one.measure: one for one in found.findings.hypotheses}


QUICK = {(0, 1), (2, 2), (4, 4), (7, 3)}
ONE_TEMPLATE = (6, 1, True)
EVERY = [
    pytest.param(
        n,
        t,
        random,
        marks=() if ((n, t) in QUICK and random == (t == 3)) or (n, t, random) == ONE_TEMPLATE else pytest.mark.nightly,
    )
    for n, t, random in product(range(13), range(1, 5), (False, True))
    # Every number of prompts with both kinds of units, every number of templates with every kind of number.
    if t == (n + 2 * random) % 4 + 1 or (n, t) in QUICK or (n, t, random) == ONE_TEMPLATE
]


@pytest.mark.long
@pytest.mark.parametrize(("prompts", "templates", "random"), EVERY)
def test_every_measure_is_a_number_or_a_status_with_any_number_of_prompts(
    finished: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prompts: int, templates: int, random: bool
) -> None:
    found = analysed(finished, monkeypatch, prompts=prompts, templates=templates, random=random)
    assert found.failures == ()
    assert list(unsound(found)) == []
    if prompts < 10 and not random:
        assert all(row is None for row in found.tables["overlap"]["between_low"])
    if prompts < 5:
        assert all(
            one.low is None and one.verdict in ("not estimable", "inconclusive") for one in found.findings.hypotheses
        )
    if (prompts, templates) in QUICK and prompts != 3:
        return
    # The page comes, whatever there is; all of them in the nightly suite.
    plan, folder = stored_plan(finished.path), RunFolder(tmp_path / "out")
    write_tables(dict(found.tables), folder.tables)
    write_text(folder.path / "findings.json", found.findings.to_json())
    folder.write_json("provenance.json", json.loads((finished.path / "provenance.json").read_text()))
    assert write_report(plan, folder) == ()


def test_every_measure_and_intervention_says_how_many_prompts_it_needs() -> None:
    kinds = [*MEASURES.values(), *INTERVENTIONS.values()]
    assert all(kind.least.prompts >= 1 and kind.least.why for kind in kinds)


BROKEN = {
    "overlap": {"overlap", "retention", "node_overlap", "node_retention"},
    "depth": {"depth_slope", "early_share"},
    "specialization": {"specialization"},
    "ablation": {"integration"},
    "logit_lens": {"alignment"},
    "circuit_transfer": {"transfer"},
    "circuit_patching": {"faithfulness"},
    "targeted_ablation": {"targeted"},
    "movement": {"residual_shift", "representation_similarity", "prediction_shift"},
    "weight_movement": set(),
    "integration": set(),
    "activation_patching": set(),
    "probe": set(),
    "neurons": set(),
    "attention": set(),
    "cross_patching": set(),
    "weight_interpolation": set(),
    "denoising_path": set(),
}
"""What breaks -> the hypotheses that it takes with it."""


def test_everything_that_can_break_is_broken_here() -> None:
    measured = {kind.name for kind in MEASURES.values() if kind.measure is not None}
    assert set(BROKEN) == measured | {kind.name for kind in INTERVENTIONS.values() if kind.results is not None}


NIGHTLY = pytest.mark.nightly


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was computed before something broke would hide it."""
    monkeypatch.setattr(Kept, "_read", lambda *_: None)


def no_luck(*_: Any) -> Any:
    raise ZeroDivisionError("no luck")


def breaking(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let what a kind computes break."""
    if name in MEASURES:
        monkeypatch.setitem(MEASURES._known, name, replace(MEASURES[name], measure=no_luck))
    else:
        monkeypatch.setitem(INTERVENTIONS._known, name, replace(INTERVENTIONS[name], results=no_luck))


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [name if name in ("depth", "overlap", "neurons") else pytest.param(name, marks=NIGHTLY) for name in BROKEN]
)
def test_an_error_inside_of_one_measure_leaves_the_others(
    finished: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    breaking(monkeypatch, name)
    again = analysis.analyse(stored_plan(finished.path), RunFolder(finished.path), {})
    assert again.failures
    assert all(line.startswith(f"{name} of shift on mine") for line in again.failures)
    assert all(line.endswith("ZeroDivisionError: no luck") for line in again.failures)
    findings = by_measure(again)
    assert set(findings) == set(TESTED)
    failed = {measure for measure, one in findings.items() if one.status == "failed"}
    assert failed == BROKEN[name]
    assert all("ZeroDivisionError: no luck" in findings[measure].message for measure in failed)
    estimates = {one.measure for one in again.findings.estimates if one.status == "failed"}
    assert estimates & set(TESTED) == BROKEN[name]
    assert again.tables["examples"].height > 0 and again.tables["edges"].height > 0


@pytest.mark.long
def test_a_run_in_which_a_measure_broke_is_partial_and_tries_it_again(
    finished: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = str(finished.path.parent / "study.yaml")
    with monkeypatch.context() as patch:
        breaking(patch, "logit_lens")
        again = analyze(finished.path)
    (line,) = again.failures
    assert line.startswith("logit_lens of shift on mine") and line.endswith(": ZeroDivisionError: no luck")
    assert "ZeroDivisionError: no luck" in (finished.path / "report.html").read_text()
    assert json.loads((finished.path / "provenance.json").read_text())["failures"] == [line]
    with monkeypatch.context() as patch:
        breaking(patch, "logit_lens")
        assert main(["run", spec, "--out", str(finished.path)]) == 3
    assert f"failed: {line}" in capsys.readouterr().err
    assert main(["run", spec, "--out", str(finished.path)]) == 0
    assert not run(load_spec(spec), out=finished.path).analysed


@pytest.mark.long
@pytest.mark.parametrize("what", ["mixed models", "specialization", "edge_attribution"])
def test_an_error_inside_of_a_table_leaves_the_others(
    finished: Run, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def broken(*_: Any) -> Any:
        raise MemoryError

    if what in MEASURES:
        monkeypatch.setitem(MEASURES._known, what, replace(MEASURES[what], tabled=broken))
    elif what in INTERVENTIONS:
        monkeypatch.setitem(INTERVENTIONS._known, what, replace(INTERVENTIONS[what], frames=broken))
    else:
        monkeypatch.setattr(analysis, "fit_shift_models", broken)
    again = analysis.analyse(stored_plan(finished.path), RunFolder(finished.path), {})
    assert again.failures and all(line.endswith(": MemoryError") for line in again.failures)
    assert all(one.status != "failed" for one in again.findings.hypotheses)


@pytest.mark.long
def test_an_error_inside_of_a_test_leaves_the_others(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from mechshift_core.analysis import hypotheses

    own = hypotheses.apply_test

    def broken(hypothesis: Any, *args: Any) -> Any:
        if hypothesis.id == "depth_slope":
            raise KeyError("x")
        return own(hypothesis, *args)

    monkeypatch.setattr(hypotheses, "apply_test", broken)
    again = analysis.analyse(stored_plan(finished.path), RunFolder(finished.path), {})
    assert again.failures == ("hypothesis depth_slope: KeyError: 'x'",)
    assert {one.measure for one in again.findings.hypotheses if one.status == "failed"} == {"depth_slope"}


@pytest.mark.long
def test_an_error_inside_of_a_section_leaves_the_others(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from reports import page
    from reports.sections import depth

    def section(_: Any) -> Any:
        raise IndexError("x")

    section.__module__ = depth.__name__
    monkeypatch.setattr(page, "SECTIONS", tuple(section if one is depth.section else one for one in page.SECTIONS))
    again = analyze(finished.path)
    assert again.failures == ("section depth of the report: IndexError: x",)
    assert "This section could not be drawn: IndexError: x" in (finished.path / "report.html").read_text()


def test_every_measure_is_calibrated_on_some_data_or_said_not_to_be(finished: Run) -> None:
    plan, folder = stored_plan(finished.path), RunFolder(finished.path)
    found = calibrate(plan, folder, {}, key="", repetitions=4, seed=1)
    halves = {one.measure: one for one in found.hypotheses}
    assert set(halves) == set(TESTED)
    assert {name for name, one in halves.items() if one.status == "ok"} == {
        "depth_slope", "early_share", "alignment", "targeted",
    }  # fmt: skip
    # Six prompts a half are too few for an interval of the strongest edges, and untrained models answer by chance.
    assert halves["retention"].message.endswith("6 prompts: fewer than 10, no interval")
    assert halves["transfer"].message.startswith("shift on mine: no run keeps the circuit of one half")
    assert "does not clear 0" in halves["faithfulness"].message
    anew, noisier = found.scenarios
    assert [one.measure for one in anew.hypotheses] == [
        "depth_slope", "early_share", "alignment", "targeted", *COMPARED,
    ]  # fmt: skip
    assert all(one.truth == 0 and one.tested == 4 for one in anew.hypotheses)
    assert all("halves of one model's prompts are different ones" in halves[name].message for name in COMPARED)
    assert {one.measure: one.status for one in noisier.hypotheses} == {
        "retention": "undefined", "node_retention": "undefined", "specialization": "undefined",
    }  # fmt: skip
    assert "no clearer than their noise" in noisier.hypotheses[0].message
    assert found.unseen[0] == (
        "Hypotheses on faithfulness, integration, node_overlap, node_retention, overlap, retention, "
        "specialization, transfer: they could be tested on no data whose truth is known."
    )
