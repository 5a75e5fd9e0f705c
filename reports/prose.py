"""Sentences made from findings and facts. Plain text: the templates escape it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from reports import formats
from reports.data import Words
from stats.findings import Declaration, Finding

QUANTITIES = {
    "accuracy": "accuracy",
    "centroid": "depth centroid",
    "cmd": "circuit-model distance (CMD)",
    "cpr": "circuit performance ratio (CPR)",
    "transfer_ratio": "transfer ratio",
    "weighted_jaccard": "weighted Jaccard",
    "spearman": "Spearman correlation",
    "cosine": "cosine",
    "neuron_overlap": "overlap of the strongest neurons",
}
"""What is estimated besides the measures that hypotheses can name."""
READINGS = {
    "cmd": "area between faithfulness over circuit size and 1, 0 is best",
    "cpr": "area under faithfulness over circuit size",
    "transfer_ratio": "1: the other model's circuit is as faithful as the own, 0: it restores nothing",
}
_known: ContextVar[Mapping[str, Words] | None] = ContextVar("words of measures", default=None)
_COUNTED = ("index", "slope", "share", "centroid", "overlap", "ratio", "(CMD)", "(CPR)", "time", "groups")
_ABLATIONS = {
    "counterfactual": "its value on the corrupted prompt",
    "mean": "its mean over the clean prompts, position by position",
    "zero": "zero",
    "resample": "its value on another clean prompt, drawn at random",
}
_INDICES = {
    "renyi_entropy": "Renyi entropy of order 2 (1 minus it, normalised)",
    "interaction_share": "share of interactions",
    "shapley_share": "share of Shapley interactions",
    "gini": "Gini index",
    "participation_ratio": "participation ratio",
    "hoyer": "Hoyer index",
    "entropy": "normalised entropy (1 minus it)",
    "largest_share": "share of the largest component",
    "interaction": "interaction ratio",
    "shapley": "Shapley interaction ratio",
    "alignment": "alignment entropy",
    "participation": "participation coefficient",
    "modularity": "modularity",
    "efficiency": "relative global efficiency",
}
_CORRECTIONS = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "benjamini-hochberg": "Benjamini–Hochberg",
    "bh": "Benjamini–Hochberg",
    "fdr_bh": "Benjamini–Hochberg",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """What one hypothesis' finding says: its verdict, the result, and what it means or does not mean."""

    id: str
    verdict: str
    result: str
    meaning: str


def measure_name(measure: str) -> str:
    """A measure in words."""
    words = (_known.get() or {}).get(measure)
    return QUANTITIES.get(measure, measure.replace("_", " ")) if words is None else words.name


def reading(measure: str) -> str:
    """What the values of a measure mean; empty where that is not known."""
    words = (_known.get() or {}).get(measure)
    return READINGS.get(measure, "") if words is None else words.reading


@contextmanager
def vocabulary(words: Mapping[str, Words]) -> Iterator[None]:
    """Speak of measures as a study's kinds do, while a page is made."""
    before = _known.set(words)
    try:
        yield
    finally:
        _known.reset(before)


def index_name(index: str) -> str:
    """An index of specialization or integration in words."""
    return _INDICES.get(index, index.replace("_", " "))


def correction_name(correction: str) -> str:
    """A correction by its authors' names."""
    return _CORRECTIONS.get(correction.lower(), correction)


def ablation_words(ablation: str) -> str:
    """What takes the place of what is ablated, in words."""
    return _ABLATIONS.get(ablation, ablation.replace("_", " "))


def overview(hypotheses: Sequence[Finding], declaration: Declaration | None = None) -> str:
    """How many hypotheses came out how, when they were declared, and in which family they were corrected."""
    record = declaration or Declaration()
    if not hypotheses:
        return "The spec declares no hypothesis; what follows is descriptive."
    tally: Counter[str] = Counter(finding.verdict for finding in hypotheses)
    order = ("supported", "refuted", "inconclusive", "not estimable")
    parts = [
        f"{tally[verdict]} {'is' if tally[verdict] == 1 else 'are'} {verdict}" for verdict in order if tally[verdict]
    ]
    first = hypotheses[0]
    declared = formats.plural(len(hypotheses), "hypothesis", "hypotheses")
    when = " declared before the results" if record.known and not record.changed else ""
    text = f"Of {declared}{when}, {formats.listed(parts)}."
    if first.family_size > 1 and first.correction.lower() != "none":
        text += f" p-values are {correction_name(first.correction)}-corrected in a family of {first.family_size}."
    return text


def declaration_notes(declaration: Declaration) -> list[str]:
    """What of hypotheses and settings was not so before the first results, or as registered; nothing where all was."""
    notes = []
    if not declaration.known:
        notes.append("When the hypotheses were declared is not recorded: results were there before the record was.")
    for name, lines in declaration.changed.items():
        if lines == ("added",):
            notes.append(f"Hypothesis {name} was added after results.")
        else:
            notes.append(f"Hypothesis {name} was changed after results: {'; '.join(lines)}.")
    if declaration.dropped:
        names = formats.listed([one.id for one in declaration.dropped])
        notes.append(f"Declared once and dropped since, but still in the family of the correction: {names}.")
    if declaration.settings:
        notes.append(f"Settings were changed after results: {'; '.join(declaration.settings)}.")
    if declaration.registered and declaration.unlike:
        notes.append(f"Registered on {declaration.registered}; not as registered: {'; '.join(declaration.unlike)}.")
    elif declaration.registered:
        notes.append(f"As registered on {declaration.registered}.")
    return notes


def sentence(finding: Finding) -> Sentence:
    """One hypothesis in a sentence or two."""
    return Sentence(id=finding.id, verdict=finding.verdict, result=_result(finding), meaning=_meaning(finding))


def _result(finding: Finding) -> str:
    name = measure_name(finding.measure)
    if finding.estimate is None:
        return f"{name[:1].upper()}{name[1:]} could not be estimated."
    article = "the " if name.endswith(_COUNTED) else ""
    if finding.location:
        article = f"the {finding.location} of {article}"
    parts = [f"The estimate for {article}{name} is {formats.number(finding.estimate)}"]
    low, high, level = finding.shown
    if low is not None and high is not None:
        parts.append(f" ({formats.confidence(level)} interval {formats.number(low)} to {formats.number(high)}")
        parts.append(f"; {_p(finding)})" if finding.p is not None else ")")
    elif finding.p is not None:
        parts.append(f" ({_p(finding)})")
    else:
        parts.append(", without an interval")
    return "".join(parts) + "."


def _p(finding: Finding) -> str:
    if finding.p_corrected is None:
        return f"uncorrected {formats.p_statement(finding.p)}"
    return f"corrected {formats.p_statement(finding.p_corrected)}"


def _meaning(finding: Finding) -> str:
    text = _equivalence(finding) if finding.test == "equivalence" else _difference(finding)
    if finding.estimate is None or finding.verdict == "not estimable":
        text = "No conclusion follows from this run."
    if finding.status == "points only":
        text += " There are too few units for an interval."
    if finding.message:
        text += f" {formats.sentence(finding.message)}"
    return text


def _difference(finding: Finding) -> str:
    zero = formats.compact(finding.null) if finding.null else "zero"
    if finding.test == "non_inferiority":
        return _non_inferiority(finding)
    side = {"less": f"below {zero}", "greater": f"above {zero}"}.get(finding.alternative, f"away from {zero}")
    if finding.verdict == "supported":
        way = "in the direction claimed" if finding.alternative != "two-sided" else "as claimed"
        each = f" in every {finding.every}" if finding.every else ""
        return f"It lies {side}{each}, {way}, by more than chance would explain."
    if finding.verdict == "refuted":
        each = f" in one {finding.every} at least" if finding.every else ""
        return f"The claim would put it {side}; the data put it elsewhere{each}."
    each = f" in every {finding.every}" if finding.every else ""
    return (
        f"The data do not settle whether it lies {side}{each}; "
        "this is absence of evidence, and does not show that nothing changed."
    )


def _non_inferiority(finding: Finding) -> str:
    margin = f"the margin of {formats.compact(finding.margin)}"
    if finding.verdict == "supported":
        return f"It is not lower by more than {margin} that was declared as no loss that matters."
    if finding.verdict == "refuted":
        return f"It is lower by more than {margin}."
    return f"The data do not settle whether it is lower by more than {margin}."


def _equivalence(finding: Finding) -> str:
    margin = "the declared margin" if finding.margin is None else f"the margin of ±{formats.compact(finding.margin)}"
    if finding.verdict == "supported":
        return f"It lies within {margin} that was declared as no difference that matters."
    if finding.verdict == "refuted":
        return f"It lies outside {margin}: the two differ by more than was declared negligible."
    return (
        f"The data are compatible with values inside and outside {margin}: "
        "neither equivalence nor a difference is shown."
    )
