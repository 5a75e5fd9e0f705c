"""Neurons in a run: held-out scores against the components' own function, and what is said of the strongest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from studies import ATTRIBUTION, write_study

from mechshift_core import CounterfactualBatch, load_model, load_spec, run
from mechshift_core.interventions.neurons.scores import neuron_scores
from mechshift_core.pipeline import Run

pytestmark = pytest.mark.long

LISTED = 5
EXAMPLES = 16


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("neurons")
    neurons = {"name": "neurons", "kind": "neurons", "strongest": LISTED}
    path = write_study(folder, examples=EXAMPLES, interventions=[ATTRIBUTION, neurons], hypotheses=[], rule="none")
    return run(load_spec(path), out=folder / "out")


@pytest.fixture(scope="module")
def rows(finished: Run) -> pl.DataFrame:
    return pl.read_parquet(finished.path / "tables" / "neurons.parquet").filter(pl.col("pair") == "shift")


@pytest.fixture(scope="module")
def scores(finished: Run) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Score of every neuron of both models on every prompt, read one prompt at a time."""
    folder = finished.path.parent
    prompts = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    found = {}
    for side in ("before", "after"):
        model = load_model(folder / side)
        each = [
            neuron_scores(
                model,
                CounterfactualBatch(
                    clean_ids=[one["clean_ids"]],
                    corrupt_ids=[one["corrupt_ids"]],
                    answer_ids=[one["answer_ids"]],
                    foil_ids=[one["foil_ids"]],
                ),
            ).values.numpy()[0]
            for one in prompts
        ]
        found[side] = np.stack(each).astype(np.float64)
    return found


def test_each_side_lists_its_strongest_with_the_score_of_the_other_half(
    rows: pl.DataFrame,
    scores: dict[str, np.ndarray],  # type: ignore[type-arg]
) -> None:
    for side in ("before", "after"):
        own, other = scores[side], scores["after" if side == "before" else "before"]
        listed = rows.filter(pl.col("side") == side).sort("rank").to_dicts()
        assert [row["rank"] for row in listed] == [*range(1, LISTED + 1)]
        assert {row["n"] for row in listed} == {EXAMPLES // 2}
        # The halves are not known here, but scores of both halves average to that of all.
        for row in listed:
            every = own[:, row["layer"], row["neuron"]]
            assert row["low"] <= row["score"] <= row["high"]
            subsets = np.sort(every)
            assert subsets[: EXAMPLES // 2].mean() - 1e-5 <= row["score"] <= subsets[EXAMPLES // 2 :].mean() + 1e-5
            partner = np.sort(other[:, row["layer"], row["neuron"]])
            assert partner[: EXAMPLES // 2].mean() - 1e-5 <= row["partner"] <= partner[EXAMPLES // 2 :].mean() + 1e-5


def test_the_choice_is_of_the_half_that_does_not_score(
    finished: Run,
    rows: pl.DataFrame,
    scores: dict[str, np.ndarray],  # type: ignore[type-arg]
) -> None:
    """With the scores of the other half taken out of the total, those listed are the largest of what is left."""
    own = scores["before"].reshape(EXAMPLES, -1)
    listed = rows.filter(pl.col("side") == "before").sort("rank")
    width = scores["before"].shape[2]
    places = listed["layer"].to_numpy() * width + listed["neuron"].to_numpy()
    choosing = np.abs(own.sum(axis=0)[places] - listed["score"].to_numpy() * (EXAMPLES // 2))
    assert (np.diff(choosing) <= 1e-4).all()
    (overlap,) = (e for e in finished.findings.estimates if e.measure == "neuron_overlap" and e.pair == "shift")
    sets = [
        {(row["layer"], row["neuron"]) for row in rows.filter(pl.col("side") == side).to_dicts()}
        for side in ("before", "after")
    ]
    assert overlap.estimate == len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert 0 < (overlap.reference["chance"] or 0) < 0.2


def test_p_values_are_corrected_and_tokens_are_said(rows: pl.DataFrame) -> None:
    assert rows["p_corrected"].null_count() == 0
    assert rows["tokens"].str.contains(r"^#\d+ \(\d+ of 10\)").all()
    assert rows["selectivity"].null_count() == rows.height  # every prompt has all the answers: none to prefer


def test_the_report_lists_them(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="neurons"' in page and "Strongest neurons that both models share" in page


def test_one_more_listed_computes_nothing(finished: Run) -> None:
    folder: Path = finished.path.parent
    path = folder / "study.yaml"
    path.write_text(path.read_text().replace(f"strongest: {LISTED}", f"strongest: {LISTED + 1}"))
    assert run(load_spec(path), out=folder / "out").computed == 0
