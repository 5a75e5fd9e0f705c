"""Scores out of a run, and circuits scored: what the run itself has stored and measured is the reference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file
from studies import ATTRIBUTION, write_study

from mechshift_core import attribute_edges
from mechshift_core.attribution.selection import prune
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.execution.batches import to_batch
from mechshift_core.graph import Graph
from mechshift_core.interchange import (
    ScoredCircuit,
    circuit_of_run,
    read_circuit,
    read_for,
    score_circuit,
    with_circuit,
    write_circuit,
)
from mechshift_core.interchange.evaluated import metrics_of
from mechshift_core.models.ungroup import ungrouped
from mechshift_core.pipeline import run, stored_plan
from stats import faithfulness_curve
from stats.faithfulness_bootstrap import bootstrap_faithfulness

pytestmark = pytest.mark.long

CURVE: dict[str, object] = {
    "name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [5, 30, 100], "random": 0, "held_out": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    spec = write_study(folder, interventions=[ATTRIBUTION, CURVE], rule="none")
    write_last_token_pairs(folder / "pairs.jsonl")
    assert run(spec, out=folder / "out").failures == ()
    return folder


def write_last_token_pairs(path: Path, examples: int = 12) -> None:
    """Pairs that differ in the last token alone, always in the same way, so that the corruption has a steady effect."""
    rng = np.random.default_rng(3)
    rows = [
        {"clean_ids": [*start, 2], "corrupt_ids": [*start, 4], "answer_ids": 3, "foil_ids": 0}
        for start in rng.integers(7, 37, size=(examples, 4)).tolist()
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def stored_scores(out: Path, model: str) -> Any:
    plan = stored_plan(out)
    cells = plan.cells_of("circuit", model, "mine", budget="per_token")
    return np.concatenate([load_file(out / "cells" / cell.key / "tensors.safetensors")["scores"] for cell in cells])


def test_the_mean_is_that_of_the_stored_scores(study: Path) -> None:
    scores = stored_scores(study / "out", "after").astype(np.float64)
    signed = circuit_of_run(study / "out", task="mine", model="after")
    absolute = circuit_of_run(study / "out", task="mine", pair="shift", scores="absolute")
    assert signed.scores is not None and absolute.scores is not None
    np.testing.assert_allclose(signed.scores, scores.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(absolute.scores, np.abs(scores).mean(axis=0), rtol=1e-12)
    assert signed.about["scores"] == "signed mean over 12 prompts" and signed.member is None
    assert (absolute.about["model"], absolute.about["pair"], absolute.about["side"]) == ("after", "shift", "after")
    before = circuit_of_run(study / "out", task="mine", pair="shift", side="before")
    assert before.about["model"] == "before"


def test_a_circuit_is_the_strongest_edges(study: Path) -> None:
    found = circuit_of_run(study / "out", task="mine", model="before")
    assert found.scores is not None
    circuit = with_circuit(found, top=7)
    assert circuit.member is not None and circuit.member.sum() == 7
    assert np.abs(found.scores[circuit.member]).min() >= np.abs(found.scores[~circuit.member]).max()
    share = with_circuit(found, share=10, selection="greedy")
    assert share.member is not None and share.member.sum() == round(len(found.scores) / 10)
    assert share.about["circuit"] == f"{share.member.sum()} edges, selection greedy"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "mine"}, "expected a model or a pair, got neither"),
        ({"task": "mine", "model": "after", "pair": "shift"}, "expected a model or a pair, got both"),
        ({"task": "mime", "model": "after"}, "unknown task 'mime' (did you mean 'mine'?)"),
        ({"task": "mine", "model": "later"}, "unknown model 'later'"),
        ({"task": "mine", "pair": "shfit"}, "unknown pair 'shfit' (did you mean 'shift'?)"),
        ({"task": "mine", "model": "after", "budget": "7"}, "unknown budget '7'"),
        ({"task": "mine", "model": "after", "attribution": "curve"}, "unknown attribution 'curve'"),
        ({"task": "mine", "model": "after", "scores": "squared"}, "scores"),
    ],
)
def test_what_a_run_does_not_have_is_said(study: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        circuit_of_run(study / "out", **options)
    assert message in str(caught.value)


def test_sizes_out_of_range_are_refused(study: Path) -> None:
    found = circuit_of_run(study / "out", task="mine", model="after")
    for options, message in (
        ({}, "got neither"),
        ({"top": 1, "share": 1.0}, "got both"),
        ({"top": 10**6}, "expected a number of edges from 1 to"),
        ({"share": 101.0}, "above 0 and up to 100"),
    ):
        with pytest.raises(UsageError, match=message):
            with_circuit(found, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there are none"):
        with_circuit(ScoredCircuit(shape=found.shape, member=np.ones(len(found.graph.edges), dtype=bool)), top=3)


def test_faithfulness_is_what_the_run_measures(study: Path) -> None:
    """The same edges, prompts and formula, through a file and another way to read prompts."""
    table = pl.read_parquet(study / "out" / "tables" / "faithfulness.parquet")
    own = table.filter((pl.col("pair") == "shift") & (pl.col("side") == "before") & (pl.col("circuit") == "own"))
    write_circuit(circuit_of_run(study / "out", task="mine", model="before"), study / "scores.json", "json")
    model, dataset = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    scored = score_circuit(read_circuit(study / "scores.json"), model, dataset, sizes=(5, 30, 100), random=2)
    assert scored.circuit is None and scored.prompts == 12
    assert [one.edges for one in scored.curve] == own["edges"].to_list()
    for column in ("faithfulness", "low", "high"):
        value = "estimate" if column == "faithfulness" else column
        found = [getattr(one.faithfulness, value) for one in scored.curve]
        stored = own[column].to_list()
        assert [one is None for one in found] == [one is None for one in stored]
        assert [one or 0.0 for one in found] == pytest.approx([one or 0.0 for one in stored], rel=1e-4, abs=1e-6)
    findings = json.loads((study / "out" / "findings.json").read_text())
    for name in ("cpr", "cmd"):
        (stored,) = (
            row for row in findings["estimates"]
            if (row["measure"], row["side"], row["pair"]) == (name, "before", "shift")
        )  # fmt: skip
        measured = getattr(scored, name)
        assert measured.estimate == pytest.approx(stored["estimate"], rel=1e-4)
        assert len(measured.random) == 2


def test_a_circuit_of_eap_ig_scores_as_the_same_one_of_ours(study: Path) -> None:
    circuit = with_circuit(circuit_of_run(study / "out", task="mine", model="before"), share=20)
    assert circuit.shared
    model, dataset = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    write_circuit(circuit, study / "theirs.json", "eap-ig")
    ours = score_circuit(circuit, model, dataset, sizes=(), random=1)
    theirs = score_circuit(read_circuit(study / "theirs.json"), model, dataset, sizes=(), random=1)
    assert ours.circuit is not None and theirs.circuit is not None
    assert ours.circuit.faithfulness.estimate == pytest.approx(theirs.circuit.faithfulness.estimate, rel=1e-4)
    assert theirs.circuit.edges > ours.circuit.edges and theirs.edges > ours.edges
    assert ours.circuit.live_edges <= ours.circuit.edges and not ours.curve and ours.cpr is None


def test_scores_of_a_shared_head_are_the_sum_over_its_readers(study: Path) -> None:
    """What `together` and `apart` rest on, for the scores of EAP-IG."""
    model, dataset = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    batch = to_batch(model, dataset, dataset.examples)
    again, _ = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    whole = ungrouped(again)
    shared = attribute_edges(model, batch, method="eap").values.mean(0).numpy()
    of_heads = attribute_edges(whole, batch, method="eap").values.mean(0).numpy()
    together = ScoredCircuit(shape=whole.shape, scores=of_heads.astype(np.float64)).together(2)
    np.testing.assert_allclose(together.scores, shared, rtol=1e-3, atol=1e-6)


def test_circuits_of_other_graphs_are_refused(study: Path) -> None:
    model, dataset = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    with pytest.raises(UsageError, match=r"layers: 1 in the circuit, 2 in the model; heads: 2 in the circuit, 4"):
        score_circuit(read_circuit(Path(__file__).parents[1] / "data/interchange/eap-ig.json"), model, dataset)


def test_the_bootstrap_is_that_of_ratios_of_means() -> None:
    rng = np.random.default_rng(0)
    empty = rng.normal(size=60)
    full, circuits = empty + rng.normal(3, 1, size=60), empty + rng.normal([[0.5], [1.5], [2.8]], 1, size=(3, 60))
    fractions = [0.1, 0.5, 1.0]
    curve = faithfulness_curve(circuits, full=full, empty=empty, fractions=fractions)
    drawn = bootstrap_faithfulness(circuits, full=full, empty=empty, fractions=fractions, seed=1)
    for one, ends in zip(
        (*curve.faithfulness, curve.cpr, curve.cmd), (*drawn.faithfulness, drawn.cpr, drawn.cmd), strict=True
    ):
        assert ends is not None and one.low is not None and one.high is not None
        assert ends == pytest.approx((one.low, one.high), abs=0.03)
    few = bootstrap_faithfulness(circuits[:, :4], full=full[:4], empty=empty[:4])
    assert few.faithfulness == (None, None, None) and few.cpr is None
    flat = bootstrap_faithfulness(circuits, full=empty, empty=empty, fractions=fractions)
    assert flat.faithfulness == (None, None, None) and flat.cpr is None
    with pytest.raises(ValueError, match="expected 60 examples"):
        bootstrap_faithfulness(circuits, full=full[:3], empty=empty)


def test_the_commands_export_convert_show_and_score(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, data = str(study / "out"), str(study / "pairs.jsonl")
    assert main(["circuit", "export", out, "--task", "mine", "--model", "before", "--format", "mib", "--top", "9",
                 "--out", str(study / "importances.json"), "--json"]) == 0  # fmt: skip
    written = json.loads(capsys.readouterr().out)
    assert written["in_circuit"] == 9 and len(written["lossy"]) == 2 and "2 key/value heads" in written["lossy"][1]
    assert main(["circuit", "convert", str(study / "importances.json"), "--format", "graphml", "--share", "10",
                 "--out", str(study / "c.graphml")]) == 0  # fmt: skip
    assert main(["circuit", "show", str(study / "c.graphml"), "--top", "2"]) == 0
    shown = capsys.readouterr().out
    assert "2 layers, 4 heads; " in shown and "a circuit of" in shown
    line = ["score", str(study / "importances.json"), "--model", str(study / "before"), "--data", data]
    assert main([*line, "--random", "1", "--no-curve", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert scored["circuit"]["faithfulness"]["status"] == "ok" and scored["curve"] == [] and scored["cpr"] is None
    assert main([*line, "--examples", "10"]) == 0
    text = capsys.readouterr().out
    assert "faithfulness " in text and "CPR " in text and "bootstrap [" in text and "10 prompts" in text


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--task", "ioi", "--data", "x.jsonl"], 2, "expected a task or a data set, got both"),
        ([], 2, "expected a task or a data set, got neither"),
        (["--task", "io"], 2, "unknown task 'io' (did you mean 'ioi'?)"),
        (["--data", "none.jsonl"], 2, "none.jsonl cannot be read"),
        (["--task", "ioi"], 2, "is text, but model 'model' has no tokenizer"),
    ],
)
def test_what_can_not_be_scored_ends_with_its_exit_code(
    study: Path, options: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_circuit(circuit_of_run(study / "out", task="mine", model="before"), study / "s.json", "json")
    assert main(["score", str(study / "s.json"), "--model", str(study / "before"), *options]) == code
    assert message in capsys.readouterr().err


def test_an_undefined_faithfulness_is_exit_code_3(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prompts that differ behind what decides: to a model that sees only the token before, nothing is corrupted."""
    rows = [{"clean_ids": [4, 5, n], "corrupt_ids": [4, 6, n], "answer_ids": 1, "foil_ids": 2} for n in range(7, 13)]
    (study / "odd.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_circuit(circuit_of_run(study / "out", task="mine", model="before"), study / "s.json", "json")
    model, dataset = read_for(str(study / "before"), data=str(study / "odd.jsonl"))
    scored = score_circuit(read_circuit(study / "s.json"), model, dataset, random=0)
    code = main(["score", str(study / "s.json"), "--model", str(study / "before"), "--data", str(study / "odd.jsonl")])
    assert code == (3 if scored.undefined else 0)
    assert scored.undefined and "faithfulness is undefined" in capsys.readouterr().err


def test_cells_that_are_missing_are_named(study: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(study / "out", tmp_path / "out")
    for cell in stored_plan(tmp_path / "out").cells_of("circuit", "after", "mine", budget="per_token"):
        shutil.rmtree(tmp_path / "out" / "cells" / cell.key)
    with pytest.raises(ExecutionError, match="1 of 1 cells of 'circuit' of 'after' on 'mine' are not computed"):
        circuit_of_run(tmp_path / "out", task="mine", model="after")


def test_pruning_does_not_change_what_a_circuit_does_under_counterfactual_ablation(study: Path) -> None:
    """EAP-IG prunes before it runs a circuit; here it runs as it is."""
    circuit = with_circuit(circuit_of_run(study / "out", task="mine", model="before"), share=25)
    assert circuit.member is not None
    pruned = prune(circuit.graph, circuit.member)
    assert 0 < pruned.sum() < circuit.member.sum()
    model, dataset = read_for(str(study / "before"), data=str(study / "pairs.jsonl"))
    both = metrics_of(model, dataset, [circuit.member, pruned], ablation="counterfactual", seed=0)
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


def test_a_circuit_is_scored_on_prompts_of_a_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["Mary", "John", "Anna", "Tom", "Paul", "Lisa"]
    scene = "{} and {} went to the park . {} gave a book to"
    rows = [
        ",".join([scene.format(one, two, two), scene.format(one, two, one), one, two])
        for one in names
        for two in names
        if one != two
    ]
    (tmp_path / "prompts.csv").write_text("prompt,corrupted_prompt,answer,corrupted_answer\n" + "\n".join(rows) + "\n")
    model, dataset = read_for("bundled:tiny-s0/arm", data=str(tmp_path / "prompts.csv"))
    assert dataset.lines == len(rows) and len(dataset.examples) > 5
    whole = ScoredCircuit(shape=model.shape, member=np.ones(len(Graph.of(model.shape).edges), dtype=bool))
    write_circuit(whole, tmp_path / "whole.json", "json")
    line = ["score", str(tmp_path / "whole.json"), "--model", "bundled:tiny-s0/arm", "--random", "0", "--json"]
    main([*line, "--data", str(tmp_path / "prompts.csv")])
    scored = json.loads(capsys.readouterr().out)
    assert scored["prompts"] == len(dataset.examples) and scored["full"] == pytest.approx(scored["circuit"]["metric"])
