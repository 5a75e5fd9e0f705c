"""What a report is made from: findings, tables and the facts that the text needs, as plain frozen values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from stats.findings import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCount:
    """How many examples of a task were asked for, survived and were answered, for one pair.

    Attributes:
        asked: Examples that the spec asks for: a number, or every line of a data set.
        found: Pairs that were looked at: the lines of a data set, or the draws of a generated task.
        aligned: Pairs of them that can be used: of equal token length, with one-token answers, each clean prompt once.
        read: Aligned examples that the models are run on; the others were not drawn.
        kept: Examples that the selection rule kept for the analysis.
        dropped: Reason -> number of pairs that are not aligned.
        words: The bank of words that a generated task drew from; None where it has none.
        templates: How many templates there are among the examples read; None where it is not known.
        judged_by: What makes an answer correct: `metric` (above 0) or `argmax` (the most likely token is an answer).
        metric_before: Share of the examples read on which the metric of the model before is above 0, in [0, 1], and
            `argmax_before` of those where its most likely token is an answer; `_after` of the model after.
    """

    task: str
    pair: str
    asked: int
    found: int
    aligned: int
    read: int
    kept: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    words: str | None = None
    templates: int | None = None
    judged_by: str = "argmax"
    metric_before: float | None = None
    metric_after: float | None = None
    argmax_before: float | None = None
    argmax_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingFacts:
    """How a model answers the aligned examples of a task at one inference budget.

    Attributes:
        budget: The budget, e.g. `per_token`; that of the study comes first.
        accuracy: Share of the examples answered correctly, in [0, 1].
        masks: Hidden tokens when an example is read first, mean over examples.
        states: States of the completion that are averaged over, mean over examples.
    """

    budget: str
    task: str
    model: str
    accuracy: float
    masks: float
    states: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitFacts:
    """How an intervention that runs circuits was set up.

    Attributes:
        name: Name of the intervention.
        ablation: What edges outside of the circuit carry: `counterfactual`, `mean`, `zero` or `resample`.
        held_out: Whether circuits were ranked on one half of the examples and run on the other.
        greedy: Whether circuits were grown from the logits instead of made of the largest scores.
        sign_consistency: Share of bootstrap samples in which an edge's sign must be that of its mean; None: any.
        positive_share: Share of a circuit's edges that were chosen among positive scores; None: any.
        random: Random circuits beside each.
    """

    name: str
    ablation: str
    held_out: bool
    greedy: bool = False
    sign_consistency: float | None = None
    positive_share: float | None = None
    random: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureFacts:
    """A measure that a hypothesis tests.

    Attributes:
        words: What it is called, a noun without an article.
        definition: What it is, under the choices of the study.
        reading: What its values mean.
        scale: Unit and range.
    """

    words: str
    definition: str
    reading: str
    scale: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """A pair that is compared: its name, its role, and the models before and after."""

    name: str
    role: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodsFacts:
    """The choices that the methods paragraph states; what is None is left out of it.

    Attributes:
        attribution: Attribution method, e.g. `eap-ig`, with its `steps` and `quadrature`, the `draws` of random points,
            and the methods whose ranks are `averaged`.
        top_k: Sizes of the top-K edge sets.
        splits: Random half-splits of the prompts behind the noise ceiling.
        permutations: Permutations of the edges behind the overlap null.
        replicates: Bootstrap replicates, of kind `bootstrap` (e.g. `studentized`).
        confidence: Level of every interval.
        correction: Correction within the family of hypotheses, e.g. `holm`.
        select: Whose correct answers select examples: `both`, `before`, `any` or `none` (all examples).
        judged_by: Task -> what makes an answer correct, `metric` or `argmax`.
        metrics: Task -> what is read from its logits and attributed, in words.
        index: Index of specialization; `none` where it was not measured.
        integration: Index of integration; `none` where it was not measured.
        circuits: The interventions that ran circuits.
        random_templates: Whether templates are the random unit, not prompts.
        random_seeds: Whether training seeds are random as well.
        alignment: Whether the alignment entropy was measured.
        measures: The measures that hypotheses test, each once.
        pairs: The pairs that are compared.
        packages: Version by package name.
    """

    attribution: str = "eap-ig"
    steps: int | None = None
    quadrature: str | None = None
    draws: int | None = None
    averaged: Sequence[str] = ()
    top_k: Sequence[int] = ()
    splits: int | None = None
    permutations: int | None = None
    replicates: int | None = None
    bootstrap: str | None = None
    confidence: float = 0.95
    correction: str = "holm"
    select: str = "both"
    judged_by: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)
    index: str = "gini"
    integration: str = "none"
    circuits: Sequence[CircuitFacts] = ()
    random_templates: bool = False
    random_seeds: bool = False
    alignment: bool = False
    measures: Sequence[MeasureFacts] = ()
    pairs: Sequence[PairFacts] = ()
    packages: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationFacts:
    """How often the analysis errs on A/A data of the run.

    Attributes:
        repetitions: A/A data sets, each decided with `replicates` bootstrap replicates.
        level: Nominal level of the tests, and `confidence` of the intervals.
        prompts: Fewest and most prompts a side.
        models: Which model the halves of each pair are of, `pair: model`.
        stale: Whether the run has changed since.
        uninformative: Why bands over so few repetitions say nothing; empty where they do.
        rates: Columns `kind` (`false positives`, `coverage` or `any false positive`), `name`, `value` (of the estimate
            where the rate was taken), `rate`, `low`, `high`, `nominal`, `n` and `flag` (`above`, `below` or empty).
        power: Columns `hypothesis`, `measure`, `distance` (from the null), `value`, `power`, `low`, `high` and
            `corrected`.
        hypotheses: Columns `hypothesis`, `status`, `tested` (repetitions), `se`, `sd`, `detectable`, `corrected` and
            `message`.
        scenarios: Data sets that look like the study's own, with a truth that is planted.
        unseen: What none of this can show, a sentence each.
    """

    repetitions: int
    replicates: int
    level: float
    confidence: float
    correction: str
    prompts: tuple[int, int]
    models: Sequence[str]
    stale: bool
    rates: pl.DataFrame
    power: pl.DataFrame
    hypotheses: pl.DataFrame
    uninformative: str = ""
    scenarios: Sequence[ScenarioFacts] = ()
    unseen: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFacts:
    """How often the analysis errs on data sets of another kind: `name`, `description`, and `rates` as below."""

    name: str
    description: str
    rates: pl.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class KindFacts:
    """A kind of intervention or measure that a study has.

    Attributes:
        name: What the spec calls it.
        summary: What it is.
        tables: The tables that it alone has rows of.
        measures: The measures that hypotheses can name.
    """

    name: str
    summary: str
    tables: Sequence[str] = ()
    measures: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How a measure is spoken of.

    Attributes:
        name: A noun without an article.
        reading: What its values mean.
        lower: What a lower value says, in a few words; `higher`, a higher one.
        shift: Whether an estimate on one pair and task is a shift, after minus before, and no property of the pair.
        counted_from: Role of the pairs from whose level each value is counted; empty where from none.
    """

    name: str
    reading: str
    lower: str = "lower"
    higher: str = "higher"
    shift: bool = False
    counted_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything that the page shows.

    Attributes:
        title: Title of the study; `name` is the run's name in the spec.
        version: Version of mechshift that made the run.
        findings: Hypotheses and estimates.
        tables: Tables by name with the columns of the run's tables; any may be missing or empty.
        provenance: Nested, JSON-like record of where the numbers come from.
        spec_text: The spec, verbatim.
        methods: Facts for the methods paragraph.
        task_counts: Examples asked, aligned and kept, per task and pair.
        readings: How well each model does at each inference budget, where there are several.
        failures: One line per cell that failed.
        calibration: How often the analysis errs; None where it was not calibrated.
        interactive: Whether the page carries the script that adds a slider, filters, sorting and tooltips.
        measures: Names of the measures that the spec declares; None where that is not known. What was not declared has
            no section.
        words: Measure -> how it is spoken of.
        roles: Role of pairs -> where in a sentence a value of them is: "after diffusion".
        concerned: Other choice of the study, as `findings.json` names it -> the measures that it can change. One that
            is not there can change all.
        kinds: The kinds of interventions and measures that the study has; those that no section draws get a general
            one.
        refused: What of the spec this version would refuse, a line each, where another one made the run; what it can't
            show is left out of the findings.
        day: When the models ran last (UTC), as year-month-day; empty where that is not known.
        seconds: How long all models took together, in one process; None where that is not known.
    """

    title: str
    name: str
    version: str
    findings: Findings
    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    spec_text: str = ""
    methods: MethodsFacts = field(default_factory=MethodsFacts)
    task_counts: Sequence[TaskCount] = ()
    readings: Sequence[ReadingFacts] = ()
    failures: Sequence[str] = ()
    calibration: CalibrationFacts | None = None
    interactive: bool = False
    measures: Sequence[str] | None = None
    words: Mapping[str, Words] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    concerned: Mapping[str, Collection[str]] = field(default_factory=dict)
    kinds: Sequence[KindFacts] = ()
    refused: Sequence[str] = ()
    day: str = ""
    seconds: float | None = None

    def declares(self, measure: str) -> bool:
        """Whether the spec asks for a measure, as far as is known."""
        return self.measures is None or measure in self.measures

    def table(self, name: str) -> pl.DataFrame | None:
        """The table, or None where it is missing or has no rows."""
        found = self.tables.get(name)
        return None if found is None or found.is_empty() else found


def in_order(frame: pl.DataFrame, column: str) -> list[str]:
    """Distinct values of a column in order of first appearance."""
    return [str(value) for value in frame[column].unique(maintain_order=True).to_list()]


def panels_of(frame: pl.DataFrame) -> list[tuple[str, str, pl.DataFrame]]:
    """The rows of each task (outer) and pair (inner) that the frame has, both in order of first appearance."""
    found = []
    for task in in_order(frame, "task"):
        for pair in in_order(frame, "pair"):
            rows = frame.filter((pl.col("task") == task) & (pl.col("pair") == pair))
            if not rows.is_empty():
                found.append((task, pair, rows))
    return found
