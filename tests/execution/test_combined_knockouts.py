"""Knock-outs in combinations, held against patching by hand, and what the analysis makes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, table
from test_pairwise_knockouts import KNOCKOUTS, by_hand, write

from mechshift_core import load_spec, run
from mechshift_core.analysis.aa_samples import draw, sources
from mechshift_core.analysis.samples import collect, read_results
from mechshift_core.execution.cost import cost
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.reading import Reading
from mechshift_core.execution.store import RunFolder
from mechshift_core.interventions.ablation.integration import measure_ablation, measure_interaction_shift
from mechshift_core.interventions.ablation.section import Ablation
from mechshift_core.pipeline import Run, stored_plan
from mechshift_core.spec import SpecError
from stats import interaction_ratio
from stats.shapley import all_combinations, order_shares, shapley_interactions

pytestmark = pytest.mark.long

MEASURES = {"integration": {"index": "shapley_share"}}


def combined(components: int = 4, **more: object) -> dict[str, object]:
    return {**KNOCKOUTS, "pairwise": 0, "shapley": {"components": components, **more}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    folder = tmp_path_factory.mktemp("combinations")
    return folder, run(write(folder, combined(), measures=MEASURES), out=folder / "out")


@pytest.fixture(scope="module")
def metric(finished: tuple[Path, Run]) -> tuple[list[str], np.ndarray]:  # type: ignore[type-arg]
    """The strongest components of the model after, and the metric of every combination of them, by hand."""
    folder, made = finished
    ((single, alone),) = cells(made.path, model="after", intervention="knockouts", part="")
    effects = np.abs((alone["clean_metric"] - alone["metric"]).astype(np.float64).mean(1))
    names = [single["components"][number] for number in sorted(np.argsort(-effects)[:4].tolist())]
    nodes = [[name for name, lost in zip(names, row, strict=True) if lost] for row in all_combinations(4)]
    return names, by_hand(folder, "after", nodes).astype(np.float64)


def test_the_strongest_components_are_knocked_out_in_every_combination(
    finished: tuple[Path, Run],
    metric: tuple[list[str], np.ndarray],  # type: ignore[type-arg]
) -> None:
    names, expected = metric
    ((description, tensors),) = cells(finished[1].path, model="after", intervention="knockouts", part="shapley")
    assert description["strongest"] == names and len(description["members"]) == 16
    assert description["members"][0] == [] and len(description["members"][-1]) == 4
    np.testing.assert_allclose(tensors["metric"], expected, atol=2e-5)


def test_the_tables_are_those_of_the_statistics(
    finished: tuple[Path, Run],
    metric: tuple[list[str], np.ndarray],  # type: ignore[type-arg]
) -> None:
    names, expected = metric
    found = shapley_interactions(expected.T, order=3)
    after = (pl.col("pair") == "shift") & (pl.col("side") == "after")
    rows = table(finished[1].path, "shapley").filter(after)
    assert rows["components"].to_list() == [" ".join(names[one] for one in members) for members in found.sets]
    assert rows["order"].to_list() == [len(members) for members in found.sets]
    np.testing.assert_allclose(rows["value"], found.values.mean(0), atol=1e-5)
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    orders = table(finished[1].path, "shapley_orders").filter(pl.col("pair") == "shift")
    shares = order_shares(expected.T, draws=1).value
    np.testing.assert_allclose(orders.filter(pl.col("side") == "after")["share"], shares, atol=1e-4)
    assert orders["status"].unique().to_list() == ["ok"]
    by_side = {side: orders.filter(pl.col("side") == side)["share"].to_numpy() for side in ("before", "after", "shift")}
    np.testing.assert_allclose(by_side["shift"], by_side["after"] - by_side["before"], atol=1e-12)
    assert orders.filter(pl.col("side") == "shift")["null"].is_null().all()
    models = orders.filter(pl.col("side") != "shift")
    assert (models["null_low"] <= models["null"]).all() and (models["null"] <= models["null_high"]).all()


def test_a_hypothesis_on_the_shapley_index_is_the_contrast_of_the_shifts(
    finished: tuple[Path, Run],
    metric: tuple[list[str], np.ndarray],  # type: ignore[type-arg]
) -> None:
    (finding,) = finished[1].findings.hypotheses
    indices = table(finished[1].path, "indices").filter(pl.col("index") == "shapley")
    shares = table(finished[1].path, "indices").filter(
        (pl.col("index") == "shapley_share") & (pl.col("side") == "shift")
    )
    shift = dict(shares.select("pair", "value").iter_rows())
    assert finding.status == "ok" and finding.p is not None
    assert finding.estimate == pytest.approx(shift["shift"] - shift["control"])
    assert "share of Shapley interactions" in finding.estimand
    found = shapley_interactions(metric[1].T, order=3)
    value = indices.filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))["value"].item()
    assert value == pytest.approx(interaction_ratio(found.single, found.above_one).value, rel=1e-3)


def test_on_a_a_data_the_index_is_what_the_study_is_tested_with(finished: tuple[Path, Run]) -> None:
    plan, folder = stored_plan(finished[1].path), RunFolder(finished[1].path)
    drawn = draw(sources(collect(plan, folder, {}, Reading())), seed=1, repetition=0)
    for sample in drawn.values():
        results = read_results(plan, folder, {}, sample, "knockouts")
        own = plan.spec.interventions[1]
        assert isinstance(own, Ablation)
        lean = measure_interaction_shift(sample, plan.spec, own, results)
        whole = measure_ablation(sample, plan.spec, own, results)
        assert lean.problems == whole.problems and lean.replicated.keys() == whole.replicated.keys()
        for name, one in lean.replicated.items():
            other = whole.replicated[name]
            assert (one.estimate, one.se, one.df) == (other.estimate, other.se, other.df)
            assert one.se is not None and one.se > 0


def test_the_report_draws_the_orders(finished: tuple[Path, Run]) -> None:
    page = (finished[1].path / "report.html").read_text()
    assert "Knock-outs in combinations" in page and 'id="figure-shapley"' in page
    assert page.count("Shares of the orders before and after, mine, ") == 2
    assert "share of Shapley interactions, mine, shift: " in page
    assert "Integration is the share of Shapley interactions in the sum of squared" in page


def test_another_order_runs_nothing_again_and_pairs_are_runs_of_their_own(
    finished: tuple[Path, Run], tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    again = run(write(folder, combined(order=2), measures=MEASURES), out=folder / "out")
    assert (again.computed, again.failures) == (0, ())
    assert table(again.path, "shapley")["order"].max() == 2
    both = run(write(folder, {**combined(), "pairwise": 3}, measures=MEASURES), out=folder / "out")
    assert (both.computed, both.failures) == (3, ())
    assert set(table(both.path, "indices")["index"]) >= {"shapley", "interaction"}


def test_a_sample_of_the_combinations_is_estimated_from(
    finished: tuple[Path, Run],
    metric: tuple[list[str], np.ndarray],
    tmp_path: Path,  # type: ignore[type-arg]
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    made = run(write(folder, combined(order=2, budget=14), measures=MEASURES), out=folder / "out")
    assert (made.computed, made.failures) == (3, ())
    described = [one for one, _ in cells(made.path, part="shapley") if len(one["members"]) < 16]
    assert len(described) == 3 and all(len(one["members"]) <= 14 for one in described)
    assert len({str([len(set(members)) for members in one["members"]]) for one in described}) == 1
    rows = table(made.path, "shapley").filter((pl.col("pair") == "shift") & (pl.col("side") == "after"))
    exact = shapley_interactions(metric[1].T, order=2).values.mean(0)
    # Two combinations of 16 are missing, and what is of higher order is left out.
    assert np.corrcoef(rows["value"], exact)[0, 1] > 0.95
    orders = table(made.path, "shapley_orders")
    assert orders["share"].is_null().all() and orders["status"].str.contains("need all of them").all()
    page = (made.path / "report.html").read_text()
    assert (
        "No shares: a sample of the combinations was run: shares need all of them, and intervals do not contain" in page
    )
    assert made.findings.hypotheses[0].status == "ok"


def test_the_strongest_may_be_those_of_the_attribution(finished: tuple[Path, Run], tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    by = {**combined(2, order=2), "strongest_by": "attribution"}
    made = run(write(folder, by, measures={**MEASURES, "specialization": {}}), out=folder / "out")
    assert (made.computed, made.failures) == (3, ())
    effects = table(made.path, "components").filter(
        (pl.col("pair") == "shift") & (pl.col("side") == "after") & (pl.col("method") == "attribution")
    )
    order = effects.sort(pl.col("effect").abs(), descending=True)["component"].to_list()
    described = [one for one, _ in cells(made.path, model="after", part="shapley") if len(one["members"]) == 4]
    assert sorted(described[0]["strongest"]) == sorted(order[:2])


def test_more_components_than_a_model_has_are_refused(tmp_path: Path) -> None:
    few = {**combined(8, order=2, budget=200), "components": ["mlps"]}
    with pytest.raises(SpecError, match="knocks out 8 components together, but model 'before' has 2 of the kinds mlps"):
        make_plan(load_spec(write(tmp_path, few, measures=MEASURES)))


def test_a_plan_counts_the_combinations(tmp_path: Path) -> None:
    plan = make_plan(load_spec(write(tmp_path, combined(), measures=MEASURES)))
    joint = [cell for cell in plan.cells if cell.part == "shapley"]
    assert len(joint) == 3 and all(cell.needs for cell in joint)
    assert cost([(plan, cell) for cell in joint]).patched == 3 * 16 * 16
    assert str(joint[0]).startswith("knockouts shapley of before on mine")
    sampled = make_plan(load_spec(write(tmp_path, combined(10, budget=300), measures=MEASURES)))
    assert cost([(sampled, cell) for cell in sampled.cells if cell.part == "shapley"]).patched == 3 * 16 * 300


def test_a_sample_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "mechshift_core.interventions.ablation.checks.find_spec", lambda name: None if name == "shapiq" else find(name)
    )
    make_plan(load_spec(write(tmp_path, combined(), measures=MEASURES)))
    with pytest.raises(SpecError, match=r"needs shapiq: pip install 'shapiq>=1.4'; or leave `budget` out"):
        make_plan(load_spec(write(tmp_path, combined(10, budget=300), measures=MEASURES)))


def test_one_component_can_not_be_combined(tmp_path: Path) -> None:
    from mechshift_core.interventions.ablation import checks as naming

    path = write(tmp_path, combined(), measures=MEASURES)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(naming, "component_names", lambda shape, kinds: ["m0"])
        with pytest.raises(SpecError, match="'knockouts' knocks out 4 components together, but model 'before' has 1"):
            make_plan(load_spec(path))


BAD: dict[str, tuple[dict[str, object], str]] = {
    "one component": (combined(1), "expected a number not below 2, got 1"),
    "too many": (combined(13), "13 components have 8192 combinations; without a `budget` expected at most 12 compon"),
    "order too high": (combined(2), "expected at most 2, the number of components, got 3"),
    "order one": (combined(4, order=1), "expected a number not below 2, got 1"),
    "budget too small": (combined(16, order=2, budget=100), "expected at least 138: up to order 2 there are 136 inte"),
    "budget too large": (combined(6, budget=64), "6 components have only 64 combinations: without `budget` all are"),
    "no combinations": ({**KNOCKOUTS}, "measure 'integration' needs an intervention of kind ablation with `shapley`"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_can_not_be_run_is_refused(case: str, tmp_path: Path) -> None:
    intervention, message = BAD[case]
    with pytest.raises(SpecError) as error:
        load_spec(write(tmp_path, intervention, measures=MEASURES))
    assert message in str(error.value)


def test_the_index_is_of_one_intervention(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'knockouts' and 'others' knock out components in combinations"):
        load_spec(write(tmp_path, combined(), {**combined(), "name": "others"}, measures=MEASURES))


@pytest.mark.parametrize(("index", "needs"), [("shapley_share", "shapley"), ("interaction_share", "pairwise")])
def test_another_index_needs_its_knock_outs_too(index: str, needs: str, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    path = write(tmp_path, {**KNOCKOUTS, "pairwise": 0}, measures={"integration": {"index": "efficiency"}})
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["sensitivity"] = {"integration": ["modularity", index]}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    with pytest.raises(SpecError, match=f"the index '{index}' needs an intervention of kind ablation with `{needs}`"):
        load_spec(path)
