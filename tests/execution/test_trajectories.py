"""Trajectories: the pairs that they come to, one set of prompts for all of their models, and what is said of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, table
from random_models import write_random_model
from ruamel.yaml import YAML
from studies import ATTRIBUTION, EVERY_KIND, write_study

from mechshift_core.analysis.halfway import changes_of_noise
from mechshift_core.analysis.hypotheses import Evidence, contrast_of
from mechshift_core.analysis.trajectories import Series, _exact_ends
from mechshift_core.pipeline import Run, run
from mechshift_core.spec import SpecError, TaskSpec, load_spec
from mechshift_core.spec.pairs import TrajectorySpec
from stats import mean_replicates, resampling_weights
from stats.replicates import Replicated

pytestmark = pytest.mark.long

MODELS = ["before", "early", "late", "after"]
AT = [0, 100, 400, 1000]
DRIFT: dict[str, Any] = {
    "id": "drifts",
    "measure": "depth_slope",
    "along": {"quantity": "trend"},
    "where": {"trajectory": "way"},
    "test": {"kind": "difference"},
}


def changed(path: Path, **sections: Any) -> Path:
    """The spec with other sections."""
    yaml = YAML()
    spec = yaml.load(path)
    spec.update(sections)
    yaml.dump(spec, path)
    return path


def write(folder: Path, *, rule: str = "both", hypotheses: Any = (), **options: Any) -> Path:
    """A study of four random models in a row, beside two pairs."""
    for number, name in enumerate(("early", "late")):
        if not (folder / name).exists():
            write_random_model("qwen2", folder / name, seed=7 + number)
    path = write_study(folder, examples=24, hypotheses=list(hypotheses), rule=rule, **options)
    models = YAML().load(path)["models"]
    models |= {name: {"source": name, "paradigm": "autoregressive"} for name in ("early", "late")}
    way = {"name": "way", "models": MODELS, "at": AT, "role": "treatment", "seed": 0}
    return changed(path, models=models, trajectories=[way])


@cache
def finished(folder: Path) -> Run:
    return run(load_spec(folder / "study.yaml"), out=folder / "out")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study over all prompts, with circuits and a claim."""
    folder = tmp_path_factory.mktemp("trajectory")
    circuits = {"name": "carried", "kind": "circuit_transfer", "of": "circuit", "size": 30}
    claims = [
        DRIFT,
        {**DRIFT, "id": "by-200", "along": {"quantity": "halfway", "at": 200}},
        {
            **DRIFT,
            "id": "nearer",
            "measure": "overlap",
            "along": {"quantity": "trend", "against": "last"},
            "test": {"kind": "difference", "alternative": "greater"},
        },
    ]
    write(folder, rule="none", hypotheses=claims, interventions=[ATTRIBUTION, circuits])
    assert finished(folder).failures == ()
    return folder


def series(folder: Path, measure: str, against: str) -> pl.DataFrame:
    rows = table(folder / "out", "trajectory")
    return rows.filter((pl.col("measure") == measure) & (pl.col("against") == against))


def test_a_trajectory_is_each_model_with_the_first_and_with_the_last_one(study: Path) -> None:
    spec = load_spec(study / "study.yaml")
    assert [(pair.name, pair.before, pair.after) for pair in spec.trajectories[0].pairs()] == [
        ("way@first-100", "before", "early"),
        ("way@first-400", "before", "late"),
        ("way@first-last", "before", "after"),
        ("way@100-last", "early", "after"),
        ("way@400-last", "late", "after"),
    ]


def test_points_are_what_pairs_of_the_same_models_come_to(study: Path, tmp_path: Path) -> None:
    for name in ("before", "early", "late", "after", "pairs.jsonl"):
        (tmp_path / name).symlink_to(study / name)
    (tmp_path / "continued").symlink_to(study / "continued")
    pairs = [
        {"name": f"{first}-{second}", "before": first, "after": second, "role": "treatment"}
        for first, second in (("before", "early"), ("before", "late"), ("early", "after"))
    ]
    text = (study / "study.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text)
    claim = {"id": "kept", "measure": "overlap", "test": {"kind": "difference"}}
    changed(tmp_path / "study.yaml", pairs=pairs, trajectories=[], hypotheses=[claim])
    alone = run(load_spec(tmp_path / "study.yaml"), out=tmp_path / "out").findings.estimates
    known = {(one.pair, one.measure): one for one in alone if one.side in ("shift", "between")}
    for measure in ("depth_slope", "early_share", "similarity", "overlap"):
        first, last = series(study, measure, "first"), series(study, measure, "last")
        points = [first.filter(model="early"), first.filter(model="late"), last.filter(model="early")]
        for pair, point in zip(pairs, points, strict=True):
            expected, found = known[pair["name"], measure].estimate, point["estimate"].item()
            assert found == (None if expected is None else pytest.approx(expected)), (measure, pair)


def test_a_shift_of_the_first_model_from_itself_is_zero_and_a_similarity_has_no_such_point(study: Path) -> None:
    slopes = series(study, "depth_slope", "first")
    assert slopes["at"].to_list() == AT
    assert slopes.row(0, named=True) | {"message": ""} == slopes.row(0, named=True) | {
        "estimate": 0.0, "se": 0.0, "low": 0.0, "high": 0.0, "joint_low": 0.0, "joint_high": 0.0, "message": ""
    }  # fmt: skip
    assert series(study, "similarity", "first")["at"].to_list() == AT[1:]
    assert series(study, "similarity", "last")["at"].to_list() == AT[:-1]


def test_a_shift_is_looked_at_once_and_what_is_of_a_pair_against_both_ends(study: Path) -> None:
    changes = table(study / "out", "trajectory_changes")
    against = changes.group_by("measure", maintain_order=True).agg("against").rows()
    assert dict(against) == {
        "accuracy": ["none"], "similarity": ["first", "last"], "overlap": ["first", "last"],
        "depth_slope": ["first"], "early_share": ["first"], "specialization": ["first"], "transfer": ["first", "last"],
    }  # fmt: skip
    tested = changes.filter(pl.col("p").is_not_null())
    assert (tested["p_corrected"] >= tested["p"]).all() and len(tested) >= 3


def test_the_joint_band_is_wider_than_each_interval(study: Path) -> None:
    rows = series(study, "depth_slope", "first").slice(1)
    assert (rows["joint_high"] - rows["joint_low"] > rows["high"] - rows["low"]).all()
    assert ((rows["low"] < rows["estimate"]) & (rows["estimate"] < rows["high"])).all()


def test_steps_are_in_no_table_of_pairs(study: Path) -> None:
    for file in (study / "out" / "tables").glob("*.parquet"):
        frame = pl.read_parquet(file)
        if "pair" in frame.columns:
            assert not [name for name in frame["pair"].unique().to_list() if "@" in name], file.name
    assert not [one for one in finished(study).findings.estimates if "@" in one.pair]


def test_circuits_are_run_for_every_step(study: Path) -> None:
    steps = {cell["pair"] for cell, _ in cells(study / "out", intervention="carried")}
    assert {"way@first-100", "way@400-last"} <= steps
    assert series(study, "transfer", "last")["model"].to_list() == MODELS[:-1]


def test_a_claim_on_the_trend_is_the_slope_of_the_points(study: Path) -> None:
    found = {one.id: one for one in finished(study).findings.hypotheses}
    slopes = series(study, "depth_slope", "first")
    slope = np.polyfit(np.array(AT) / 1000, slopes["estimate"].to_numpy(), 1)[0]
    assert found["drifts"].estimate == pytest.approx(slope)
    assert "slope over the whole trajectory" in found["drifts"].estimand
    at_200 = np.interp(200, AT, slopes["estimate"].to_numpy())
    last = slopes.row(-1, named=True)
    if last["low"] <= 0 <= last["high"]:  # the random model has not clearly changed
        assert found["by-200"].status == "undefined" and "there is no way to be half-way on" in found["by-200"].message
    else:
        expected = at_200 - (slopes["estimate"][0] + slopes["estimate"][-1]) / 2
        assert found["by-200"].estimate == pytest.approx(expected)
    similar = series(study, "overlap", "last")
    whole = np.array(AT[:-1]) / AT[-2]
    assert found["nearer"].estimate == pytest.approx(np.polyfit(whole, similar["estimate"].to_numpy(), 1)[0])
    assert {found[name].status for name in ("drifts", "nearer")} == {"ok"}
    for one in (found["drifts"], found["nearer"]):
        assert one.along and len(one.groups) in (1, 2)
        assert sum(group.sign * (group.estimate or np.nan) for group in one.groups) == pytest.approx(one.estimate)


def test_a_distance_to_the_last_model_is_no_shift_less_that_from_the_first() -> None:
    way = TrajectorySpec(name="way", models=("a", "b", "c"), at=(0, 1, 2), role="treatment")
    task = TaskSpec(name="t", regime="global")
    series = {name: Series(way, task, name, "last", ()) for name in ("depth_slope", "residual_shift", "similarity")}
    assert {name: one.repeats for name, one in series.items()} == {
        "depth_slope": True, "residual_shift": False, "similarity": False
    }  # fmt: skip


def test_the_accuracy_of_models_that_are_always_right_has_an_interval() -> None:
    right = np.ones((3, 10), dtype=bool)
    ends = _exact_ends(right, 1, 0.95)
    assert ends["high"] == ends["joint_high"] == 1
    assert ends["low"] == pytest.approx(0.025 ** (1 / 10)) and ends["joint_low"] == pytest.approx(
        (0.05 / 6) ** (1 / 10)
    )


def test_accuracy_is_of_each_model_on_all_prompts(study: Path) -> None:
    rows = series(study, "accuracy", "none")
    answers = table(study / "out", "examples").filter(pl.col("model") == "after", pl.col("pair") != "control")
    share = answers.unique("example")["correct"].cast(pl.Float64).mean()
    assert rows.filter(model="after")["estimate"].item() == pytest.approx(share)


def test_all_steps_have_the_prompts_that_every_model_answers(tmp_path: Path) -> None:
    write(tmp_path, rule="both")
    pairs = [
        {"name": f"{first}-{second}", "before": first, "after": second, "role": "treatment"}
        for first, second in (("before", "early"), ("late", "after"))
    ]
    changed(tmp_path / "study.yaml", pairs=pairs, hypotheses=[])
    assert finished(tmp_path).failures == ()
    examples = table(tmp_path / "out", "examples")
    right = examples.group_by("example").agg(pl.col("correct").all())["correct"].sum()
    rows = series(tmp_path, "early_share", "first").slice(1)
    assert rows["n"].to_list() == [right] * 3
    ends = YAML().load(tmp_path / "study.yaml")["trajectories"]
    ends[0]["select"] = "ends"
    changed(tmp_path / "study.yaml", trajectories=ends)
    run(load_spec(tmp_path / "study.yaml"), out=tmp_path / "out")
    both = examples.filter(pl.col("model").is_in(["before", "after"])).group_by("example").agg(pl.col("correct").all())
    assert series(tmp_path, "early_share", "last")["n"].to_list()[:3] == [both["correct"].sum()] * 3


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ({"models": ["before", "after"], "at": [0, 1]}, "at least 3"),
        ({"models": ["before", "early", "before"], "at": [0, 1, 2]}, "'before' is in it 2 times"),
        ({"at": [0, 100, 100, 1000]}, "'late' at 100 comes behind 'early' at 100"),
        ({"at": [0, 100, 1000]}, "a place in 'at' for each of 4 models, got 3"),
        ({"models": ["before", "early", "lat", "after"]}, "unknown model 'lat'"),
        ({"role": "unrelated"}, "role"),
    ],
)
def test_a_trajectory_that_is_none_is_refused(tmp_path: Path, way: dict[str, Any], message: str) -> None:
    path = write(tmp_path)
    declared = YAML().load(path)["trajectories"][0]
    changed(path, trajectories=[{**declared, **way}])
    with pytest.raises(SpecError, match=message):
        load_spec(path)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"where": {"pair": "diffusion"}}, "about trajectories, not a pair"),
        ({"along": None}, "about pairs, not a trajectory"),
        ({"where": {"trajectory": "wy"}}, "unknown trajectory 'wy'"),
        ({"along": {"quantity": "trend", "at": 3}}, "has no 'at'"),
        ({"along": {"quantity": "value"}}, "needs the place"),
        ({"along": {"quantity": "value", "at": 1001}}, "not on 'way', where it goes from 0 to 1000"),
        ({"measure": "similarity", "along": {"quantity": "halfway", "at": 50}}, "goes from 100 to 1000"),
        ({"where": {"role": "control"}}, "no trajectory has the role"),
        ({"measure": "inherited"}, "not along trajectories"),
        ({"along": {"quantity": "trend", "against": "last"}}, "trend has the opposite sign of the measure's own"),
    ],
)
def test_a_claim_that_is_none_is_refused(tmp_path: Path, claim: dict[str, Any], message: str) -> None:
    path = write(tmp_path, hypotheses=[{**DRIFT, **claim}])
    with pytest.raises(SpecError, match=message):
        load_spec(path)


def test_models_of_different_graphs_are_refused_by_name(tmp_path: Path) -> None:
    path = write(tmp_path)
    write_random_model("qwen2", tmp_path / "deeper", seed=3, layers=3)
    models = YAML().load(path)["models"] | {"deeper": {"source": "deeper", "paradigm": "autoregressive"}}
    way = {"name": "way", "models": ["before", "deeper", "after"], "at": [0, 1, 2], "role": "treatment"}
    changed(path, models=models, trajectories=[way])
    with pytest.raises(SpecError, match="trajectory 'way': 'before' and 'deeper' have different graphs"):
        run(load_spec(path), out=tmp_path / "out")


def test_every_kind_is_followed_along_a_trajectory(tmp_path: Path) -> None:
    write(tmp_path, rule="none", interventions=EVERY_KIND, hypotheses=[DRIFT])
    made = run(load_spec(tmp_path / "study.yaml"), out=tmp_path / "out")
    assert made.failures == ()
    assert series(tmp_path, "cross_patching_use", "first").height > 0


def shifts_of(folder: Path, values: np.ndarray) -> tuple[Any, Evidence]:  # type: ignore[type-arg]
    """A spec with a claim on `halfway`, and shifts of `depth_slope` from the first model, [prompts, 3]."""
    claim = {**DRIFT, "along": {"quantity": "halfway", "at": 200}}
    spec = load_spec(write(folder, hypotheses=[claim]))
    drawn = resampling_weights(len(values), 2, seed=0)
    steps = ("way@first-100", "way@first-400", "way@first-last")
    parts: dict[tuple[str, str, str], Replicated] = {
        ("depth_slope", step, "mine"): mean_replicates(values[:, at], drawn) for at, step in enumerate(steps)
    }
    return spec, Evidence(parts, {}, {})


def test_half_of_a_change_of_noise_is_nowhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = 0.3 * rng.standard_normal((20, 3))
    for means, clear in (([0.5, 1.0, 1.0], True), ([0.0, 0.0, 0.0], False), ([1.0, 1.0, 0.0], False)):
        spec, evidence = shifts_of(tmp_path, noise - noise.mean(axis=0) + np.array(means))
        found = changes_of_noise(spec, spec.hypotheses[0], evidence)
        assert found == [] if clear else len(found) == 1
        if not clear:  # a way that leads back has no half, however far it went
            assert found[0].startswith("way on mine: the whole change is ") and "which may be 0" in found[0]
        assert changes_of_noise(spec, spec.hypotheses[0].model_copy(update={"along": None}), evidence) == []


def test_over_random_seeds_a_trajectory_is_one_observation_wherever_its_models_stand(tmp_path: Path) -> None:
    """Six trajectories that end at places of their own: the spread of their trends is what the error is."""
    claim = {**DRIFT, "where": {"role": "treatment"}}
    spec = load_spec(write(tmp_path, hypotheses=[claim]))
    (way,) = spec.trajectories
    ends = [500.0, 700.0, 1000.0, 1500.0, 2500.0, 4000.0]
    ways = tuple(
        way.model_copy(update={"name": f"way-{seed}", "at": (*way.at[:-1], end), "seed": seed})
        for seed, end in enumerate(ends)
    )
    units = spec.statistics.units.model_copy(update={"seed": "random"})
    statistics = spec.statistics.model_copy(update={"units": units})
    spec = spec.model_copy(update={"trajectories": ways, "statistics": statistics})
    rng = np.random.default_rng(0)
    own, drawn = 1e-6 * rng.standard_normal((20, 3)), resampling_weights(20, 2, seed=0)
    # All go the same way, and differ in how soon they are there.
    values = own - own.mean(axis=0) + np.array([0.1, 0.3, 1.0])
    parts: dict[tuple[str, str, str], Replicated] = {
        ("depth_slope", f"way-{seed}@first-{step}", "mine"): mean_replicates(values[:, at], drawn)
        for seed in range(6)
        for at, step in enumerate(("100", "400", "last"))
    }
    found = contrast_of(spec, spec.hypotheses[0], Evidence(parts, {}, {}))
    trends = [np.polyfit(np.array(one.at) / one.at[-1], [0.0, 0.1, 0.3, 1.0], 1)[0] for one in ways]
    assert found is not None and found.seeds == 6
    assert found.estimate == pytest.approx(np.mean(trends))
    assert found.se == pytest.approx(np.std(trends, ddof=1) / np.sqrt(6), rel=1e-3)
    assert found.df == pytest.approx(5, rel=1e-3)
