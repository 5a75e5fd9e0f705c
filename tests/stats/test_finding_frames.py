"""Findings and estimates as frames: a row each, every field, and numbers of units as columns."""

from __future__ import annotations

from dataclasses import fields, replace

import polars as pl
import pytest

from stats.findings import Estimate, Finding, Findings, Verdict


def finding(name: str, verdict: Verdict, **changes: object) -> Finding:
    made = Finding(
        id=name, claim=f"claim {name}", measure="retention", estimand="what", test="difference", alternative="less",
        margin=None, estimate=-0.5, se=0.1, low=-0.7, high=-0.3, confidence=0.95, statistic=-5.0, df=10.0, p=0.001,
        p_corrected=0.002, correction="holm", family_size=2, n={"prompt": 40, "task": 2}, method="bootstrap", seed=3,
        verdict=verdict, status="ok",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


ESTIMATE = Estimate(
    pair="p", role="treatment", seed=None, task="ioi", regime="local", measure="retention", side="between",
    estimate=0.4, low=None, high=None, confidence=0.95, n={"prompt": 40}, method="halves", status="points only",
    reference={"null": 0.1, "noise ceiling": None},
)  # fmt: skip
FINDINGS = Findings(
    name="study",
    hypotheses=(
        finding("a", "supported"),
        finding("b", "not estimable", estimate=None, p=None, n={"prompt": 12, "seed": 3}, seed=2**60),
    ),
    estimates=(ESTIMATE,),
)


def test_a_hypothesis_is_a_row() -> None:
    frame = FINDINGS.to_frame()
    assert frame["id"].to_list() == ["a", "b"]
    assert frame.select("claim", "estimate", "low", "high", "p", "p_corrected", "verdict").row(0) == (
        "claim a", -0.5, -0.7, -0.3, 0.001, 0.002, "supported",
    )  # fmt: skip
    assert frame.select("n_prompt", "n_task", "n_seed").rows() == [(40, 2, None), (12, None, 3)]
    assert frame["estimate"].to_list() == [-0.5, None]
    assert frame["seed"].to_list() == [3, 2**60]
    plain = {field.name for field in fields(Finding)} - {"n", "terms", "parts", "groups"}
    assert plain <= set(frame.columns), "every field but lists has its column"
    assert frame.schema["margin"] == pl.Float64 and frame.schema["family_size"] == pl.Int64


def test_an_estimate_is_a_row() -> None:
    frame = FINDINGS.to_frame("estimates")
    row = frame.row(0, named=True)
    assert (row["pair"], row["seed"], row["estimate"], row["low"], row["n_prompt"]) == ("p", None, 0.4, None, 40)
    assert (row["reference_null"], row["reference_noise_ceiling"]) == (0.1, None)


def test_no_findings_are_an_empty_frame_with_columns() -> None:
    frame = Findings(name="none", hypotheses=(), estimates=()).to_frame()
    assert frame.height == 0 and {"id", "verdict", "estimate"} <= set(frame.columns)


def test_other_words_are_refused() -> None:
    with pytest.raises(ValueError, match="of: expected 'hypotheses' or 'estimates', got 'verdicts'"):
        FINDINGS.to_frame("verdicts")  # type: ignore[arg-type]


def test_findings_are_one_line() -> None:
    assert repr(FINDINGS) == "Findings('study': 2 hypotheses (1 supported, 1 not estimable), 1 estimate)"
