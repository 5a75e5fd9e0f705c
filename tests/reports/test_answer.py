"""The box under the title: claims, their witnesses, when and on what it ran."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import finding

from reports import MethodsFacts, PairFacts, ReportData, TaskCount, Words
from reports.sections import answer, robustness
from reports.sections import verdicts as verdicts_section
from stats.findings import Alternative, Finding, Findings, Term


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
    assert answer.witnesses(claim, (claim, none)).startswith("Its other witness shows nothing about it: ")
    assert answer.witnesses(claim, (claim, one)).startswith("Its other witness supports it: ")


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


def term(pair: str, role: str, seed: int, task: str, n: int) -> Term:
    return Term(pair=pair, role=role, seed=seed, task=task, regime="local", weight=1.0, estimate=0.1, n=n)


def resting(*hypotheses: Finding, random_seeds: bool = False) -> ReportData:
    """A study of two related pairs and three unrelated ones, on two tasks."""
    pairs = [PairFacts(name=name, role=role, before="a", after="b") for name, role in ROLES.items()]
    counts = [
        TaskCount(task=task, pair=pair, asked=9, found=9, aligned=9, read=9, kept=9, templates=wordings)
        for pair in ROLES
        for task, wordings in {"ioi": 8, "countdown": 3}.items()
    ]
    return ReportData(
        title="t",
        name="n",
        version="1",
        findings=Findings(name="n", hypotheses=hypotheses, estimates=()),
        methods=MethodsFacts(pairs=pairs, random_seeds=random_seeds, random_templates=True),
        task_counts=counts,
        words={"inherited": Words(name="inherited", reading="r", counted_from="unrelated")},
    )


ROLES = {"d": "treatment", "c": "control", "u0": "unrelated", "u1": "unrelated", "u2": "unrelated"}
KEPT = replace(
    finding(measure="retention"),
    id="kept",
    terms=(term("d", "treatment", 0, "ioi", 120), term("c", "control", 0, "ioi", 110)),
)
SHARED = replace(
    finding(measure="inherited"),
    id="shared",
    terms=(term("d", "treatment", 0, "ioi", 120), term("d", "treatment", 0, "countdown", 90)),
)


def test_each_claim_has_its_own_amounts_where_they_differ() -> None:
    in_all, of_each = answer.rests_on(resting(KEPT, SHARED), (KEPT, SHARED))
    assert of_each == {
        "kept": "110 to 120 prompts a task and pair in 8 wordings on 1 task, 2 pairs and 1 training seed.",
        "shared": "90 to 120 prompts a task and pair in 3 to 8 wordings on 2 tasks, 1 pair (compared with 3 unrelated "
        "ones) and 1 training seed.",
    }
    assert in_all == (
        "90 to 120 prompts a task and pair in 3 to 8 wordings on 1 to 2 tasks, 1 to 2 pairs (some compared with 3 "
        "unrelated ones) and 1 training seed."
    )
    shown = answer.section(resting(KEPT, SHARED))
    assert shown is not None
    body = str(shown.body)
    assert all(body.count(said) == 1 for said in [in_all, *of_each.values()])
    assert body.index(of_each["kept"]) < body.index(of_each["shared"]) < body.index(in_all)


def test_amounts_that_all_claims_share_stand_once() -> None:
    other = replace(KEPT, id="other")
    in_all, of_each = answer.rests_on(resting(KEPT, other), (KEPT, other))
    assert of_each == {}
    assert in_all == "110 to 120 prompts a task and pair in 8 wordings on 1 task, 2 pairs and 1 training seed."
    none = replace(KEPT, id="none", estimate=None, terms=())
    assert answer.rests_on(resting(KEPT, none), (KEPT, none)) == (in_all, {})
    assert answer.rests_on(resting(none), (none,)) == ("", {})


def test_limits_name_the_claims_that_have_them() -> None:
    said = answer.limits(resting(KEPT, SHARED))
    assert "No control is compared in shared: what plain further training does is not known there." in said
    assert "One training seed: it says nothing of other trainings." in said
    two = replace(KEPT, terms=(*KEPT.terms, term("d1", "treatment", 1, "ioi", 120)))
    said = answer.limits(resting(two, SHARED))
    assert "The estimates are of these 2 trainings, and say nothing of others." in said
    assert "One training seed in shared: nothing is said of other trainings there." in said
    said = answer.limits(resting(two, SHARED, random_seeds=True))
    assert not any("these 2 trainings" in one for one in said)
    elsewhere = replace(SHARED, terms=(term("d1", "treatment", 1, "ioi", 120),))
    said = answer.limits(resting(KEPT, elsewhere))
    assert "One training seed each: it says nothing of other trainings." in said
    assert "No control is compared: what plain further training does to these models is not known." in answer.limits(
        resting(SHARED)
    )
