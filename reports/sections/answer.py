"""The box under the title: what was asked, what was found, what that rests on, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import formats
from reports.amounts import amounts_of, said, seeds_of
from reports.data import ReportData
from reports.prose import measure_name
from reports.sections.base import Section
from reports.sections.provenance import origins, refused, varied
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
    rests_on: str = ""
    witnesses: str = ""


def section(data: ReportData) -> Section | None:
    """The box; None where a spec declares no hypothesis."""
    hypotheses = data.findings.hypotheses
    if not hypotheses:
        return None
    own = tuple(one for one in hypotheses if not one.witness_of)
    in_all, of_each = rests_on(data, hypotheses)
    body = render_template(
        "answer",
        answers=[
            Answer(
                claim=one.claim or one.estimand,
                verdict=one.verdict,
                result=sentence(one).result,
                rests_on=of_each.get(one.id, ""),
                witnesses=witnesses(one, hypotheses),
            )
            for one in own[:FIRST]
        ],
        others=_others(own[FIRST:]),
        rests_on=in_all,
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
    told = formats.listed([f"{measure_name(one.measure)} ({one.id}): {one.verdict}" for one in others])
    if finding.verdict not in DECIDED:
        found = [(sum(one.verdict == verdict for one in others), does) for verdict, does in DECIDED.items()]
        counts = [f"{count} {does if count == 1 else does[:-1]} it" for count, does in found if count]
        if len(others) == 1:
            return f"Its other witness {DECIDED.get(others[0].verdict, 'shows nothing about')} it: {told}."
        does = formats.listed(counts) if counts else "none shows anything"
        return f"Of {len(others)} other witnesses, {does}: {told}."
    agree = sum(one.verdict == finding.verdict for one in others)
    if len(others) == 1:
        return f"Its other witness {'agrees' if agree else 'does not agree'}: {told}."
    return f"{agree} of its {len(others)} other witnesses agree: {told}."


def _others(hypotheses: tuple[Finding, ...]) -> list[tuple[str, list[str]]]:
    """The ids of the hypotheses that the box does not say, by verdict."""
    order = ("supported", "refuted", "inconclusive", "not estimable")
    found = {verdict: [one.id for one in hypotheses if one.verdict == verdict] for verdict in order}
    return [(verdict, ids) for verdict, ids in found.items() if ids]


def rests_on(data: ReportData, hypotheses: Sequence[Finding]) -> tuple[str, dict[str, str]]:
    """On how much all findings rest, and each of them where they do not rest on the same; those with an estimate."""
    known = [one for one in hypotheses if one.terms]
    estimated = [one for one in known if one.estimate is not None] or known
    found = {one.id: amounts_of(data, one) for one in estimated}
    alike = len(set(found.values())) <= 1
    return said(list(found.values())), {} if alike else {name: said([own]) for name, own in found.items()}


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
    told = ", ".join(part for part in parts if part)
    return formats.sentence(told) if told else ""


def limits(data: ReportData) -> list[str]:
    """What the findings do not show, a sentence each."""
    hypotheses = data.findings.hypotheses
    declared = data.findings.declaration
    found = [*refused(data), *varied(data.provenance), *_uncontrolled(hypotheses), *_of_few_trainings(data)]
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
    return [*found, *origins(data.provenance)]


def _uncontrolled(hypotheses: Sequence[Finding]) -> list[str]:
    """Which claims about the treatment hold no control against it."""
    roles = {one.id: {term.role for term in one.terms} for one in hypotheses}
    lacking = [name for name, of_one in roles.items() if "treatment" in of_one and "control" not in of_one]
    if not lacking:
        return []
    if not any("control" in of_one for of_one in roles.values()):
        return ["No control is compared: what plain further training does to these models is not known."]
    named = formats.listed(lacking)
    return [f"No control is compared in {named}: what plain further training does is not known there."]


def _of_few_trainings(data: ReportData) -> list[str]:
    """Which claims are about the training seeds at hand only."""
    drawn = {one.id: seeds_of(one) for one in data.findings.hypotheses}
    single = [name for name, seeds in drawn.items() if len(seeds) == 1]
    several = sorted({len(seeds) for seeds in drawn.values() if len(seeds) > 1})
    if single and not several:
        each = " each" if len(set().union(*drawn.values())) > 1 else ""
        return [f"One training seed{each}: it says nothing of other trainings."]
    found = []
    if several and not data.methods.random_seeds:
        few, most = several[0], several[-1]
        trainings = f"{few} trainings" if few == most else f"{few} to {most} trainings"
        found.append(f"The estimates are of these {trainings}, and say nothing of others.")
    if single:
        found.append(f"One training seed in {formats.listed(single)}: nothing is said of other trainings there.")
    return found
