"""The box under the title: claims, their witnesses, when and on what it ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import finding

from reports import ReportData
from reports.sections import answer, robustness
from reports.sections import verdicts as verdicts_section
from stats.findings import Alternative, Finding, Findings


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


@pytest.mark.parametrize("verdict", ["inconclusive", "not estimable"])
def test_of_a_claim_that_is_open_witnesses_do_not_agree_but_support_or_refute(verdict: str) -> None:
    claim = replace(finding(measure="retention"), id="kept", verdict=verdict)
    one, two, none = witness("a", "supported"), witness("b", "supported"), witness("c", "inconclusive")
    assert answer.witnesses(claim, (claim, one, none)).startswith("Of 2 other witnesses, 1 supports it: ")
    assert answer.witnesses(claim, (claim, one, two)).startswith("Of 2 other witnesses, 2 support it: ")
    other = witness("d", "refuted")
    assert answer.witnesses(claim, (claim, one, two, other)).startswith(
        "Of 3 other witnesses, 2 support it and 1 refutes it: "
    )
    assert answer.witnesses(claim, (claim, none)).startswith("Of 1 other witness, none shows anything: ")


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


def tried(measure: str, verdicts: dict[str, str]) -> ReportData:
    """A study of two claims, on a measure and on the early share, with verdicts of the first by other choice."""
    own = replace(finding(measure=measure), id="one", verdict="supported")
    other = replace(finding(measure="early_share"), id="two", verdict="supported")
    alternatives = tuple(
        Alternative(
            choice=choice,
            value="x",
            hypotheses=(replace(own, verdict=verdict), other),
            estimates=(),  # type: ignore[arg-type]
        )
        for choice, verdict in verdicts.items()
    )
    found = Findings(name="n", hypotheses=(own, other), estimates=(), alternatives=alternatives)
    concerned = {"top_k": ("retention",), "location": ("early_share",)}
    return ReportData(title="t", name="n", version="1", findings=found, concerned=concerned)


@pytest.mark.parametrize(
    ("verdicts", "one", "two", "robust"),
    [
        (
            {"top_k": "supported"},
            "same under 1 of 1 other choice",
            "no other choice was tried",
            "1 of 1 verdict is the same under 1 other choice. On 1 verdict no other choice was tried.",
        ),
        (
            {"top_k": "refuted", "steps": "supported"},
            "same under 1 of 2 other choices",
            "same under 1 of 1 other choice",
            "1 of 2 verdicts is the same under the 1 to 2 other choices tried on each.",
        ),
        (
            {"location": "refuted"},  # it can't change the first, whatever it says
            "no other choice was tried",
            "same under 1 of 1 other choice",
            "1 of 1 verdict is the same under 1 other choice. On 1 verdict no other choice was tried.",
        ),
        ({}, "", "", ""),
    ],
)
def test_only_choices_that_can_change_a_measure_are_counted(
    verdicts: dict[str, str], one: str, two: str, robust: str
) -> None:
    data = tried("retention", verdicts)
    assert [robustness.said_same(data, found) for found in data.findings.hypotheses] == [one, two]
    body = str(verdicts_section.section(data).body)
    assert all(f'<span class="same">{said}</span>' in body for said in (one, two) if said)
    assert ('class="same"' in body) == bool(verdicts)
    shown = answer.section(data)
    assert shown is not None and robust in str(shown.body)


def test_a_claim_of_budgets_has_them_whatever_is_read_first() -> None:
    data = tried("retention", {"denoising": "refuted"})
    own, _ = data.findings.hypotheses
    assert robustness.said_same(data, own) == "same under 0 of 1 other choice"
    at = replace(own, groups=tuple(replace(group, budget="step 1 of 4") for group in own.groups))
    assert own.groups and robustness.said_same(data, at) == "no other choice was tried"
