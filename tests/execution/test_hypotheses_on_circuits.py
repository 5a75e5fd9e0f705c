"""Hypotheses on overlap, transfer and faithfulness, held against the stored metrics and the prompts one by one."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import batch_of, by_length, cells, lines, model_of, table, write_effective_study
from ruamel.yaml import YAML
from scipy import stats as scipy_stats
from studies import ATTRIBUTION

from mechshift_core import run
from mechshift_core.attribution import evaluate_circuits
from mechshift_core.graph import Graph
from mechshift_core.pipeline import Run
from stats import faithfulness_curve, transfer_ratio
from stats.faithfulness import RatioEstimate
from stats.findings import Finding

pytestmark = pytest.mark.long

SIZES = [20.0, 60.0]
CIRCUITS: list[dict[str, object]] = [
    ATTRIBUTION,
    {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": SIZES, "random": 0},
    {"name": "carried", "kind": "circuit_transfer", "of": "circuit", "size": 85},
]
ABOVE = {"kind": "bound", "bound": 0.1, "alternative": "greater"}
CONTRAST = {"role": ["treatment", "control"]}
HYPOTHESES: list[dict[str, object]] = [
    {"id": "kept", "measure": "transfer", "where": {"pair": "control"}, "test": ABOVE},
    {"id": "carried", "measure": "transfer", "contrast": CONTRAST, "test": {"kind": "difference"}},
    {"id": "faithful", "measure": "faithfulness", "contrast": CONTRAST, "test": {"kind": "difference"}},
    {"id": "overlapping", "measure": "overlap", "contrast": CONTRAST, "test": {"kind": "difference"}},
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of random models on prompts whose corruption lowers the metric of all; each gets some of them wrong."""
    folder = tmp_path_factory.mktemp("circuits")
    path = write_effective_study(folder, examples=100, interventions=CIRCUITS, hypotheses=HYPOTHESES)
    rows = [{**row, "answer_ids": list(range(30)), "foil_ids": list(range(30, 40))} for row in lines(folder)]
    names = ("before", "after", "continued")
    rows = [
        rows[number] for number in np.flatnonzero(np.all([_effects(folder / name, rows) > 0 for name in names], axis=0))
    ]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["tasks"][0]["examples"] = len(rows)
    with path.open("w") as handle:
        yaml.dump(content, handle)
    made = run(path, out=folder / "out")
    assert made.failures == ()
    return made


def _effects(folder: Path, rows: list[dict[str, Any]]) -> np.ndarray:  # type: ignore[type-arg]
    """What the corruption costs on each prompt."""
    model, effects = model_of(folder), np.empty(len(rows))
    for numbers in by_length(rows):
        batch = batch_of([rows[number] for number in numbers])
        clean, corrupt = evaluate_circuits(model, batch, [list(Graph.of(model.shape).edges), []])
        effects[numbers] = (clean - corrupt).numpy()
    return effects


def found(finished: Run, name: str) -> Finding:
    return next(finding for finding in finished.findings.hypotheses if finding.id == name)


def by_example(finished: Run, intervention: str, pair: str, side: str) -> tuple[list[int], RatioEstimate]:
    """Examples of the cell, and the ratio that the measure takes from it."""
    ((description, stored),) = cells(finished.path, intervention=intervention, pair=pair, side=side)
    full, empty = stored["clean_metric"], stored["empty_metric"]
    if intervention == "curve":
        edges = [circuit["edges"] for circuit in description["circuits"]]
        curve = faithfulness_curve(stored["metric"], full=full, empty=empty, fractions=np.array(edges) / 82)
        return stored["examples"].tolist(), curve.cpr
    row = {circuit["origin"]: number for number, circuit in enumerate(description["circuits"])}
    own, partner = stored["metric"][row["own"]], stored["metric"][row["partner"]]
    return stored["examples"].tolist(), transfer_ratio(own, partner, full=full, empty=empty).ratio


def contrast(finished: Run, intervention: str, parts: list[tuple[float, str, str]]) -> tuple[float, float]:
    """Estimate and standard error of a weighted sum of ratios, from the errors of each example."""
    estimate, errors = 0.0, defaultdict(float)
    for weight, pair, side in parts:
        examples, ratio = by_example(finished, intervention, pair, side)
        assert ratio.estimate is not None and ratio.influence is not None
        estimate += weight * ratio.estimate
        for example, error in zip(examples, ratio.influence, strict=True):
            errors[example] += weight * error
    return estimate, float(np.sqrt(sum(error**2 for error in errors.values())))


def test_pairs_share_some_of_their_examples_only(finished: Run) -> None:
    sets = [set(by_example(finished, "carried", pair, "after")[0]) for pair in ("shift", "control")]
    assert sets[0] != sets[1] and len(sets[0] & sets[1]) > 5


def test_transfer_is_the_ratio_of_the_model_after_under_the_circuit_of_the_model_before(finished: Run) -> None:
    finding = found(finished, "kept")
    examples, ratio = by_example(finished, "carried", "control", "after")
    assert (finding.estimate, finding.se) == pytest.approx((ratio.estimate, ratio.se))
    assert (finding.low, finding.high) == pytest.approx((ratio.low, ratio.high))
    assert (finding.df, finding.n["prompt"], finding.null) == (len(examples) - 1, len(examples), 0.1)
    assert "under the circuit of the model before" in finding.estimand


@pytest.mark.parametrize(
    ("name", "intervention", "parts"),
    [
        ("carried", "carried", [(1, "shift", "after"), (-1, "control", "after")]),
        (
            "faithful",
            "curve",
            [(1, "shift", "after"), (-1, "shift", "before"), (-1, "control", "after"), (1, "control", "before")],
        ),
    ],
)
def test_contrasts_pair_up_the_examples_that_pairs_share(
    name: str, intervention: str, parts: list[tuple[float, str, str]], finished: Run
) -> None:
    finding = found(finished, name)
    estimate, se = contrast(finished, intervention, parts)
    assert (finding.estimate, finding.se) == pytest.approx((estimate, se))
    smallest = min(len(by_example(finished, intervention, pair, "after")[0]) for pair in ("shift", "control"))
    assert finding.df == smallest - 1
    assert finding.p == pytest.approx(2 * scipy_stats.t.sf(abs(estimate) / se, smallest - 1))
    independent = np.sqrt(sum((by_example(finished, intervention, *part[1:])[1].se or 0) ** 2 for part in parts))
    assert se != pytest.approx(independent, rel=0.01)


def test_the_shift_of_the_performance_ratio_stands_beside_the_ratio_of_each_model(finished: Run) -> None:
    values = {one.side: one for one in finished.findings.estimates if (one.pair, one.measure) == ("shift", "cpr")}
    assert values["shift"].estimate == pytest.approx(values["after"].estimate - values["before"].estimate)  # type: ignore[operator]
    estimate, se = contrast(finished, "curve", [(1, "shift", "after"), (-1, "shift", "before")])
    quantile = scipy_stats.t.ppf(0.975, values["shift"].n["prompt"] - 1)
    assert values["shift"].high == pytest.approx(estimate + quantile * se)


def test_overlap_is_the_jaccard_of_the_table_averaged_over_the_sizes(finished: Run) -> None:
    rows = table(finished.path, "overlap").filter(pl.col("measure") == "jaccard")
    means = dict(rows.group_by("pair").agg(pl.col("between").mean()).rows())
    finding = found(finished, "overlapping")
    assert finding.estimate == pytest.approx(means["shift"] - means["control"])
    assert {term.pair: term.estimate for term in finding.terms} == pytest.approx(means)
    assert finding.se is not None and finding.se > 0 and finding.status == "ok"
    assert (rows["between_low"] < rows["between"]).all() and (rows["between"] < rows["between_high"]).all()


def test_the_table_has_the_measures_without_a_threshold_beside_the_sizes(finished: Run) -> None:
    from stats import rank_overlap, weighted_jaccard

    rows = table(finished.path, "overlap").filter((pl.col("pair") == "shift") & (pl.col("measure") != "jaccard"))
    assert rows["measure"].to_list() == ["weighted_jaccard", "spearman", "cosine"] and rows["k"].is_null().all()
    edges = table(finished.path, "edges").filter(pl.col("pair") == "shift")
    before, after = (edges.filter(pl.col("side") == side)["score"].to_numpy() for side in ("before", "after"))
    ranks = rank_overlap(before, after)
    expected = [float(weighted_jaccard(before, after)), ranks.spearman, ranks.cosine]
    assert rows["full"].to_list() == pytest.approx(expected, abs=1e-4)
    assert (rows["between_low"] < rows["between"]).all()
    named = [one.measure for one in finished.findings.estimates if (one.pair, one.side) == ("shift", "between")]
    kept = ["retention", "overlap", "node_retention", "node_overlap"]
    assert named == ["similarity", *kept, "weighted_jaccard", "spearman", "cosine"]


def test_the_report_says_what_was_tested(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert 'id="figure-agreement"' in page
    for text in ("above 0.1?", "functional transfer ratio", "shift of the circuit performance ratio (CPR)"):
        assert text in page
    assert "noise in the scores lowers it" in page


def test_without_an_effect_of_the_corruption_a_hypothesis_on_transfer_is_not_estimable(tmp_path: Path) -> None:
    path = write_effective_study(tmp_path, examples=8, interventions=CIRCUITS, hypotheses=HYPOTHESES[1:3])
    rows = lines(tmp_path)
    for row in rows[::2]:  # the effects cancel out
        row["clean_ids"], row["corrupt_ids"] = row["corrupt_ids"], row["clean_ids"]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    made = run(path, out=tmp_path / "out")
    for finding in made.findings.hypotheses:
        assert (finding.verdict, finding.status, finding.estimate) == ("not estimable", "undefined", None)
        assert "after: the effect of the corruption" in finding.message or "need at least" in finding.message
