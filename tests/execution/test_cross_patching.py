"""Cross-model patching in a run: planted answers, the cells held against single prompts, hypotheses and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from intervention_study import batch_of, cells, lines, model_of, table
from pairs_study import masked_model, write_pairs_study
from random_models import write_random_model
from ruamel.yaml import YAML

from mechshift_core import run
from mechshift_core.attribution import cross_patch, moved_names
from mechshift_core.errors import MechshiftError
from mechshift_core.pipeline import Run
from stats import pooled_use, transfer_ratio

pytestmark = pytest.mark.long

CROSSED: dict[str, object] = {
    "name": "crossed",
    "kind": "cross_patching",
    "components": ["heads", "attention", "mlps", "residual"],
    "positions": "roles",
}
CONTRAST = {"role": ["treatment", "control"]}
HYPOTHESES: list[dict[str, object]] = [
    {
        "id": "same",
        "measure": "cross_patching_use",
        "where": {"pair": "copy"},
        "test": {"kind": "equivalence", "to": "ceiling", "margin": 0.1},
    },
    {"id": "less", "measure": "cross_patching_use", "contrast": CONTRAST, "test": {"kind": "difference"}},
    {"id": "dearer", "measure": "cross_patching_cost", "contrast": CONTRAST, "test": {"kind": "difference"}},
    {
        "id": "floor",
        "measure": "cross_patching_use",
        "where": {"role": "unrelated"},
        "test": {"kind": "bound", "bound": 0.3, "alternative": "less"},
    },
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("crossed")
    path = write_pairs_study(folder, [CROSSED], examples=20, diffusion=True, hypotheses=HYPOTHESES)
    made = run(path, out=folder / "out")
    assert made.failures == ()
    return made


@pytest.fixture(scope="module")
def rows(finished: Run) -> pl.DataFrame:
    return table(finished.path, "cross_patching")


def test_a_copy_s_activations_serve_wholly_and_cost_nothing(rows: pl.DataFrame) -> None:
    own = rows.filter((pl.col("pair") == "copy") & pl.col("use").is_not_null())
    assert own.height > 60
    assert own["use"].to_numpy() == pytest.approx(np.ones(own.height), abs=1e-5)
    assert own["cost"].to_numpy() == pytest.approx(np.zeros(own.height), abs=1e-5)


def test_a_permuted_twin_serves_by_layers_and_streams_and_not_head_by_head(rows: pl.DataFrame) -> None:
    own = rows.filter((pl.col("pair") == "permuted") & (pl.col("side") == "before") & pl.col("token_role").is_null())
    by_kind = {row["component"]: row for row in own.rows(named=True) if row["kind"] == "pooled"}
    for kind in ("attention", "mlps", "residual"):
        assert (by_kind[kind]["use"], by_kind[kind]["cost"]) == pytest.approx((1, 0), abs=1e-4)
    assert by_kind["heads"]["use"] < 0.5 and by_kind["heads"]["cost"] > 0.1
    heads = own.filter(pl.col("kind") == "head")
    assert float((heads["restored_cross"] - heads["restored_own"]).abs().max()) > 0.05  # type: ignore[arg-type]


def test_unrelated_models_use_little_of_each_other(finished: Run, rows: pl.DataFrame) -> None:
    own = rows.filter((pl.col("pair") == "apart") & (pl.col("component") == "counted") & pl.col("token_role").is_null())
    assert own.height == 2
    assert all(abs(use) < 0.2 for use in own["use"].to_list())
    estimates = {
        (one.pair, one.side): one for one in finished.findings.estimates if one.measure == "cross_patching_use"
    }
    assert sorted(estimates["apart", side].estimate or 0.0 for side in ("before", "after")) == pytest.approx(
        sorted(own["use"].to_list())
    )
    between = estimates["apart", "between"]
    assert (between.estimate, between.status) == (None, "undefined")


def test_cells_are_what_single_prompts_give_for_both_kinds_of_models(finished: Run) -> None:
    """The masked diffusion model reads a mask that the other does not have: only the prompt is patched."""
    folder = finished.path.parent
    before, after = model_of(folder / "before"), masked_model(folder / "after")
    nodes = moved_names(before.shape, ("heads", "attention", "mlps", "residual"))
    for side, model, donor in (("before", before, after), ("after", after, before)):
        ((description, stored),) = cells(finished.path, intervention="crossed", pair="shift", side=side)
        assert description["components"] == nodes
        for place, number in list(enumerate(stored["examples"].tolist()))[:4]:
            row = lines(folder)[number]
            length = len(row["clean_ids"])

            def read(given: Any, row: dict[str, Any] = row, length: int = length) -> Any:
                masks = [39] if given is after else []
                both = {name: [*row[name], *masks] for name in ("clean_ids", "corrupt_ids")}
                return batch_of([{**row, **both}]), length

            batch, other = read(model)[0], read(donor)[0]
            columns = torch.arange(batch.clean_ids.shape[1])[None].clone()
            columns[:, length:] = -1
            assert stored["shared"][place] == pytest.approx(length / batch.clean_ids.shape[1])
            at = {"position": length - 1}
            batch, other = (type(one)(**{**fields(one), **at}) for one in (batch, other))
            runs = [[node] for node in nodes]
            for name, given, of, into in (
                ("own", model, "clean", "corrupted"),
                ("cross", donor, "clean", "corrupted"),
                ("floor", donor, "corrupted", "corrupted"),
                ("kept", donor, "clean", "clean"),
            ):
                found = cross_patch(
                    model,
                    given,
                    batch,
                    runs,
                    donor_batch=batch if given is model else other,
                    columns=columns,
                    given=of,  # type: ignore[arg-type]
                    into=into,  # type: ignore[arg-type]
                )[:, 0]
                assert stored[name][0][:, place] == pytest.approx(found.numpy(), abs=2e-5)


def fields(batch: Any) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in ("clean_ids", "corrupt_ids", "answer_ids", "foil_ids", "metric")}


def test_roles_part_the_positions(finished: Run) -> None:
    """What is patched at a role is what a mask of its positions gives."""
    folder = finished.path.parent
    model, donor = model_of(folder / "before"), model_of(folder / "continued")
    ((description, stored),) = cells(finished.path, intervention="crossed", pair="control", side="before")
    role = description["roles"].index("subject")
    for place, number in list(enumerate(stored["examples"].tolist()))[:3]:
        row = lines(folder)[number]
        where = torch.tensor([[one == "subject" for one in row["roles"]]]).expand(2, -1)
        found = cross_patch(model, donor, batch_of([row]), [["m0"], ["x1"]], positions=where)[:, 0]
        numbers = [description["components"].index(name) for name in ("m0", "x1")]
        assert stored["cross"][1 + role][numbers, place] == pytest.approx(found.numpy(), abs=2e-5)


def test_rows_and_estimates_are_the_statistics_of_the_cells(finished: Run, rows: pl.DataFrame) -> None:
    ((description, stored),) = cells(finished.path, intervention="crossed", pair="shift", side="after")
    own, cross, floor, kept = (stored[name][0].astype(float) for name in ("own", "cross", "floor", "kept"))
    clean, corrupt = stored["clean_metric"].astype(float), stored["corrupt_metric"].astype(float)
    of_side = rows.filter((pl.col("pair") == "shift") & (pl.col("side") == "after") & pl.col("token_role").is_null())
    stream = of_side.row(by_predicate=pl.col("component") == "x1", named=True)
    number = description["components"].index("x1")
    brought = corrupt + cross - floor
    expected = transfer_ratio(own[number], brought[number], full=clean, empty=corrupt).ratio
    assert (stream["use"], stream["use_low"]) == pytest.approx((expected.estimate, expected.low))
    counted = [at for at, name in enumerate(description["components"]) if name[0] == "m" or ".h" in name]
    pooled = pooled_use((cross - floor)[counted], own[counted] - corrupt)
    row = of_side.row(by_predicate=pl.col("component") == "counted", named=True)
    assert (row["use"], row["use_high"]) == pytest.approx((pooled.estimate, pooled.high))
    cost = 1 - (kept[counted].mean(0) - corrupt).mean() / (clean - corrupt).mean()
    assert row["cost"] == pytest.approx(cost)
    assert (row["donor"], row["model"], row["n"]) == ("before", "after", 20)


def test_hypotheses_are_tested_on_the_geometric_mean_of_both_directions(finished: Run) -> None:
    found = {finding.id: finding for finding in finished.findings.hypotheses}
    assert found["same"].estimate == pytest.approx(0, abs=1e-5)
    ones = {(one.pair, one.side): one for one in finished.findings.estimates if one.measure == "cross_patching_use"}
    defined = []
    for pair in ("shift", "control", "copy", "permuted", "apart"):
        both, between = [ones[pair, side] for side in ("before", "after")], ones[pair, "between"]
        if all((one.estimate or 0) > 0 and (one.low is None or one.low > 0) for one in both):
            assert between.estimate == pytest.approx(np.sqrt(np.prod([one.estimate for one in both])))
            defined.append(pair)
        else:
            assert (between.estimate, between.status) == (None, "undefined")
            assert "does not clear 0" in between.message and "`into: before`" in between.message
    assert "copy" in defined and "apart" not in defined
    expected = "ok" if {"shift", "control", "permuted"} <= set(defined) else "undefined"
    assert found["less"].status == expected
    assert found["dearer"].status == "ok"
    assert found["floor"].status == "undefined" and "does not clear 0" in found["floor"].message


def test_into_chooses_the_direction_and_touches_no_cell(finished: Run, tmp_path: Path) -> None:
    folder = finished.path.parent
    yaml = YAML()
    content = yaml.load((folder / "study.yaml").read_text())
    content["interventions"][1]["into"] = "after"
    with (folder / "into.yaml").open("w") as handle:
        yaml.dump(content, handle)
    out = tmp_path / "out"
    shutil.copytree(finished.path, out)
    again = run(folder / "into.yaml", out=out)
    assert {path.name for path in (out / "cells").iterdir()} == {
        path.name for path in (finished.path / "cells").iterdir()
    }
    uses = {(one.pair, one.side): one for one in again.findings.estimates if one.measure == "cross_patching_use"}
    assert uses["shift", "between"].estimate == uses["shift", "after"].estimate
    hypotheses = {one.id: one for one in again.findings.hypotheses}
    controls = np.mean([uses[pair, "between"].estimate for pair in ("control", "copy", "permuted")])
    assert hypotheses["less"].estimate == pytest.approx(uses["shift", "between"].estimate - controls)
    assert hypotheses["less"].se is not None and hypotheses["less"].se > 0
    assert hypotheses["floor"].verdict == "supported"


def test_models_of_other_graphs_are_refused(tmp_path: Path) -> None:
    path = write_pairs_study(tmp_path, [CROSSED], examples=4)
    shutil.rmtree(tmp_path / "continued")
    write_random_model("qwen2", tmp_path / "continued", layers=3)
    with pytest.raises(MechshiftError, match="have different graphs"):
        run(path, out=tmp_path / "out")
