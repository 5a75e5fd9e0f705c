"""Where the answer is known by construction, knock-outs, indices, attention and targeted ablation say it."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import planted_heads as planted
import polars as pl
import pytest
from ruamel.yaml import YAML

from mechshift_core import CounterfactualBatch, load_model, run
from mechshift_core.attribution import patch_nodes
from mechshift_core.graph import Graph
from mechshift_core.models import Model
from stats import interaction_ratio, interactions
from stats.findings import Findings
from stats.shapley import all_combinations, order_shares, shapley_interactions
from stats.specialization import specialization

FIRST, SECOND = planted.REDUNDANT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("planted")
    planted.write_specialised(made / "specialised")
    planted.write_redundant(made / "redundant")
    return made


@pytest.fixture(scope="module")
def batch() -> CounterfactualBatch:
    return planted.batch(40)


def knocked_out(model: Model, batch: CounterfactualBatch, nodes: list[list[str]]) -> np.ndarray:  # type: ignore[type-arg]
    """The metric without nodes over that of the whole model, [examples, runs]."""
    whole, *rest = patch_nodes(model, batch, [[], *nodes], ablation="zero").numpy().astype(np.float64)
    return np.stack(rest, axis=1) / whole.mean()


@pytest.mark.parametrize("name", ["specialised", "redundant"])
def test_the_models_solve_every_prompt(name: str, folder: Path, batch: CounterfactualBatch) -> None:
    model = load_model(folder / name, device="cpu")
    assert model.logits(batch.clean_ids)[:, -1].argmax(-1).tolist() == batch.answer_ids[:, 0].tolist()
    assert model.logits(batch.corrupt_ids)[:, -1].argmax(-1).tolist() == batch.foil_ids[:, 0].tolist()


def test_one_head_has_nearly_the_whole_share_where_one_does_the_work(folder: Path, batch: CounterfactualBatch) -> None:
    model = load_model(folder / "specialised", device="cpu")
    names = [source.name for source in Graph.of(model.shape).sources[1:]]
    effects = 1 - knocked_out(model, batch, [[name] for name in names])
    sizes = np.abs(effects.mean(0))
    assert names[int(sizes.argmax())] == planted.SPECIALISED
    assert sizes.max() / sizes.sum() > 0.9
    found = specialization(effects, splits=20, draws=200)
    assert found.value > 0.95 and found.value > found.null.high
    assert found.crossfitted == pytest.approx(1, abs=0.1)


def test_each_of_two_redundant_heads_costs_nothing_and_both_cost_everything(
    folder: Path, batch: CounterfactualBatch
) -> None:
    model = load_model(folder / "redundant", device="cpu")
    alone = [[FIRST], [SECOND], [planted.SATURATING], [FIRST, SECOND]]
    first, second, saturating, both = knocked_out(model, batch, alone).mean(0)
    assert first == pytest.approx(1, abs=0.1) and second == pytest.approx(1, abs=0.1)
    assert saturating == pytest.approx(0, abs=0.1) and both == pytest.approx(0, abs=0.1)


@pytest.mark.long
@pytest.mark.parametrize("name", ["specialised", "redundant"])
def test_only_redundant_heads_interact_and_negatively(name: str, folder: Path, batch: CounterfactualBatch) -> None:
    model = load_model(folder / name, device="cpu")
    names = [FIRST, SECOND, planted.SPECIALISED, "a2.h0", planted.SATURATING]
    members = np.array(list(combinations(range(len(names)), 2)))
    single = knocked_out(model, batch, [[one] for one in names])
    both = knocked_out(model, batch, [[names[i], names[j]] for i, j in members])
    found = interactions(np.ones(len(single)), single, both, members).mean(0)
    redundant = (members == [0, 1]).all(1)
    np.testing.assert_allclose(found[~redundant], 0, atol=0.15)
    assert found[redundant].item() == pytest.approx(-1 if name == "redundant" else 0, abs=0.15)
    ratio = interaction_ratio(1 - single, interactions(np.ones(len(single)), single, both, members), draws=100)
    assert ratio.value > 0.8 if name == "redundant" else ratio.value < 0.3


def test_of_three_redundant_heads_pairs_say_nothing_and_combinations_everything(
    folder: Path, batch: CounterfactualBatch
) -> None:
    model = load_model(planted.write_redundant(folder / "threefold", third=True), device="cpu")
    names = [FIRST, planted.THIRD, SECOND, planted.SPECIALISED]
    nodes = [[names[one] for one in np.flatnonzero(lost)] for lost in all_combinations(4)[1:]]
    metric = np.column_stack([np.ones(len(batch)), knocked_out(model, batch, nodes)])
    members = np.array(list(combinations(range(3), 2)))
    pairs = metric[:, [(1 << first) + (1 << second) for first, second in members]]
    at_the_full_model = interactions(metric[:, 0], metric[:, [1, 2, 4]], pairs, members).mean(0)
    np.testing.assert_allclose(at_the_full_model, 0, atol=0.15)
    found = shapley_interactions(metric, order=3)
    value = dict(zip(found.sets, found.values.mean(0), strict=True))
    assert value[0, 1, 2] == pytest.approx(1, abs=0.25)
    assert [value[pair] for pair in ((0, 1), (0, 2), (1, 2))] == pytest.approx([-1 / 2] * 3, abs=0.15)
    assert [value[one,] for one in range(4)] == pytest.approx([1 / 3] * 3 + [0], abs=0.1)
    shares = order_shares(metric, draws=200)
    assert (shares.value[:3] > shares.null_high[:3]).all()


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """A study of the specialised model before and the redundant one after."""
    planted.write_prompts(folder / "kinds.jsonl", 40)
    spec = {
        "schema": "mechshift/v1",
        "name": "planted-heads",
        "models": {
            name: {"source": name, "paradigm": "autoregressive"} for name in ("specialised", "redundant")
        },
        "pairs": [{"name": "spread", "before": "specialised", "after": "redundant", "role": "treatment"}],
        "tasks": [{"name": "kinds", "regime": "local", "dataset": "kinds.jsonl", "examples": 40}],
        "interventions": [
            {"name": "circuit", "kind": "edge_attribution"},
            {"name": "pairs", "kind": "ablation", "ablation": "zero", "components": ["heads"], "pairwise": 12,
             "shapley": {"components": 12, "order": 2, "budget": 400}},
            {"name": "looks", "kind": "attention"},
            {"name": "read", "kind": "probe"},
            {"name": "middle", "kind": "targeted_ablation", "of": "circuit", "layers": "middle", "size": 1,
             "ablation": "zero", "random": 19},
        ],
        "measures": {"specialization": {}, "integration": {}},
        "hypotheses": [
            {"id": "spread", "measure": "targeted", "test": {"kind": "difference", "alternative": "less"}},
        ],
        "statistics": {"bootstrap": {"replicates": 200}},
        "execution": {"device": "cpu"},
    }  # fmt: skip
    with (folder / "study.yaml").open("w") as handle:
        YAML().dump(spec, handle)
    made = run(folder / "study.yaml", out=folder / "out")
    assert made.failures == ()
    return made.path


@pytest.mark.nightly
def test_attribution_finds_the_redundant_heads_that_single_knock_outs_miss(finished: Path, folder: Path) -> None:
    yaml = YAML()
    spec = yaml.load((folder / "study.yaml").read_text())
    few = {"kind": "ablation", "ablation": "zero", "components": ["heads"], "shapley": {"components": 2, "order": 2}}
    spec["interventions"] = [spec["interventions"][0], {"name": "few", "strongest_by": "attribution", **few}]
    spec["measures"] = {"integration": {"index": "shapley"}}
    del spec["hypotheses"]
    with (folder / "few.yaml").open("w") as handle:
        yaml.dump(spec, handle)
    made = run(folder / "few.yaml", out=folder / "few")
    assert made.failures == ()
    rows = read(made.path, "shapley").filter(pl.col("side") == "after")
    assert rows["components"].to_list() == [*planted.REDUNDANT, " ".join(planted.REDUNDANT)]
    assert rows["high"][2] < 0
    share = read(made.path, "shapley_orders").filter((pl.col("side") == "after") & (pl.col("order") == 2))["share"]
    assert share.item() == pytest.approx(1 / 3, abs=0.02)  # w = 1 unless both are lost: variances 1/16 thrice
    alone = read(finished, "components").filter((pl.col("side") == "after") & (pl.col("method") == "zero ablation"))
    effects = alone.filter(pl.col("kind") == "head").sort(pl.col("effect").abs(), descending=True)
    assert effects["component"].to_list()[:2] != [*planted.REDUNDANT]


def read(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / "tables" / f"{name}.parquet")


@pytest.mark.long
def test_a_study_finds_integration_in_the_redundant_model_only(finished: Path) -> None:
    rows = read(finished, "interactions").filter(pl.col("side") == "after")
    largest = rows.filter(pl.col("interaction").abs() == pl.col("interaction").abs().max()).row(0, named=True)
    assert (largest["first"], largest["second"]) == planted.REDUNDANT
    assert largest["high"] < 0
    index = read(finished, "indices").filter(pl.col("index") == "interaction")
    value = dict(index.select("side", "value").rows())
    assert value["before"] < 0.2 and value["after"] > 1
    tested = read(finished, "indices").filter((pl.col("index") == "interaction_share") & (pl.col("side") == "shift"))
    assert tested["low"].item() > 0


@pytest.mark.long
def test_a_study_finds_what_only_both_heads_do_together(finished: Path) -> None:
    rows = read(finished, "shapley").filter(pl.col("side") == "after")
    pairs = rows.filter(pl.col("order") == 2)
    largest = pairs.filter(pl.col("value").abs() == pairs["value"].abs().max()).row(0, named=True)
    assert largest["components"] == " ".join(planted.REDUNDANT) and largest["high"] < 0
    single = dict(rows.filter(pl.col("order") == 1).select("components", "value").rows())
    first, second = (single[name] for name in planted.REDUNDANT)
    assert first == pytest.approx(second, rel=0.1) and largest["value"] == pytest.approx(-2 * first, rel=0.1)
    before = read(finished, "shapley").filter(pl.col("side") == "before")
    alone = before.filter(pl.col("components") == planted.SPECIALISED)["value"].item()
    assert alone > 10 * before.filter(pl.col("components") != planted.SPECIALISED)["value"].abs().max()
    index = read(finished, "indices").filter((pl.col("index") == "shapley_share") & (pl.col("side") == "shift"))
    assert index["low"].item() > 0
    assert read(finished, "shapley_orders")["status"].unique().to_list() == [
        "a sample of the combinations was run: shares need all of them, and intervals do not contain the error of the "
        "sample"
    ]


@pytest.mark.long
def test_a_study_sees_the_planted_heads_look_at_what_they_read(finished: Path) -> None:
    rows = read(finished, "attention").filter(
        (pl.col("from_role") == "(read)") & (pl.col("to_role") == "kind") & pl.col("head").is_not_null()
    )
    for side, heads in (("before", (planted.SPECIALISED,)), ("after", planted.REDUNDANT)):
        one = rows.filter(pl.col("side") == side).with_columns(name=pl.format("a{}.h{}", "layer", "head"))
        looking = one.filter(pl.col("name").is_in(heads))
        assert (looking["mass"] > 0.99).all() and looking["uniform"].to_list() == pytest.approx([1 / 7] * len(heads))
        assert set(one.sort("mass", descending=True)["name"].head(len(heads))) == set(heads)
    shift = rows.filter((pl.col("side") == "shift") & (pl.col("layer") == 1) & (pl.col("head") == 2))
    assert shift["mass"].item() < -0.5 and shift["p_corrected"].item() < 0.001


@pytest.mark.long
def test_a_probe_reads_the_answer_from_where_a_planted_head_has_written_it(finished: Path) -> None:
    rows = read(finished, "probes").filter(pl.col("accuracy").is_not_null() & (pl.col("side") != "shift"))
    assert set(rows["variable"]) == {"answer"} and set(rows["n"]) == {40} and set(rows["majority"]) == {0.5}
    accuracy = {(row["side"], row["layer"]): row["accuracy"] for row in rows.iter_rows(named=True)}
    # 32 prompts train a probe of 128 activations, so that even what is there perfectly is missed now and then.
    assert min(accuracy["before", layer] for layer in (2, 3)) > 0.9
    assert min(accuracy["after", layer] for layer in (1, 2, 3)) > 0.9
    assert accuracy["before", 0] < 0.75 and accuracy["after", 0] < 0.75  # the last token says nothing of the answer
    assert (rows["control"] < 0.75).all()
    shift = read(finished, "probes").filter((pl.col("side") == "shift") & (pl.col("layer") == 1))
    assert shift["accuracy"].item() == pytest.approx(accuracy["after", 1] - accuracy["before", 1])


@pytest.mark.long
def test_a_targeted_ablation_hits_the_specialised_head_and_no_redundant_one(finished: Path) -> None:
    rows = read(finished, "targeted").filter(pl.col("target"))
    before, after = (rows.filter(pl.col("side") == side).row(0, named=True) for side in ("before", "after"))
    assert before["components"] == planted.SPECIALISED and after["components"] == SECOND
    assert before["low"] > 0 and after["effect"] < 0.1 * before["effect"]
    beside = read(finished, "targeted").filter((pl.col("side") == "before") & ~pl.col("target"))
    assert (beside["beyond_low"] > 0).all()
    random = beside.filter(pl.col("layers") == "random").row(0, named=True)
    assert random["p"] < 0.3  # the one head of twelve is drawn now and then
    assert random["effect"] < 0.3 * before["effect"]


@pytest.mark.long
def test_a_study_says_that_the_redundant_model_relies_less_on_the_component_aimed_at(finished: Path) -> None:
    (finding,) = Findings.from_json((finished / "findings.json").read_text()).hypotheses
    rows = read(finished, "targeted").filter(pl.col("side") != "shift")
    cost = {(row["side"], row["layers"]): row["effect"] for row in rows.iter_rows(named=True)}
    before, after = (cost[side, "middle"] - cost[side, "random"] for side in ("before", "after"))
    assert (finding.verdict, finding.estimate) == ("supported", pytest.approx(after - before))
    # All that the specialised model does is lost, but for what random groups cost in it; nothing in the other one.
    assert finding.estimate is not None and finding.estimate < -0.7 * cost["before", "middle"]
