"""The box under the title: claims, their witnesses, when and on what it ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import finding

from reports import ReportData
from reports.sections import answer
from stats.findings import Finding, Findings


def witness(name: str, verdict: str, *, of: str = "kept", measure: str = "similarity") -> Finding:
    return replace(finding(measure=measure), id=name, verdict=verdict, witness_of=of)  # type: ignore[arg-type]


def test_a_claim_says_how_many_of_its_witnesses_agree() -> None:
    claim = replace(finding(measure="retention"), id="kept", verdict="refuted")
    alone = (claim, replace(claim, id="other"))
    assert answer.witnesses(claim, alone) == ""
    one = (claim, witness("similar", "refuted"))
    assert answer.witnesses(claim, one) == "Its other witness agrees: similarity of mean scores (similar): refuted."
    two = (*one, witness("nodes", "inconclusive", measure="node_retention"), witness("else", "refuted", of="other"))
    assert answer.witnesses(claim, two) == (
        "1 of its 2 other witnesses agree: similarity of mean scores (similar): refuted and node retention index "
        "(nodes): inconclusive."
    )


def test_witnesses_are_no_answers_of_their_own() -> None:
    claims = [replace(finding(measure="retention"), id=f"claim-{n}", claim=f"Claim {n}.") for n in range(5)]
    all_of_them = (claims[0], witness("similar", "refuted", of="claim-0"), *claims[1:])
    data = ReportData(
        title="t", name="n", version="1", findings=Findings(name="n", hypotheses=all_of_them, estimates=())
    )
    section = answer.section(data)
    assert section is not None
    body = str(section.body)
    assert [f"Claim {n}." in body for n in range(5)] == [True, True, True, False, False]
    assert "similarity of mean scores (similar): refuted" in body
    further = body[body.index("Further claims") :]
    assert "claim-3" in further and "claim-4" in further and "similar" not in further


@pytest.mark.parametrize(
    ("day", "seconds", "machine", "said"),
    [
        ("", None, {}, ""),
        ("2026-11-30", None, {}, "On 2026-11-30."),
        ("", 0.2, {}, "In less than a second of model time."),
        (
            "2026-11-30",
            12_020.0,
            {"cells_ran_on": ["cpu", "cuda"], "system": "Linux", "processor": "x86_64"},
            "On 2026-11-30, in 3 h 20 min of model time, on cpu and cuda (Linux x86_64).",
        ),
    ],
)
def test_the_box_says_when_and_on_what_it_was_computed(
    day: str, seconds: float | None, machine: dict[str, object], said: str
) -> None:
    data = ReportData(
        title="t",
        name="n",
        version="1",
        findings=Findings(name="n", hypotheses=(finding(measure="retention"),), estimates=()),
        provenance={"machine": machine},
        day=day,
        seconds=seconds,
    )
    assert answer.computed(data) == said
