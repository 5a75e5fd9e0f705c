"""The methods paragraph and the works that it cites. Plain text: the templates escape it.

Within the text a citation is a mark, `[@key]` with the key of a work; :func:`cited` writes it as a name or a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from reports import formats
from reports import references as works
from reports.data import CircuitFacts, MeasureFacts, MethodsFacts, ReportData
from reports.prose import ablation_words, correction_name, index_name
from reports.references import Reference
from reports.sections.provenance import varied
from reports.sections.robustness import CHOICES

_SELECTIONS = {
    "both": "examples that both models of a pair answer correctly",
    "before": "examples that the model before answers correctly",
    "any": "examples that at least one model of a pair answers correctly",
    "none": "all aligned examples, whether they are answered correctly or not",
}
_ROLES = {
    "treatment": "the change that the study asks about",
    "control": "a change by other training, which the treatment is held against",
    "unrelated": "models none of which was trained from the other, as the level of what any two models share",
}
"""Role of pairs -> what it means."""
_MARK = re.compile(r"\[@([a-z0-9]+)\]")


def methods_of(data: ReportData) -> str:
    """The methods of a run, with citations as marks: the paragraph, then what was tested, and of what."""
    estimated = [found for found in data.findings.hypotheses if found.method and found.estimate is not None]
    used = {found.method: [one.id for one in estimated if one.method == found.method] for found in estimated}
    told = [_marked(data.methods, version=data.version, methods_used=used, **_asked(data))]
    facts, limits = data.methods, " ".join(varied(data.provenance))
    parts = [measures_said(facts.measures), _roles(facts), _models(data), _prompts(data), limits, _margins(data)]
    told += [said for said in (*parts, _varied(data)) if said]
    return " ".join(told)


def references_of(data: ReportData) -> tuple[Reference, ...]:
    """The works that the methods of a run cite, in order."""
    return references(data.methods, **_asked(data))


def cited(text: str, cite: Callable[[Reference], str], *, other: Callable[[str], str] = str) -> str:
    """A text with its citations written out.

    Args:
        text: With marks.
        cite: How a work is cited; :func:`in_words` for people to read.
        other: How what stands between citations is written.
    """
    parts = _MARK.split(text)  # text, key, text, key, ..., text
    for at in range(1, len(parts), 2):
        work = works.WORKS.get(parts[at])
        parts[at] = cite(work) if work else other(f"[@{parts[at]}]")
    return "".join(part if at % 2 else other(part) for at, part in enumerate(parts))


def in_words(work: Reference) -> str:
    """How a sentence names a work."""
    return work.short


def methods_paragraph(facts: MethodsFacts, *, version: str, methods_used: Mapping[str, Sequence[str]]) -> str:
    """The methods paragraph.

    Args:
        facts: Choices of the run.
        version: Version of mechshift.
        methods_used: How intervals and tests were made, from the findings -> ids of the hypotheses that were tested so.
    """
    return cited(_marked(facts, version=version, methods_used=methods_used), in_words)


def _marked(
    facts: MethodsFacts,
    *,
    version: str,
    methods_used: Mapping[str, Sequence[str]],
    equivalence: bool = True,
    shapley: bool = False,
) -> str:
    """The methods paragraph with citations as marks."""
    steps = "" if facts.steps is None else f" with {formats.plural(facts.steps, 'integration step')}"
    rule = "" if not facts.quadrature else f" ({facts.quadrature} quadrature)"
    rule += "" if facts.draws is None else f" ({formats.plural(facts.draws, 'draw')} for each prompt)"
    select = _SELECTIONS.get(facts.select, facts.select)
    judged = "" if facts.select == "none" else _judged(facts.judged_by)
    text = [
        f"Circuits before and after post-training were compared with mechshift {version}, following "
        f"{_mark(works.MECHANISM_SHIFT)}.",
        f"Edge attributions were computed with {_attribution(facts)}{steps}{rule}, per example and "
        f"then averaged over {select}.{_metrics(facts.metrics)}{judged}",
    ]
    if facts.top_k:
        sizes = formats.listed([formats.count(k) for k in facts.top_k])
        text.append(f"Overlap is the Jaccard index of the K edges of largest magnitude, K = {sizes}.")
    if facts.permutations:
        text.append(
            f"Chance overlap comes from {formats.count(facts.permutations)} permutations of the edges within strata "
            "of source kind, receiver kind and layer distance. Node overlap is the same of the heads and MLPs that "
            "these edges touch, with as many of them in the early, middle and late layers at random as chance."
        )
    if facts.splits:
        text.append(
            f"The noise ceiling is the overlap of two disjoint halves of the prompts within one model, over "
            f"{formats.count(facts.splits)} random splits; the retention index is "
            "(J_between − J_null) / (J_ceiling − J_null), with the geometric mean of both models' ceilings. The same "
            "halves give the ceilings of weighted Jaccard, Spearman correlation and cosine of all edge scores."
        )
    text += [_circuit_runs(run) for run in facts.circuits]
    replicates = "" if not facts.replicates else f" with {formats.count(facts.replicates)} replicates"
    if facts.replicates:
        replicates += f" ({_mark(works.BOOTSTRAP)})"
    unit = "templates" if facts.random_templates else "prompts"
    seeds = "training seeds are averaged over as they are"
    if facts.random_seeds:
        seeds = "hypotheses are tested over training seeds as well, crossed with them"
    kind = f"{facts.bootstrap} " if facts.bootstrap else ""
    text.append(
        f"Intervals are at {formats.confidence(facts.confidence)}, from a {kind}bootstrap over {unit}{replicates} "
        f"where not said otherwise; {unit} are the random unit, never edges or layers, and {seeds}."
    )
    text += _tested(methods_used)
    if shapley:
        text.append(f"Components were also knocked out in combinations ({_mark(works.SHAPLEY)}).")
    family = f" ({_mark(works.HOLM)})" if facts.correction.lower() == "holm" else ""
    text.append(
        f"{_specialization(facts.index)}{_integration(facts.integration)}p-values of the declared hypotheses are "
        f"{correction_name(facts.correction)}-corrected as one family{family}; claims of equivalence were tested "
        f"against declared margins (two one-sided tests{f'; {_mark(works.SCHUIRMANN)}' if equivalence else ''})."
    )
    if facts.alignment:
        text.append(
            "Output alignment is the entropy in nats of what heads and MLPs write, read through the logit lens and "
            "weighted by the positive part of their direct logit attribution, beside its value with these weights "
            "permuted within heads and within MLPs."
        )
    if facts.packages:
        names = [f"{name} {number}" for name, number in facts.packages.items()]
        text.append(f"Software: {formats.listed(names)}.")
    return " ".join(text)


def _tested(methods_used: Mapping[str, Sequence[str]]) -> list[str]:
    """Which tests were made of which hypotheses: a sentence for each way to estimate what they ask."""
    told: dict[str, list[str]] = {}
    for method, hypotheses in methods_used.items():
        way, *tests = method.split("; ")
        told.setdefault(way, []).append(f"{', '.join(tests) or 'interval alone'} ({formats.listed(list(hypotheses))})")
    return [f"Hypotheses were tested by {way}: {'; '.join(tests)}." for way, tests in told.items()]


def _metrics(metrics: Mapping[str, str]) -> str:
    """What is attributed, for the methods paragraph; nothing where it is not known."""
    tasks: dict[str, list[str]] = {}
    for task, metric in metrics.items():
        tasks.setdefault(metric, []).append(task)
    if not tasks:
        return ""
    if len(tasks) == 1:
        return f" The metric is {next(iter(tasks))}."
    return f" The metric is {formats.listed([f'on {formats.listed(names)} {one}' for one, names in tasks.items()])}."


def _judged(judged_by: Mapping[str, str]) -> str:
    """What makes an answer correct, for the methods paragraph; nothing where it is not known."""
    rules = {"metric": "the task's metric is above 0", "argmax": "the most likely token is an answer"}
    used = {
        rule: [task for task, by in judged_by.items() if by == rule] for rule in rules if rule in judged_by.values()
    }
    if not used:
        return ""
    if len(used) == 1:
        return f" An answer is correct where {rules[next(iter(used))]}."
    parts = [f"on {formats.listed(tasks)} where {rules[rule]}" for rule, tasks in used.items()]
    return f" An answer is correct {formats.listed(parts)}."


FREE = "estimated without bias from products over different prompts, with a jackknife over prompts"
"""How an index that noise does not move is estimated."""


def _specialization(index: str) -> str:
    """How specialization was measured, for the methods paragraph; nothing where it was not."""
    if index == "none":
        return ""
    if index == "renyi_entropy":
        return (
            f"Specialization is the {index_name(index)} of the components' shares in the sum of squared effects, "
            f"{FREE}. "
        )
    return (
        f"Specialization is the {index_name(index)} of the component effects, beside its value under sign flips "
        "of the examples; noise moves it, so it is described and not tested. "
    )


def _integration(index: str) -> str:
    """How integration was measured, for the methods paragraph; nothing where it was not."""
    if index == "none":
        return ""
    if index in ("interaction_share", "shapley_share"):
        return f"Integration is the {index_name(index)} in the sum of squared interactions and effects, {FREE}. "
    against = (
        "random signs of the examples" if index in ("interaction", "shapley") else "random graphs of the same strengths"
    )
    return f"Integration is the {index_name(index)}, beside its value under {against}. "


def _circuit_runs(run: CircuitFacts) -> str:
    """How circuits were run, for the methods paragraph."""
    made = "grown greedily from the logits" if run.greedy else "of the edges with the largest scores"
    if run.positive_share is not None:
        made += f", {formats.percent(run.positive_share)} of them by positive scores"
    if run.sign_consistency is not None:
        made += f", whose sign is that of the mean in {formats.percent(run.sign_consistency)} of bootstrap samples"
    ranked = (
        "ranked on one half of the prompts and run on the other, both ways"
        if run.held_out
        else "ranked and run on the same prompts"
    )
    drawn = f", beside {formats.plural(run.random, 'random circuit')} of equal size and depth profile" * (
        run.random > 0
    )
    return (
        f"In {run.name}, circuits {made}, {ranked}, were run with every other edge carrying "
        f"{ablation_words(run.ablation)}{drawn}; faithfulness is (m(C) − m(∅)) / (m(full) − m(∅)), a ratio of means "
        f"over prompts ({_mark(works.MIB)})."
    )


def references(facts: MethodsFacts, *, equivalence: bool, shapley: bool = False) -> tuple[Reference, ...]:
    """The works that the methods paragraph cites, in order.

    Args:
        facts: Choices of the run.
        equivalence: Whether a hypothesis is of equivalence.
        shapley: Whether components were knocked out in combinations.
    """
    text = _marked(facts, version="", methods_used={}, equivalence=equivalence, shapley=shapley)
    return tuple(works.WORKS[key] for key in dict.fromkeys(_MARK.findall(text)) if key in works.WORKS)


class _Asked(TypedDict):
    equivalence: bool
    shapley: bool


def _asked(data: ReportData) -> _Asked:
    return {
        "equivalence": any(found.test == "equivalence" for found in data.findings.hypotheses),
        "shapley": data.table("shapley") is not None,
    }


def measures_said(measures: Sequence[MeasureFacts]) -> str:
    """Definition, units and meaning of each measure that is tested, a sentence each; empty where none is."""
    if not measures:
        return ""
    return " ".join(["Hypotheses are about these measures.", *map(_measure_said, measures)])


def _measure_said(one: MeasureFacts) -> str:
    named = one.words in one.definition
    what = one.definition if named else f"{one.words}, that is, {one.definition}"
    reading = f"; {one.reading}" if one.reading else ""
    return formats.sentence(f"{what} ({one.scale}){reading}" if one.scale else f"{what}{reading}")


def _roles(facts: MethodsFacts) -> str:
    """Which pairs are treatment, control and unrelated, and what that means; empty where it is not known."""
    parts = []
    for role, meaning in _ROLES.items():
        pairs = [one for one in facts.pairs if one.role == role]
        if pairs:
            listed = formats.listed([f"{one.name} ({one.before} before, {one.after} after)" for one in pairs])
            parts.append(f"{role.capitalize()}, {meaning}: {listed}.")
    return " ".join(parts)


def _varied(data: ReportData) -> str:
    """Under which other choices the hypotheses were decided again; empty where under none."""
    chosen: dict[str, list[str]] = {}
    for other in data.findings.alternatives:
        chosen.setdefault(CHOICES.get(other.choice, other.choice), []).append(other.value)
    if not chosen:
        return ""
    listed = "; ".join(f"{choice}: {formats.listed(values)}" for choice, values in chosen.items())
    return (
        "To see how much the verdicts depend on choices, the hypotheses were decided again with one of these changed "
        f"at a time: {listed}."
    )


def _models(data: ReportData) -> str:
    """The models by name with their source and how they read; empty where the run does not record them."""
    known = data.provenance.get("models")
    told = []
    for name, facts in known.items() if isinstance(known, Mapping) else ():
        recorded = facts if isinstance(facts, Mapping) else {}
        about = [str(recorded.get("source") or ""), str(recorded.get("paradigm") or "").replace("_", " ")]
        told.append(f"{name} ({', '.join(filter(None, about))})" if any(about) else str(name))
    return f"The models were {formats.listed(told)}." if told else ""


def _prompts(data: ReportData) -> str:
    """How many prompts of each task every pair was read and analysed on; empty where that is not recorded."""
    told = [
        f"{formats.count(count.kept)} of {formats.count(count.read)} of {count.task} for {count.pair}"
        for count in data.task_counts
    ]
    return f"Of the prompts that the models read, these were analysed: {formats.listed(told)}." if told else ""


def _margins(data: ReportData) -> str:
    """The margins that hypotheses declare; empty where none does."""
    told = [
        f"{'' if found.test == 'non_inferiority' else '±'}{formats.compact(found.margin)} ({found.id})"
        for found in data.findings.hypotheses
        if found.margin is not None
    ]
    return f"The declared {'margin is' if len(told) == 1 else 'margins are'} {formats.listed(told)}." if told else ""


def _mark(work: Reference) -> str:
    return f"[@{work.key}]"


def _attribution(facts: MethodsFacts) -> str:
    if not facts.averaged:
        return _method_name(facts.attribution)
    return "the mean rank of each edge by " + formats.listed([_method_name(method) for method in facts.averaged])


def _method_name(method: str) -> str:
    names = {
        "eap": f"edge attribution patching ({_mark(works.EAP_IG)})",
        "eap-ig": f"edge attribution patching with integrated gradients (EAP-IG; {_mark(works.EAP_IG)})",
        "eap-ig-activations": f"EAP-IG over the activations of all components in turn ({_mark(works.EAP_IG)})",
        "eap-ig-sources": "integrated gradients over the activations of each edge's own source, a variant of EAP-IG "
        f"({_mark(works.EAP_IG)})",
        "expected-gradients": f"edge attribution patching with expected gradients ({_mark(works.EXPECTED_GRADIENTS)})",
        "gim": f"edge attribution patching with gradient interaction modifications (GIM; {_mark(works.GIM)})",
        "relp": f"relevance patching of edges (RelP; {_mark(works.RELP)})",
        "clean-corrupted": "edge attribution patching averaged over the clean and the corrupted run "
        f"({_mark(works.EAP_IG)})",
        "exact": "exact edge patching",
    }
    return names.get(method, method)
