"""Indices that a spec declares: all are tabled beside their nulls, the declared one is what hypotheses are about."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from intervention_study import table, write_effective_study
from ruamel.yaml import YAML
from studies import ATTRIBUTION

from mechshift_core import run
from mechshift_core.interventions.ablation import graph as component_graph
from mechshift_core.interventions.ablation import integration_section as integration
from mechshift_core.interventions.ablation.integration_section import Integration
from mechshift_core.interventions.ablation.section import JOINT_INDICES
from mechshift_core.measures.specialization import specialization, task_selectivity
from mechshift_core.measures.specialization.section import Specialization
from mechshift_core.pipeline import Run
from stats import specializations
from stats.debiased import CHANCE, debiased_specialization
from stats.inequality import INDEX_NAMES

pytestmark = pytest.mark.long

KEYS = ("pair", "task", "side", "value")


def hypothesis(measure: str) -> dict[str, object]:
    contrast = {"role": ["treatment", "control"]}
    return {"id": measure, "claim": "It is.", "measure": measure, "contrast": contrast, "test": {"kind": "difference"}}


def write(folder: Path, *, inequality: str, graph: str) -> Path:
    everywhere = {**hypothesis("integration"), "id": "everywhere", "every": "task"}
    hypotheses = [hypothesis("specialization"), hypothesis("integration"), everywhere]
    path = write_effective_study(
        folder, examples=12, interventions=[ATTRIBUTION], hypotheses=hypotheses, tasks=("mine", "other")
    )
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["measures"] = {"specialization": {"index": inequality}, "integration": {"index": graph}}
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("indices")
    return run(write(folder, inequality="renyi_entropy", graph="modularity"), out=folder / "out")


def test_every_index_of_the_grammar_is_there() -> None:
    assert get_args(Specialization.model_fields["index"].annotation) == tuple(specialization.INDICES)
    assert tuple(specialization.INDICES) == (specialization.DEBIASED, *INDEX_NAMES)
    assert get_args(Integration.model_fields["index"].annotation) == tuple(integration.INDICES)
    assert set(integration.INDICES) == {*JOINT_INDICES, *component_graph.GRAPH_INDICES}


def test_all_indices_are_tabled_beside_their_nulls(finished: Run) -> None:
    rows = table(finished.path, "indices")
    assert rows.group_by("measure", maintain_order=True).agg(pl.col("index").unique(maintain_order=True)).rows() == [
        ("specialization", [specialization.DEBIASED, *INDEX_NAMES]),
        ("integration", ["participation", "modularity", "efficiency"]),
    ]
    assert rows.height == 2 * 2 * 3 * 9
    without = rows.filter(pl.col("index") == specialization.DEBIASED)
    assert without["null"].null_count() == without.height
    models = rows.filter((pl.col("side") != "shift") & (pl.col("index") != specialization.DEBIASED))
    assert models["null"].null_count() == models["low"].null_count() == 0
    assert ((models["value"] - models["null"] - models["excess"]).abs() < 1e-12).all()
    assert (models["null_low"] <= models["null"]).all() and (models["null"] <= models["null_high"]).all()
    assert (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()


@pytest.mark.parametrize(("measure", "index"), [("integration", "modularity")])
def test_hypotheses_are_about_the_declared_index(finished: Run, measure: str, index: str) -> None:
    finding = next(one for one in finished.findings.hypotheses if one.measure == measure)
    rows = table(finished.path, "indices").filter((pl.col("index") == index) & (pl.col("side") == "shift"))
    shift = dict(rows.group_by("pair").agg(pl.col("value").mean()).iter_rows())
    assert finding.status == "ok" and finding.se is not None and finding.se > 0
    assert finding.estimate == pytest.approx(shift["shift"] - shift["control"])
    assert index.removeprefix("h") in finding.estimand.lower()
    estimates = [one for one in finished.findings.estimates if one.measure == measure]
    assert len(estimates) == 12 and all(index[1:] in one.method.lower() for one in estimates)


def test_a_claim_on_every_task_has_the_largest_p_of_its_parts(finished: Run) -> None:
    average, everywhere = (
        next(one for one in finished.findings.hypotheses if one.id == name) for name in ("integration", "everywhere")
    )
    assert [part.level for part in everywhere.parts] == ["mine", "other"] and everywhere.every == "task"
    assert everywhere.p == max(part.p or 0.0 for part in everywhere.parts)
    assert everywhere.parts == average.parts and average.every == "" and average.p != everywhere.p
    assert (everywhere.estimate, everywhere.low) == (average.estimate, average.low)
    assert everywhere.estimate == pytest.approx(np.mean([part.estimate or 0.0 for part in everywhere.parts]))
    assert "in every task" in everywhere.estimand
    if len({(part.estimate or 0.0) > 0 for part in average.parts}) == 2:
        assert "tasks differ in sign: mine " in average.message
    page = (finished.path / "report.html").read_text()
    assert "Each verdict on each task or regime alone" in page


def test_specialization_that_is_noise_has_a_status_and_no_number(finished: Run) -> None:
    finding = next(one for one in finished.findings.hypotheses if one.measure == "specialization")
    rows = table(finished.path, "indices").filter(pl.col("index") == specialization.DEBIASED)
    lacking = rows.filter((pl.col("side") == "shift") & pl.col("value").is_null())
    assert lacking.height and finding.status == "undefined" and finding.p is None
    assert CHANCE in finding.message and "Renyi entropy" in finding.estimand
    samples = analyse_again(finished).by_pair_and_task
    for pair, task, side, value in rows.filter(pl.col("side") != "shift").select(KEYS).iter_rows():
        effects = specialization.component_effects(samples[pair, task], side)
        expected = debiased_specialization(effects, seed=samples[pair, task].seed)
        assert value == expected.estimate


def test_specialization_is_that_of_the_component_effects(finished: Run) -> None:
    sample = analyse_again(finished).by_pair_and_task["shift", "mine"]
    effects = specialization.component_effects(sample, "after")
    expected = {one.index: one.value for one in specializations(effects, splits=1, draws=1)}
    rows = of_after(finished)
    found = dict(rows.filter(pl.col("index").is_in(INDEX_NAMES)).select("index", "value").iter_rows())
    assert found == pytest.approx(expected)


def test_indices_of_the_graph_are_those_of_the_mean_graph(finished: Run) -> None:
    from stats import measure_graph

    sample = analyse_again(finished).by_pair_and_task["shift", "mine"]
    mean = np.mean([*component_graph.component_graphs(sample, "after")], axis=0)
    possible = component_graph.possible_connections(sample.graph)
    expected = measure_graph(mean, allowed=possible, draws=1, seed=sample.seed)
    rows = of_after(finished)
    found = dict(rows.select("index", "value").iter_rows())
    for name in component_graph.GRAPH_INDICES:
        assert found[name] == pytest.approx(getattr(expected, name).value), name


def analyse_again(finished: Run):  # type: ignore[no-untyped-def]
    from mechshift_core import load_spec
    from mechshift_core.analysis.samples import collect
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.reading import readings
    from mechshift_core.execution.store import RunFolder

    plan = make_plan(load_spec(finished.path.parent / "study.yaml"))
    return collect(plan, RunFolder(finished.path), {}, readings(plan.spec.denoising)[0])


def of_after(finished: Run) -> pl.DataFrame:
    chosen = (pl.col("pair") == "shift") & (pl.col("side") == "after") & (pl.col("task") == "mine")
    return table(finished.path, "indices").filter(chosen)


def test_tasks_of_the_same_prompts_have_no_selective_components(finished: Run) -> None:
    rows = table(finished.path, "selectivity")
    samples = analyse_again(finished).by_pair_and_task
    components = [node.name for node in samples["shift", "mine"].graph.sources[1:]]
    assert rows.height == 2 * 2 * len(components) and rows["n"].unique().to_list() == [24]
    assert rows.head(len(components))["component"].to_list() == components
    assert rows["selectivity"].is_between(-1, 1).all() and rows["p"].is_between(0, 1, closed="right").all()
    assert (rows["p"] <= 0.05).mean() < 0.1
    shares = task_selectivity.component_shares(samples["shift", "mine"], "after")
    np.testing.assert_allclose(shares.sum(axis=1), 1)


def test_the_report_shows_them(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-component-graph"' in page and "modularity, mine, shift: before " in page
    assert (
        "normalised Rényi entropy of order 2 (1 minus it), mine, control: " in page
        and "random graphs of the same strengths" in page
    )


def test_a_large_graph_is_measured_beside_fewer_graphs_and_without_new_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(component_graph, "SMALL", 3)
    made = run(write(tmp_path, inequality="renyi_entropy", graph="efficiency"), out=tmp_path / "out")
    rows = table(made.path, "indices").filter(pl.col("measure") == "integration")
    known = rows.filter(pl.col("low").is_not_null())["index"].unique().to_list()
    assert sorted(known) == ["modularity", "participation"] and rows["value"].null_count() == 0
    (finding,) = (one for one in made.findings.hypotheses if one.id == "integration")
    assert finding.status == "points only" and finding.estimate is not None and "no replicates" in finding.message
