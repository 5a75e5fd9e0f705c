"""Circuits, patched components and token roles as a run computes them, against direct computations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import batch_of, by_length, cells, lines, model_of, table, write_effective_study
from studies import ATTRIBUTION, EVERY_KIND

from mechshift_core import run
from mechshift_core.attribution import attribute_edges, evaluate_circuits, patch_nodes
from mechshift_core.execution import plan as planning
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.selected import halves_of
from mechshift_core.spec import SpecError, load_spec
from mechshift_core.tasks.counterfactual import Dataset
from mechshift_core.tasks.custom import custom_dataset
from stats.faithfulness import faithfulness_curve

pytestmark = pytest.mark.long

CURVE: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit"}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(study folder, run directory) of a run of every kind of intervention."""
    folder = tmp_path_factory.mktemp("everything")
    (folder / "study").mkdir()
    spec = write_effective_study(folder / "study", interventions=EVERY_KIND)
    assert run(spec, out=folder / "out").failures == ()
    return folder / "study", folder / "out"


def of_before(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter((pl.col("pair") == "shift") & (pl.col("side") == "before"))


def selected(out: Path) -> list[int]:
    return of_before(table(out, "examples")).filter("selected")["example"].to_list()


@pytest.mark.nightly
def test_the_full_circuit_is_as_good_as_the_model_and_random_ones_stand_beside(everything: tuple[Path, Path]) -> None:
    _, out = everything
    curve = of_before(table(out, "faithfulness")).filter(pl.col("intervention") == "curve")
    assert curve.select("percent", "circuit").rows() == [
        (percent, circuit) for percent in (5.0, 30.0, 100.0) for circuit in ("own", "random")
    ]
    full = curve.filter(pl.col("percent") == 100)
    assert full["faithfulness"].to_list() == pytest.approx([1.0, 1.0])
    assert full["edges"].to_list() == full["live_edges"].to_list() == [82, 82]
    assert curve.filter(pl.col("circuit") == "own")["status"][2] == "ok"
    assert curve["edges"].to_list() == [4, 4, 25, 25, 82, 82]
    assert (curve["live_edges"] <= curve["edges"]).all()
    assert curve["n"].unique().to_list() == [len(selected(out))]
    drawn = curve.filter(pl.col("circuit") == "random")
    assert (drawn["low"] <= drawn["faithfulness"]).all() and (drawn["faithfulness"] <= drawn["high"]).all()


def test_distance_and_transfer_are_estimates_beside_their_references(everything: tuple[Path, Path]) -> None:
    from stats.findings import Findings

    _, out = everything
    found = {
        one.measure: one
        for one in Findings.from_json((out / "findings.json").read_text()).estimates
        if (one.pair, one.side) == ("shift", "before")
    }
    (_, tensors), *_ = cells(out, intervention="curve", pair="shift", side="before")
    rows = of_before(table(out, "faithfulness"))
    full, empty = tensors["clean_metric"], tensors["empty_metric"]
    curve = faithfulness_curve(tensors["metric"][::3], full=full, empty=empty, fractions=[4 / 82, 25 / 82, 1])
    assert found["cmd"].estimate == pytest.approx(curve.cmd.estimate)
    assert found["cpr"].estimate == pytest.approx(curve.cpr.estimate)
    draws = [
        faithfulness_curve(tensors["metric"][draw::3], full=full, empty=empty, fractions=[4 / 82, 25 / 82, 1])
        for draw in (1, 2)
    ]
    assert found["cmd"].reference["random"] == pytest.approx(np.mean([draw.cmd.estimate for draw in draws]))
    own, partner = rows.filter(pl.col("intervention") == "carried")["faithfulness"].to_list()
    assert found["transfer_ratio"].reference == {"own": own, "partner": partner}
    assert own is not None and partner is not None
    if found["transfer_ratio"].estimate is not None:
        assert found["transfer_ratio"].estimate == pytest.approx(partner / own)


@pytest.mark.parametrize(
    ("ablation", "held_out"),
    [
        ("mean", True),
        *(
            pytest.param(*one, marks=pytest.mark.long)
            for one in (("mean", False), ("counterfactual", False), ("counterfactual", True))
        ),
    ],
)
def test_a_circuit_s_metric_is_that_of_a_direct_evaluation(tmp_path: Path, ablation: str, held_out: bool) -> None:
    patching = {**CURVE, "sizes": [20], "random": 0, "ablation": ablation, "held_out": held_out}
    study = write_effective_study(tmp_path, interventions=[ATTRIBUTION, patching])
    out = tmp_path / "out"
    assert run(study, out=out).failures == ()
    model, rows, chosen = model_of(tmp_path / "before"), lines(tmp_path), np.array(selected(out))
    (_, attributed), *_ = cells(out, intervention="circuit", model="before")
    (description, found), *_ = cells(out, intervention="curve", pair="shift", side="before")
    assert found["examples"].tolist() == chosen.tolist()
    plan = make_plan(load_spec(study))
    folds = halves_of(plan, "mine", chosen, held_out=held_out)
    assert len(folds) == (2 if held_out else 1)
    for ranking, evaluated in folds:
        means = attributed["scores"][chosen[ranking]].astype(np.float64).mean(0)
        direct = _direct(model, rows, _strongest(means, 16), ablation)
        np.testing.assert_allclose(found["metric"][0][evaluated], direct[chosen[evaluated]], atol=1e-5)
    assert [(c["origin"], c["percent"], c["edges"]) for c in description["circuits"]] == [("own", 20, 16)]
    np.testing.assert_allclose(found["clean_metric"], attributed["clean_metric"][chosen], atol=1e-5)
    if ablation == "counterfactual":
        np.testing.assert_allclose(found["empty_metric"], attributed["corrupt_metric"][chosen], atol=1e-5)


def _strongest(scores: np.ndarray, count: int) -> np.ndarray:  # type: ignore[type-arg]
    circuit = np.zeros(len(scores), dtype=bool)
    circuit[np.argsort(-np.abs(scores), kind="stable")[:count]] = True
    return circuit


def _direct(model, rows, circuit, ablation) -> np.ndarray:  # type: ignore[no-untyped-def, type-arg]
    """The metric of every example under a circuit, [examples]."""
    found = np.empty(len(rows))
    for numbers in by_length(rows):
        batch = batch_of([rows[number] for number in numbers])
        found[numbers] = evaluate_circuits(model, batch, [circuit], ablation=ablation)[0].numpy()
    return found


def test_no_example_is_judged_by_a_circuit_that_it_helped_to_choose(tmp_path: Path) -> None:
    study = write_effective_study(tmp_path, interventions=[ATTRIBUTION, CURVE])
    plan = make_plan(load_spec(study))
    chosen = np.array([0, 2, 3, 5, 6, 9, 11])
    folds = halves_of(plan, "mine", chosen, held_out=True)
    for ranking, evaluated in folds:
        assert not (ranking & evaluated).any()
        assert min(ranking.sum(), evaluated.sum()) >= 3
    assert np.sum([evaluated for _, evaluated in folds], axis=0).tolist() == [1] * 7
    again = halves_of(plan, "mine", chosen, held_out=True)
    np.testing.assert_array_equal(np.array(folds), np.array(again))


def test_patching_the_whole_residual_stream_is_the_corrupted_run(tmp_path: Path) -> None:
    patching = {"name": "streams", "kind": "activation_patching", "components": ["residual"]}
    study = write_effective_study(tmp_path, interventions=[ATTRIBUTION, patching])
    out = tmp_path / "out"
    assert run(study, out=out).failures == ()
    shown = of_before(table(out, "components")).filter(pl.col("intervention") == "streams")
    examples = of_before(table(out, "examples")).filter("selected")
    lost = (examples["clean_metric"] - examples["corrupt_metric"]).mean()
    assert shown.select("component", "kind", "layer", "method", "token_role").rows() == [
        (f"x{layer}", "residual", layer, "activation patching", None) for layer in range(3)
    ]
    assert shown["effect"].to_list() == pytest.approx([lost] * 3, abs=1e-5)
    assert (shown["low"] < shown["effect"]).all()


@pytest.mark.parametrize(("name", "ablation"), [("averaged", "mean"), ("shuffled", "resample")])
def test_knock_outs_draw_on_all_examples_of_a_length(everything: tuple[Path, Path], name: str, ablation: str) -> None:
    from stats.seeding import derived_seed

    study, out = everything
    (description, found), *_ = cells(out, intervention=name, model="after")
    model, rows = model_of(study / "after"), lines(study)
    components = description["components"]
    for numbers in by_length(rows):
        batch = batch_of([rows[number] for number in numbers])
        seed = derived_seed(0, "resample", "mine")
        direct = patch_nodes(model, batch, [[name] for name in components], ablation=ablation, seed=seed)  # type: ignore[arg-type]
        np.testing.assert_allclose(found["metric"][:, numbers], direct, atol=1e-5)
    shown = table(out, "components").filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))
    shown = shown.filter(pl.col("intervention") == name)
    chosen = selected(out)
    effects = (found["clean_metric"] - found["metric"])[:, chosen].mean(1)
    assert shown["component"].to_list() == components
    assert shown["effect"].to_list() == pytest.approx(effects.tolist(), abs=1e-5)
    assert shown["method"].unique().to_list() == [f"{ablation} ablation"]


def test_patching_by_role_counts_only_the_examples_that_have_the_role(everything: tuple[Path, Path]) -> None:
    study, out = everything
    shown = of_before(table(out, "components")).filter(pl.col("intervention") == "patched")
    assert sorted(shown["token_role"].unique().to_list()) == ["end", "other", "subject", "verb"]
    model, rows = model_of(study / "before"), lines(study)
    verbs = [number for number in selected(out) if "verb" in rows[number]["roles"]]
    batch = batch_of([rows[number] for number in verbs])
    last = np.zeros((1, 5), dtype=bool)
    last[0, -1] = True
    import torch

    metric = patch_nodes(model, batch, [["a1.h2"]], positions=torch.from_numpy(last))[0].numpy()
    clean = patch_nodes(model, batch, [[]])[0].numpy()
    row = shown.filter((pl.col("component") == "a1.h2") & (pl.col("token_role") == "verb"))
    assert row["effect"][0] == pytest.approx((clean - metric).mean(), abs=1e-5)


def test_scores_by_role_sum_to_the_scores(everything: tuple[Path, Path]) -> None:
    _, out = everything
    keys = ["pair", "side", "source", "target"]
    roles = table(out, "edge_roles").group_by(keys).agg(pl.col("score").sum().alias("of_roles"))
    both = table(out, "edges").join(roles, on=keys, how="inner")
    assert both.height == table(out, "edges").height
    assert both["of_roles"].to_list() == pytest.approx(both["score"].to_list(), abs=1e-5)


def test_exact_scores_are_those_of_patched_edges(tmp_path: Path) -> None:
    exact = {"name": "circuit", "kind": "edge_attribution", "method": "exact"}
    study = write_effective_study(tmp_path, examples=6, interventions=[exact])
    out = tmp_path / "out"
    assert run(study, out=out).failures == ()
    (_, found), *_ = cells(out, intervention="circuit", model="before")
    rows = lines(tmp_path)
    for numbers in by_length(rows):
        direct = attribute_edges(model_of(tmp_path / "before"), batch_of([rows[n] for n in numbers]), method="exact")
        np.testing.assert_allclose(found["scores"][numbers], direct.values, atol=1e-5)


def test_roles_that_are_not_known_are_missed_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_roles(*arguments: Any, **options: Any) -> Dataset:
        dataset = custom_dataset(*arguments, **options)
        return replace(dataset, examples=tuple(replace(example, roles=()) for example in dataset.examples))

    study = write_effective_study(tmp_path, interventions=[{**ATTRIBUTION, "by_role": True}])
    monkeypatch.setattr(planning, "custom_dataset", without_roles)
    with pytest.raises(SpecError, match="the token roles of 12 of 12 examples are unknown; give `roles`"):
        run(study, out=tmp_path / "out")


@pytest.mark.nightly
def test_results_depend_neither_on_the_shards_nor_on_the_batches(
    everything: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, out = everything
    monkeypatch.setattr(planning, "SHARD", 5)
    spec = study / "small-batches.yaml"
    spec.write_text((study / "study.yaml").read_text().replace("device: cpu", "device: cpu\n  batch_size: 3"))
    apart = run(spec, out=tmp_path / "out")
    assert apart.failures == ()
    plan = make_plan(load_spec(spec))
    stored = {folder.name for folder in (tmp_path / "out" / "cells").iterdir()}
    assert stored == {cell.key for cell in plan.cells}
    sharded = {cell.intervention for cell in plan.cells if cell.stop - cell.start < 12 and not cell.of_weights}
    whole = {"curve", "carried", "read", "aimed", "crossed", "between", "weights"}
    assert sharded == {entry["name"] for entry in EVERY_KIND} - whole
    assert all(sum(cell.intervention == name for cell in plan.cells) == 3 * 3 for name in sharded)  # of three models
    columns = {
        "faithfulness": "metric",
        "components": "effect",
        "edge_roles": "score",
        "lens": "log_prob",
        "attention": "mass",
        "targeted": "effect",
    }
    for name, column in columns.items():
        one, other = table(out, name), table(tmp_path / "out", name)
        keys = [key for key in one.columns if one[key].dtype == pl.String and key != "status"]
        keys += {"faithfulness": ["percent"], "attention": ["layer", "head"]}.get(name, [])
        assert one.height == other.height > 0
        both = one.join(other, on=keys, how="inner", nulls_equal=True)
        assert both.height == one.height
        assert both[column].to_list() == pytest.approx(both[f"{column}_right"].to_list(), abs=1e-5), name
