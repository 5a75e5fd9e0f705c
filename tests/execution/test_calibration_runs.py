"""`mechshift calibrate` on whole runs: A/A halves, results, report, what is refused and what is stale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from studies import write_study

from mechshift_core import run
from mechshift_core.analysis.aa_samples import draw, sources
from mechshift_core.analysis.calibratable import calibratable
from mechshift_core.analysis.calibration import calibrate
from mechshift_core.analysis.samples import Samples, collect, read_results
from mechshift_core.cli.main import main
from mechshift_core.execution.reading import Reading
from mechshift_core.execution.store import RunFolder
from mechshift_core.kinds import INTERVENTIONS, MEASURES
from mechshift_core.pipeline import calibrate as calibrate_study
from mechshift_core.pipeline import stored_plan
from mechshift_core.spec import PairSpec
from stats.calibration import Calibration

pytestmark = pytest.mark.long

KNOCKOUTS: dict[str, object] = {"name": "knockouts", "kind": "ablation", "components": ["mlps"], "pairwise": 3}
GROUPS = {"contrast": {"role": ["treatment", "control"]}}
HYPOTHESES: list[dict[str, Any]] = [
    {"id": "kept", "measure": "retention", **GROUPS, "test": {"kind": "equivalence", "margin": 0.5}},
    {"id": "lost", "measure": "similarity", "test": {"kind": "difference"}},
    {"id": "shared", "measure": "overlap", **GROUPS, "test": {"kind": "difference"}},
    {"id": "earlier", "measure": "depth_slope", **GROUPS, "test": {"kind": "difference", "alternative": "less"}},
    {"id": "even", "measure": "specialization", **GROUPS, "test": {"kind": "non_inferiority", "margin": 0.1}},
    {"id": "alone", "measure": "integration", "test": {"kind": "difference"}},
    {"id": "sharp", "measure": "alignment", **GROUPS, "test": {"kind": "difference"}},
    {"id": "rightwards", "measure": "right_context", "where": {"role": "treatment"}, "test": {"kind": "difference"}},
]


QUICKSTART = Path(__file__).parents[2] / "specs" / "quickstart.yaml"


CIRCUITS: list[dict[str, Any]] = [
    {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
    {"name": "kept", "kind": "circuit_patching", "of": "circuit", "sizes": [5, 50], "random": 0},
    {"name": "swapped", "kind": "circuit_transfer", "of": "circuit", "size": 20},
]


def dump(content: Any, path: Path) -> Path:
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


def write(folder: Path, *, examples: int = 40, **changed: Any) -> Path:
    """A study of random models, of one hypothesis unless more are given."""
    path = write_study(folder, examples=examples)
    content = YAML().load(path.read_text())
    return dump({**content, "select": {"correct": "none"}, "hypotheses": [HYPOTHESES[3]], **changed}, path)


def small(folder: Path) -> Path:
    """The quickstart on a few prompts of one task, with knock-outs in pairs and hypotheses on every measure."""
    content = YAML().load(QUICKSTART.read_text())
    content["tasks"] = [{"name": "ioi", "regime": "local", "examples": 40}]
    content["interventions"] = [{"name": "circuit", "kind": "edge_attribution", "method": "eap"}, KNOCKOUTS]
    content["interventions"] += [{"name": "lens", "kind": "logit_lens"}, {"name": "looks", "kind": "attention"}]
    content["measures"] = {
        "overlap": {"top_k": [40, 80], "splits": 10, "permutations": 40}, "depth": {}, "specialization": {},
        "integration": {}, "alignment": {},
    }  # fmt: skip
    content["statistics"]["bootstrap"]["replicates"] = 100
    content["hypotheses"] = HYPOTHESES
    return dump(content, folder / "small.yaml")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A spec and its finished run."""
    folder = tmp_path_factory.mktemp("calibrated")
    spec = small(folder)
    return spec, run(spec, out=folder / "out").path


def repeated(path: Path, repetitions: int, *, seed: int = 5) -> Calibration:
    return calibrate(stored_plan(path), RunFolder(path), {}, key="", repetitions=repetitions, seed=seed)


def samples(path: Path) -> Samples:
    return collect(stored_plan(path), RunFolder(path), {}, Reading())


@pytest.mark.nightly
def test_halves_are_disjoint_of_one_model_and_the_same_for_all_pairs_of_a_task(study: tuple[Path, Path]) -> None:
    drawn = draw(sources(samples(study[1])), seed=1, repetition=0)
    shift, control = drawn["diffusion", "ioi"], drawn["control", "ioi"]
    assert (shift.before.model, shift.after.model) == ("mdm", "mdm")
    assert (control.before.model, control.after.model) == ("continued", "continued")
    for sample in (shift, control):
        assert sample.n == len(sample.ids("after"))
        both = [*sample.selected, *sample.ids("after")]
        assert (
            len({*both}) == len(both) == sum(count - count % 2 for count in np.unique_counts(sample.templates).counts)
        )
        assert (np.diff(sample.selected) > 0).all()
    assert (shift.selected == control.selected).all() and (shift.ids("after") == control.ids("after")).all()
    other = draw(sources(samples(study[1])), seed=1, repetition=1)["diffusion", "ioi"]
    assert not np.array_equal(other.selected, shift.selected)


def test_halves_are_matched_within_templates_and_selections(study: tuple[Path, Path]) -> None:
    found = samples(study[1]).by_pair_and_task
    dataset = found["diffusion", "ioi"].dataset
    rows = [replace(example, template=f"t{number % 2}") for number, example in enumerate(dataset.examples)]
    chosen, dataset = np.arange(30), replace(dataset, examples=tuple(rows))
    changed = {key: replace(sample, dataset=dataset) for key, sample in found.items()}
    changed["control", "ioi"] = replace(changed["control", "ioi"], selected=chosen)
    drawn = draw(sources(Samples(changed, {})), seed=3, repetition=0)
    shift, control = drawn["diffusion", "ioi"], drawn["control", "ioi"]
    templates = shift.templates
    # 15 + 15 of both pairs, 5 + 5 of one: a prompt of each template is left over within a selection, at most.
    assert (shift.n, control.n) == (20, 14)
    assert np.isin(control.selected, chosen).all() and np.isin(control.ids("after"), chosen).all()
    assert (templates[shift.selected] == templates[shift.ids("after")]).all()
    assert np.isin(control.selected, shift.selected).all()


def test_an_odd_prompt_of_a_template_is_left_out_so_that_halves_have_the_same_templates(
    study: tuple[Path, Path],
) -> None:
    found = samples(study[1]).by_pair_and_task
    for period, kept in ((3, 38), (8, 32), (40, 40)):  # 14 + 13 + 13, eight times 5, and templates of one prompt each
        dataset = found["diffusion", "ioi"].dataset
        rows = [replace(example, template=f"t{number % period}") for number, example in enumerate(dataset.examples)]
        changed = {key: replace(one, dataset=replace(dataset, examples=tuple(rows))) for key, one in found.items()}
        drawn = draw(sources(Samples(changed, {})), seed=3, repetition=0)["diffusion", "ioi"]
        assert 2 * drawn.n == kept
        assert (drawn.strata is not None) == (period < 40)
        random = {key: replace(one, by_template=True) for key, one in changed.items()}
        assert 2 * draw(sources(Samples(random, {})), seed=3, repetition=0)["diffusion", "ioi"].n == 40


def test_pairs_that_share_the_model_after_are_read_on_different_models(study: tuple[Path, Path]) -> None:
    found = samples(study[1]).by_pair_and_task
    shift = found["diffusion", "ioi"]
    swapped = replace(shift, pair=PairSpec(name="back", before="continued", after="mdm", role="control"))
    swapped = replace(swapped, before=found["control", "ioi"].after)
    made = sources(Samples({("diffusion", "ioi"): shift, ("back", "ioi"): swapped}, {}))
    assert [source.sample.after.model for source in made.values()] == ["mdm", "continued"]


def test_what_hypotheses_are_tested_with_is_what_the_study_tests_them_with(study: tuple[Path, Path]) -> None:
    path, plan = study[1], stored_plan(study[1])
    for (pair, _), sample in draw(sources(samples(path)), seed=1, repetition=0).items():
        for measure in dict.fromkeys(one.measure for one in plan.spec.hypotheses):
            if measure in ("decision_time", "faithfulness", "targeted", "transfer"):
                continue  # the answers of this task are read in one step, and circuits have rows beside
            if (measure, pair) == ("right_context", "control"):
                continue  # the control is causal
            entry = calibratable(plan.spec, measure)
            assert entry is not None and measure in entry.names
            if entry.needs is None:
                kind = MEASURES[entry.name]
                assert kind.measure is not None
                lean, whole = entry.measure(sample, plan.spec, {}), kind.measure(sample, plan.spec)
            else:
                results = read_results(plan, RunFolder(path), {}, sample, entry.needs.name)
                lean = entry.measure(sample, plan.spec, results)
                of = INTERVENTIONS[entry.name].results
                assert of is not None
                whole = of(sample, plan.spec, entry.needs, results)
            # No hypothesis is about nodes.
            assert set(lean.replicated) == set(whole.replicated) - {"node_overlap", "node_retention", "decision_time"}
            assert measure in lean.replicated
            for name, value in lean.replicated.items():
                other = whole.replicated[name]
                assert (value.estimate, value.se, value.df) == (other.estimate, other.se, other.df)
                np.testing.assert_array_equal(value.replicates, other.replicates)
            sides = ("shift", "between")
            kept = [
                (e.measure, e.side, e.estimate, e.low, e.high)
                for e in whole.estimates
                if e.side in sides and e.measure in set(lean.replicated) - {"overlap"}
            ]
            assert [(e.measure, e.side, e.estimate, e.low, e.high) for e in lean.estimates if e.side in sides] == kept


def test_every_hypothesis_is_calibrated_or_refused_by_name(study: tuple[Path, Path]) -> None:
    found = repeated(study[1], 6)
    assert {one.id: one.status for one in found.hypotheses} == {
        "kept": "ok", "lost": "refused", "shared": "ok", "earlier": "ok", "even": "ok", "alone": "ok", "sharp": "ok",
        "rightwards": "ok",
    }  # fmt: skip
    assert {one.id: one.truth for one in found.hypotheses} == {
        "kept": 0.0, "lost": 1.0, "shared": 0.0, "earlier": 0.0, "even": 0.0, "alone": 0.0, "sharp": 0.0,
        "rightwards": 0.0,
    }  # fmt: skip
    kept = next(one for one in found.hypotheses if one.id == "kept")
    assert [point.value for point in kept.false_positives] == [0.5, -0.5]
    assert {one.measure for one in found.measures} == {
        "similarity", "retention", "depth_slope", "early_share", "specialization", "integration", "alignment",
        "right_context",
    }  # fmt: skip
    assert {one.measure: one.rate.n for one in found.measures}["depth_slope"] == 12
    assert found.family is not None and found.family.n == 6
    anew, noisier, common = found.scenarios
    assert [(one.id, one.status) for one in common.hypotheses] == [("lost", "ok")]
    assert [one.id for one in anew.hypotheses] == ["earlier", "even", "alone", "sharp", "rightwards"]
    assert {one.measure for one in noisier.hypotheses} == {"similarity", "retention", "specialization"}
    assert all(one.tested + len(one.message) > 0 for one in noisier.hypotheses)
    assert found.unseen == ("What selecting prompts by the models' answers does to an estimate.",)
    assert Calibration.from_json(found.to_json()) == found
    assert {half.prompts for half in found.halves} == {18}


def test_repetitions_do_not_depend_on_their_number_and_follow_from_the_seed(study: tuple[Path, Path]) -> None:
    one, three = draw(sources(samples(study[1])), seed=4, repetition=2), repeated(study[1], 3, seed=4)
    again = draw(sources(samples(study[1])), seed=4, repetition=2)
    assert all((one[key].selected == again[key].selected).all() for key in one)
    assert one["diffusion", "ioi"].spec_seed == again["diffusion", "ioi"].spec_seed
    assert repeated(study[1], 3, seed=4) == three != repeated(study[1], 3, seed=5)


def test_the_command_writes_its_results_and_the_report_shows_them(
    study: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, path = study
    monkeypatch.setattr("mechshift_core.loading.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    call = ["calibrate", str(spec), "--out", str(path), "--repetitions", "4", "--shift", "0.1", "--shift", "0.2"]
    assert main(call) == 0
    printed = capsys.readouterr().out
    assert "4 A/A repetitions" in printed and "diffusion on ioi: mdm, 18 + 18 of its prompts" in printed
    assert "lost: refused: similarity is about 1 where nothing differs" in printed
    stored = Calibration.from_json((path / "calibration.json").read_text())
    earlier = next(one for one in stored.hypotheses if one.id == "earlier")
    assert [point.distance for point in earlier.power] == [0.0, 0.1, 0.2]
    page = (path / "report.html").read_text()
    assert 'id="calibration"' in page and "Stale:" not in page
    assert main([*call, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in shown["hypotheses"]] == [each["id"] for each in HYPOTHESES]


def test_a_calibration_of_other_statistics_is_stale_and_one_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    spec = write(tmp_path)
    call = ["calibrate", str(spec), "--out", str(tmp_path / "out"), "--repetitions", "2", "--quiet"]
    assert main(call) == 0
    page = tmp_path / "out" / "report.html"
    write(tmp_path, title="Other words")
    assert main(["run", str(spec), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert 'id="calibration"' in page.read_text() and "Stale:" not in page.read_text()
    write(tmp_path, statistics={"bootstrap": {"replicates": 150}})
    assert main(["run", str(spec), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    assert "Stale:" in page.read_text()
    assert main(call) == 0
    assert "Stale:" not in page.read_text()
    (tmp_path / "out" / "calibration.json").write_text('{"schema"')
    assert main(["report", str(tmp_path / "out"), "--quiet"]) == 0
    assert 'id="calibration"' not in page.read_text()


def test_what_cannot_be_calibrated_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = write(tmp_path, examples=4, hypotheses=[HYPOTHESES[0]])
    call = ["calibrate", str(spec), "--out", str(tmp_path / "out"), "--repetitions", "2"]
    assert main([*call, "--shift", "0"]) == 2
    assert main([*call, "--shift", "nan"]) == 2
    assert "distances greater than 0" in capsys.readouterr().err
    assert main(call) == 3
    assert "no hypothesis could be tested on A/A data" in capsys.readouterr().err
    assert [
        one.status for one in Calibration.from_json((tmp_path / "out/calibration.json").read_text()).hypotheses
    ] == ["undefined"]
    write(tmp_path, hypotheses=[], examples=4)
    assert main(call) == 2
    assert "no hypotheses, so there is nothing to calibrate" in capsys.readouterr().err


def test_a_model_that_fails_leaves_the_other_hypotheses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hypotheses = [
        {"id": role, "measure": "depth_slope", "where": {"role": role}, "test": {"kind": "difference"}}
        for role in ("treatment", "control")
    ]
    spec = write(tmp_path, examples=24, hypotheses=hypotheses)
    weights = tmp_path / "after" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert main(["calibrate", str(spec), "--out", str(tmp_path / "out"), "--repetitions", "3", "--json"]) == 3
    printed = capsys.readouterr()
    assert "failed: circuit of after on mine" in printed.err
    treatment, control = json.loads(printed.out)["hypotheses"]
    assert (treatment["status"], control["status"], control["tested"]) == ("undefined", "ok", 3)
    assert "shift on mine" in treatment["message"]
    assert 'id="calibration"' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.nightly
def test_what_a_circuit_does_is_calibrated_on_halves_and_how_it_carries_on_prompts_drawn_anew(tmp_path: Path) -> None:
    content = YAML().load(small(tmp_path).read_text())
    hypotheses = [
        {"id": measure, "measure": measure, **GROUPS, "test": {"kind": "difference"}}
        for measure in ("faithfulness", "transfer")
    ]
    content |= {"interventions": CIRCUITS, "measures": {}, "hypotheses": hypotheses}
    _, found = calibrate_study(dump(content, tmp_path / "circuits.yaml"), out=tmp_path / "out", repetitions=100)
    works, carries = found.hypotheses
    assert (works.status, works.truth, carries.status) == ("ok", 0.0, "undefined")
    assert "no run keeps the circuit of one half" in carries.message
    # A test of a true null: more than 14 of 100 with a probability of .0005.
    assert works.tested == 100 and works.false_positives[0].rate.value <= 0.14
    (anew,) = found.scenarios
    assert [one.id for one in anew.hypotheses] == ["faithfulness", "transfer"]
    assert all(one.tested == 100 and one.false_positives[0].rate.value <= 0.14 for one in anew.hypotheses)
    assert found.unseen == ("What selecting prompts by the models' answers does to an estimate.",)


@pytest.mark.nightly
def test_the_quickstart_is_calibrated(tmp_path: Path) -> None:
    """No test errs more often than it says, and no interval covers less often, as far as 10 repetitions tell."""
    _, found = calibrate_study(QUICKSTART, out=tmp_path / "out", repetitions=10)
    rates = {f"{one.id} at {at.value:g}": at.rate for one in found.hypotheses for at in one.false_positives}
    assert len(rates) == 5
    assert {name: rate for name, rate in rates.items() if rate.flag == "above"} == {}
    assert found.family is not None and found.family.flag != "above"
    coverages = {one.id: one.coverage for one in found.hypotheses} | {one.measure: one.rate for one in found.measures}
    assert {name: rate for name, rate in coverages.items() if rate is None or rate.flag == "below"} == {}
    assert all(one.detectable is not None for one in found.hypotheses)
