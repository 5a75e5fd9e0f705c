"""Targeted ablations in a run, held against plain PyTorch hooks that silence the same components."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import batch_of, by_length, cells, lines, model_of, table
from studies import ATTRIBUTION, write_study

from mechshift_core import load_spec, run
from mechshift_core.errors import MechshiftError
from mechshift_core.execution import selected
from mechshift_core.execution.cost import cost
from mechshift_core.execution.plan import make_plan
from mechshift_core.graph import Graph, Shape, components_by_depth
from mechshift_core.models import Model

pytestmark = pytest.mark.long

AIMED: dict[str, object] = {
    "name": "aimed", "kind": "targeted_ablation", "of": "circuit", "size": 3, "random": 4, "ablation": "zero",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("targeted")
    path = write_study(folder, interventions=[ATTRIBUTION, AIMED])
    assert run(path, out=folder / "out").failures == ()
    return folder


def silenced(model: Model, row: dict[str, Any], components: list[str]) -> float:
    """The metric of a clean prompt with what components write set to zero by hooks on their modules."""
    batch, handles, size = batch_of([row]), [], model.shape.head_size
    declared = model.view.declaration

    def drop_head(head: int) -> Any:
        def hook(_: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            z = inputs[0].clone()
            z[..., head * size : (head + 1) * size] = 0
            return (z,)

        return hook

    for name in components:
        layer = int(name[1:].partition(".")[0])
        if name[0] == "m":
            module = model.view.module(declared.mlp, layer)
            handles.append(module.register_forward_hook(lambda *call: torch.zeros_like(call[-1])))
        else:
            module = model.view.module(declared.attention_output, layer)
            handles.append(module.register_forward_pre_hook(drop_head(int(name.partition(".h")[2]))))
    try:
        return float(batch.measure(model.logits(batch.clean_ids)[:, -1])[0])
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("side", ["before", "after"])
def test_groups_are_ranked_on_one_half_and_knocked_out_on_the_other(side: str, finished: Path) -> None:
    out, rows, model = finished / "out", lines(finished), model_of(finished / side)
    (_, attributed), *_ = cells(out, intervention="circuit", model=side)
    (description, found), *_ = cells(out, intervention="aimed", pair="shift", side=side)
    chosen = found["examples"]
    plan = make_plan(load_spec(finished / "study.yaml"))
    groups = description["groups"]
    assert [group["layers"] for group in groups] == ["early", "late", *["random"] * 4]
    graph = Graph.of(model.shape)
    for fold, (ranking, evaluated) in enumerate(selected.halves_of(plan, "mine", chosen, held_out=True)):
        means = attributed["scores"][chosen[ranking]].astype(np.float64).mean(0)
        effect: dict[str, float] = {}
        for edge, score in zip(graph.edges, means, strict=True):
            effect[edge.partition("->")[0]] = effect.get(edge.partition("->")[0], 0.0) + score
        for number, layer in enumerate((0, 1)):
            of_layer = [name for name in effect if name[:2] in (f"a{layer}", f"m{layer}")]
            strongest = sorted(of_layer, key=lambda name: -abs(effect[name]))[:3]
            assert groups[number]["components"][fold] == strongest
        kinds = sorted(name[0] for name in groups[0]["components"][fold])
        for group in groups[2:]:
            drawn = group["components"][fold]
            assert sorted(name[0] for name in drawn) == kinds and len(set(drawn)) == 3
        for at in np.flatnonzero(evaluated):
            row = rows[chosen[at]]
            assert found["clean_metric"][at] == pytest.approx(silenced(model, row, []), abs=1e-4)
            for group, metric in zip(groups, found["metric"], strict=True):
                assert metric[at] == pytest.approx(silenced(model, row, group["components"][fold]), abs=1e-4)


def test_the_table_holds_effects_controls_and_the_place_among_random_groups(finished: Path) -> None:
    (description, tensors), *_ = cells(finished / "out", intervention="aimed", pair="shift", side="after")
    effects = tensors["clean_metric"].astype(np.float64) - tensors["metric"]
    rows = table(finished / "out", "targeted").filter(pl.col("pair") == "shift")
    found = {row["layers"]: row for row in rows.filter(pl.col("side") == "after").iter_rows(named=True)}
    assert list(found) == ["early", "late", "random"]
    assert [row["target"] for row in found.values()] == [True, False, False]
    expected = {"early": effects[0], "late": effects[1], "random": effects[2:].mean(0)}
    for layers, values in expected.items():
        assert found[layers]["effect"] == pytest.approx(values.mean())
        assert found[layers]["low"] < found[layers]["effect"] < found[layers]["high"]
        if layers != "early":
            assert found[layers]["beyond"] == pytest.approx((effects[0] - values).mean())
    means = effects[2:].mean(1)
    assert found["random"]["p"] == (1 + int((means >= effects[0].mean()).sum())) / 5
    assert set(found["early"]["components"].split()) == {n for c in description["groups"][0]["components"] for n in c}
    other = rows.filter(pl.col("side") == "before")["effect"].to_list()
    shift = rows.filter(pl.col("side") == "shift")["effect"].to_list()
    assert shift == pytest.approx([row["effect"] - b for row, b in zip(found.values(), other, strict=True)])


def test_the_report_shows_the_groups(finished: Path) -> None:
    page = (finished / "out" / "report.html").read_text()
    assert 'id="targeted"' in page and "Effect of losing components before and after, mine, shift: early * " in page


def test_all_examples_rank_and_are_evaluated_where_nothing_is_held_out(tmp_path: Path) -> None:
    options: dict[str, object] = {**AIMED, "held_out": False, "random": 0, "layers": "late", "ablation": "mean"}
    path = write_study(tmp_path, interventions=[ATTRIBUTION, options])
    out = tmp_path / "out"
    assert run(path, out=out).failures == ()
    (description, found), *_ = cells(out, intervention="aimed", pair="shift", side="before")
    assert [len(group["components"]) for group in description["groups"]] == [1, 1]
    from mechshift_core.attribution import patch_nodes

    rows = lines(tmp_path)
    metric = np.zeros(len(rows))
    for group in by_length(rows):
        batch = batch_of([rows[number] for number in group])
        (early, _) = [one["components"][0] for one in description["groups"]]
        metric[group] = patch_nodes(model_of(tmp_path / "before"), batch, [early], ablation="mean")[0].numpy()
    np.testing.assert_allclose(found["metric"][0], metric[found["examples"]], atol=1e-4)
    assert set(table(out, "targeted").filter(pl.col("target"))["layers"]) == {"late"}


def test_more_components_than_there_are_is_refused_before_anything_runs(tmp_path: Path) -> None:
    path = write_study(tmp_path, interventions=[ATTRIBUTION, {**AIMED, "size": 6}])
    message = "'aimed' knocks out 6 components of the early layers, but 'before' has 5; use a smaller `size`"
    with pytest.raises(MechshiftError, match=message):
        run(path, out=tmp_path / "out")
    path = write_study(tmp_path, interventions=[ATTRIBUTION, {**AIMED, "layers": "middle"}])
    with pytest.raises(MechshiftError, match="the middle layers, but 'before' has 0"):
        run(path, out=tmp_path / "out")


def test_its_attribution_must_be_there_and_its_cost_is_counted(tmp_path: Path) -> None:
    with pytest.raises(MechshiftError, match="unknown intervention 'circiut'"):
        load_spec(write_study(tmp_path, interventions=[ATTRIBUTION, {**AIMED, "of": "circiut"}]))
    plan = make_plan(load_spec(write_study(tmp_path, interventions=[ATTRIBUTION, AIMED])))
    aimed = [cell for cell in plan.cells if cell.intervention == "aimed"]
    assert len(aimed) == 4 and cost([(plan, cell) for cell in aimed]).patched == 4 * 12 * (1 + 2 + 4)


@pytest.mark.parametrize(
    ("layers", "sizes"), [(1, [5]), (2, [5, 5]), (3, [5, 5, 5]), (4, [5, 10, 5]), (5, [10, 5, 10]), (6, [10, 10, 10])]
)
def test_thirds_of_the_layers_share_no_component_and_leave_none_out(layers: int, sizes: list[int]) -> None:
    shape = Shape(layers=layers, heads=4, key_value_heads=4, head_size=4, hidden_size=16)
    found = components_by_depth(shape)
    assert [len(names) for names in found.values()] == sizes
    assert [name for names in found.values() for name in names] == [s.name for s in Graph.of(shape).sources[1:]]
