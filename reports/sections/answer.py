"""The box under the title: what was asked, what was found, what that rests on, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import formats
from reports.data import ReportData
from reports.prose import measure_name
from reports.sections.base import Section
from reports.sections.provenance import notes, varied
from reports.sections.robustness import is_robust, tried_on
from reports.sentences import sentence
from reports.templating import render_template
from stats.findings import Finding

DECIDED = {"supported": "supports", "refuted": "refutes"}
"""Verdicts that show something, and what such a witness does with the claim."""
FIRST = 3
"""Hypotheses that the box says in full; the others are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One claim, its verdict and the result in a sentence."""

    claim: str
    verdict: str
    result: str
    witnesses: str = ""


def section(data: ReportData) -> Section | None:
    """The box; None where a spec declares no hypothesis."""
    hypotheses = data.findings.hypotheses
    if not hypotheses:
        return None
    own = tuple(one for one in hypotheses if not one.witness_of)
    body = render_template(
        "answer",
        answers=[
            Answer(
                claim=one.claim or one.estimand,
                verdict=one.verdict,
                result=sentence(one).result,
                witnesses=witnesses(one, hypotheses),
            )
            for one in own[:FIRST]
        ],
        others=_others(own[FIRST:]),
        rests_on=_rests_on(data, hypotheses),
        robust=_robust(data),
        computed=computed(data),
        limits=limits(data),
    )
    return Section(id="answer", title="In short", body=body)


def witnesses(finding: Finding, hypotheses: tuple[Finding, ...]) -> str:
    """What other measures say of the same claim; empty where none was asked."""
    others = [one for one in hypotheses if one.witness_of == finding.id]
    if not others:
        return ""
    said = formats.listed([f"{measure_name(one.measure)} ({one.id}): {one.verdict}" for one in others])
    if finding.verdict not in DECIDED:
        found = [(sum(one.verdict == verdict for one in others), does) for verdict, does in DECIDED.items()]
        counts = [f"{count} {does if count == 1 else does[:-1]} it" for count, does in found if count]
        asked = formats.plural(len(others), "other witness", "other witnesses")
        return f"Of {asked}, {formats.listed(counts) if counts else 'none shows anything'}: {said}."
    agree = sum(one.verdict == finding.verdict for one in others)
    if len(others) == 1:
        return f"Its other witness {'agrees' if agree else 'does not agree'}: {said}."
    return f"{agree} of its {len(others)} other witnesses agree: {said}."


def _others(hypotheses: tuple[Finding, ...]) -> list[tuple[str, list[str]]]:
    """The ids of the hypotheses that the box does not say, by verdict."""
    order = ("supported", "refuted", "inconclusive", "not estimable")
    found = {verdict: [one.id for one in hypotheses if one.verdict == verdict] for verdict in order}
    return [(verdict, ids) for verdict, ids in found.items() if ids]


def _rests_on(data: ReportData, hypotheses: tuple[Finding, ...]) -> str:
    """Prompts, templates, tasks, pairs and seeds that the hypotheses are decided on."""
    terms = [term for finding in hypotheses for term in finding.terms]
    counts = [term.n for term in terms if term.n]
    pairs = {term.pair for term in terms}
    seeds = {term.seed for term in terms if term.role != "unrelated"}
    tasks = {term.task for term in terms}
    amounts = [formats.plural(len(tasks), "task"), formats.plural(len(pairs), "pair")]
    amounts.append(formats.plural(len(seeds), "training seed"))
    wordings = [count.templates for count in data.task_counts if count.templates and count.task in tasks]
    parts = []
    if counts:
        parts.append(f"{_from_to(counts)} prompts a task and pair")
    if wordings and max(wordings) > 1:
        parts.append(f"in {_from_to(wordings)} wordings")
    parts.append(("on " if parts else "") + formats.listed(amounts))
    return formats.sentence(" ".join(parts))


def _from_to(amounts: list[int]) -> str:
    low, high = min(amounts), max(amounts)
    return formats.count(low) if low == high else f"{formats.count(low)} to {formats.count(high)}"


def _robust(data: ReportData) -> str:
    """How many verdicts are the same under all other choices that were tried on them; empty where none was."""
    hypotheses = data.findings.hypotheses
    counts = {one.id: len(tried_on(data, one)) for one in hypotheses}
    tried = [one for one in hypotheses if counts[one.id]]
    if not tried:
        return ""
    kept = sum(is_robust(data, one) for one in tried)
    few, most = min(filter(None, counts.values())), max(counts.values())
    several = f"the {few} to {most} other choices tried on each"
    choices = formats.plural(most, "other choice") if few == most else several
    lacking = len(hypotheses) - len(tried)
    rest = f" On {formats.plural(lacking, 'verdict')} no other choice was tried." if lacking else ""
    total = formats.plural(len(tried), "verdict")
    return f"{kept} of {total} {'is' if kept == 1 else 'are'} the same under {choices}.{rest}"


def computed(data: ReportData) -> str:
    """When, how long and on what machine the models ran, as far as it is known."""
    machine = data.provenance.get("machine")
    facts = machine if isinstance(machine, Mapping) else {}
    devices = facts.get("cells_ran_on")
    where = formats.listed([str(one) for one in devices]) if isinstance(devices, Sequence) and devices else ""
    system = " ".join(str(facts[name]) for name in ("system", "processor") if facts.get(name))
    parts = [f"on {data.day}" if data.day else ""]
    parts.append(f"in {formats.duration(data.seconds)} of model time" if data.seconds is not None else "")
    parts.append(f"on {where}{f' ({system})' if system else ''}" if where else "")
    said = ", ".join(part for part in parts if part)
    return formats.sentence(said) if said else ""


def limits(data: ReportData) -> list[str]:
    """What the findings do not show, a sentence each."""
    hypotheses = data.findings.hypotheses
    terms = [term for finding in hypotheses for term in finding.terms]
    roles, seeds = {term.role for term in terms}, {term.seed for term in terms if term.role != "unrelated"}
    declared = data.findings.declaration
    found = varied(data.provenance)
    if "treatment" in roles and "control" not in roles:
        found.append("No control is compared: what plain further training does to these models is not known.")
    if len(seeds) == 1:
        found.append("One training seed: it says nothing of other trainings.")
    elif not data.methods.random_seeds:
        found.append(f"The estimates are of these {len(seeds)} trainings, and say nothing of others.")
    if not data.methods.random_templates:
        found.append("The estimates are of these wordings, and say nothing of others.")
    unsettled = [one.id for one in hypotheses if one.verdict == "inconclusive"]
    if unsettled:
        found.append(f"Nothing is shown either way, nor that nothing changed: {formats.listed(unsettled)}.")
    lacking = [one.id for one in hypotheses if one.verdict == "not estimable"]
    if lacking:
        found.append(f"No estimate could be had: {formats.listed(lacking)}.")
    if not declared.before:
        found.append("Some of this was declared or changed after results; the verdicts below say what.")
    return [*found, *(note for note in notes(data.provenance) if "not the numbers of the published model" in note)]
