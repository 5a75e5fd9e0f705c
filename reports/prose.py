"""Sentences made from findings and facts. Plain text: the templates escape it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

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
ROLES = {"treatment": "in the treatment", "control": "in the control", "unrelated": "of unrelated models"}
"""Role of pairs -> where in a sentence a value of them is."""
_known: ContextVar[Mapping[str, Words] | None] = ContextVar("words of measures", default=None)
_roles: ContextVar[Mapping[str, str] | None] = ContextVar("words of roles", default=None)
_COUNTED = ("index", "slope", "share", "overlap", "ratio", "time", "score", "norm")
_ABLATIONS = {
    "counterfactual": "its value on the corrupted prompt",
    "mean": "its mean over the clean prompts, position by position",
    "zero": "zero",
    "resample": "its value on another clean prompt, drawn at random",
}
_INDICES = {
    "renyi_entropy": "normalised Rényi entropy of order 2 (1 minus it)",
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


def measure_name(measure: str) -> str:
    """A measure in words."""
    words = (_known.get() or {}).get(measure)
    return QUANTITIES.get(measure, measure.replace("_", " ")) if words is None else words.name


def reading(measure: str) -> str:
    """What the values of a measure mean; empty where that is not known."""
    words = (_known.get() or {}).get(measure)
    return READINGS.get(measure, "") if words is None else words.reading


def quantity(measure: str) -> str:
    """What an estimate of a measure on one pair and task is: `shift of depth slope`, or the measure itself."""
    words = (_known.get() or {}).get(measure)
    name = measure_name(measure)
    if words is None or not words.shift or "shift" in name:
        return name
    article = "the " if name.endswith(_COUNTED) or name.startswith("effect") else ""
    return f"shift of {article}{name}"


def is_shift(measure: str) -> bool:
    """Whether an estimate of a measure on one pair and task is after minus before, so that zero is "as before"."""
    words = (_known.get() or {}).get(measure)
    return words is not None and words.shift


def direction(measure: str, value: float) -> str:
    """What a value below or above zero says, in a few words: `earlier layers`."""
    words = (_known.get() or {}).get(measure)
    if words is None:
        return "lower" if value < 0 else "higher"
    return words.lower if value < 0 else words.higher


def role_words(role: str) -> str:
    """Where in a sentence a value of pairs of a role is: `after diffusion`."""
    return (_roles.get() or {}).get(role) or ROLES.get(role, f"in {role}")


@contextmanager
def vocabulary(words: Mapping[str, Words], roles: Mapping[str, str] | None = None) -> Iterator[None]:
    """Speak of measures as a study's kinds do, and of roles as of its pairs, while a page is made."""
    before, said = _known.set(words), _roles.set(roles)
    try:
        yield
    finally:
        _known.reset(before)
        _roles.reset(said)


def index_name(index: str) -> str:
    """An index of specialization or integration in words."""
    return _INDICES.get(index, index.replace("_", " "))


def index_title(index: str) -> str:
    """An index as the title of a narrow axis."""
    return {"renyi_entropy": "1 − Rényi entropy", "entropy": "1 − entropy"}.get(index, index_name(index))


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
