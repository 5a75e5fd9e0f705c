"""What a kind of intervention is: the section of the spec, its cells, and what these come to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_args

from mechshift_core.kinds.common import faults_of_section
from mechshift_core.kinds.cost import Cost
from mechshift_core.kinds.section import Intervention
from mechshift_core.kinds.tables import Tables
from mechshift_core.kinds.testable import ONE, Least, Testable, nothing_wrong

if TYPE_CHECKING:
    import polars as pl

    from mechshift_core.analysis.measured import Measured, Results, Rows
    from mechshift_core.analysis.samples import Sample
    from mechshift_core.execution.cells import Cell
    from mechshift_core.execution.cost import Reads
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.execution.plan import Plan
    from mechshift_core.execution.store import RunFolder
    from mechshift_core.models import Model
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.translate import Complaint
    from mechshift_core.spec.tree import Path
    from mechshift_core.tasks.counterfactual import Dataset

S = TypeVar("S", bound=Intervention)


def _dumped(section: Intervention, _: Spec) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude={"name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells(Generic[S]):
    """Which cells an intervention has, and what each depends on.

    They always depend on the weights, on how the model is read, and on the tokens of their examples.

    Attributes:
        per_pair: Whether they depend on the examples that are selected for a pair: one cell for each pair and side
            then. Otherwise a cell holds up to a hundred examples of a task on one model, whatever the pair.
        weights: Whether they are of the weights of a pair's two models alone: one cell for each pair then, whatever the
            tasks and budgets. Its `compute` gets the model before.
        settings: The options that they depend on; all but the name unless given.
        templates: Of cells per pair, whether the templates of the examples decide anything.
        labels: Of cells per pair, what else of the data set they depend on.
        of: Of cells per pair, the edge attribution whose scores they need; None for the only one.
        ranks: Of cells per pair, whether these scores rank edges or components.
        both: Of cells per pair, whether each is of both models alike, and only read as the model of its side is: where
            both are read alike, one cell serves both sides.
        pads: Whether prompts of several lengths may be one batch, padded on the right (`CounterfactualBatch.present`
            says what is no padding): what is computed of a prompt must then be what it gives alone. Otherwise the
            prompts of a batch have one length.
        parts: Further cells on the same examples that need all of the first ones of a model and task: part -> the
            options that it depends on.
        parts_ranked: Whether these need the edge attribution, too.
        draws: Of cells that are not per pair, whether those of a part (empty for the first ones) draw at random, by the
            seed of the spec and the name of the task; cells per pair may do so anyway.
    """

    per_pair: bool = False
    weights: bool = False
    settings: Callable[[S, Spec], dict[str, Any]] = _dumped
    templates: Callable[[S], bool] = lambda _: True
    labels: Callable[[Dataset], list[object]] = lambda _: []
    of: Callable[[S], str | None] = lambda _: None
    ranks: bool = False
    both: bool = False
    pads: Callable[[S], bool] = lambda _: False
    parts: Callable[[S, Spec], Mapping[str, list[object]]] = lambda _, __: {}
    parts_ranked: Callable[[S], bool] = lambda _: False
    draws: Callable[[S, str], bool] = lambda _, __: False


Compute = Callable[["Plan", "Cell", "Model", "RunFolder", S], None]
Check = Callable[["Draft", S, "Path"], "Iterator[Complaint]"]
CheckModels = Callable[[S, "Mapping[str, ModelFacts]", "Path"], "Iterator[Complaint]"]
ResultsOf = Callable[["Sample", "Spec", S, "Results"], "Measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InterventionKind(Generic[S]):
    """A kind of intervention.

    Attributes:
        section: Its section of a spec; the field `kind` is a Literal of its name, the docstring says what it is.
        compute: Computes and stores a cell: the plan, the cell, the model, the run directory, the section.
        cost: What a cell costs.
        cells: Which cells there are.
        attributes: Whether it scores the edges of every example, from which all measures of circuits are computed; it
            then also decides which examples a model answers correctly. A spec has exactly one.
        single: Why a spec has no use for a second one; empty where it has.
        least: The fewest selected prompts for which its results come to anything.
        results: What the stored cells of both models of a pair come to on a task; None where they are read otherwise.
        shifts: What hypotheses are tested with alone, for calibration; None for `results`.
        frames: Tables of a sample's own scores, as frames; None where there are none.
        listed: Rows about its cells themselves, given why some failed; None where there are none.
        testables: The measures that hypotheses can name which are its own.
        serves: Measure -> whether this intervention computes it, in a spec; its own measures always.
        apart: Why its measures can't be taken of halves of one model's prompts; empty where they can.
        tables: The tables that it has rows of and nobody else.
        checks: What a schema can't say: what is wrong with a section, given its path.
        checks_models: What does not fit the models, given the path of the section.
        checks_pair: Why it can't be done to a pair, given the facts of its models; empty where it can.
        facts: What the methods paragraph of a report needs to know of a section.
    """

    section: type[S]
    compute: Compute[S]
    cost: Callable[[Reads, S], Cost]
    cells: Cells[S] = field(default_factory=Cells)
    attributes: bool = False
    single: str = ""
    least: Least = ONE
    results: ResultsOf[S] | None = None
    shifts: ResultsOf[S] | None = None
    frames: Callable[[Sample], Mapping[str, Sequence[pl.DataFrame]]] | None = None
    listed: Callable[[Plan, RunFolder, Mapping[str, str], S], Mapping[str, Rows]] | None = None
    testables: tuple[Testable, ...] = ()
    serves: Mapping[str, Callable[[Spec, S], bool]] = field(default_factory=dict)
    apart: str = ""
    tables: Tables = field(default_factory=dict)
    checks: Check[S] = nothing_wrong
    checks_models: CheckModels[S] = nothing_wrong
    checks_pair: Callable[[ModelFacts, ModelFacts], str] = lambda _, __: ""
    facts: Callable[[S], Mapping[str, object]] = lambda _: {}

    @property
    def name(self) -> str:
        """What a spec says as `kind`."""
        return kind_of(self.section)

    @property
    def of_unrelated(self) -> bool:
        """Whether unrelated pairs have cells of it, and results."""
        return any(one.unrelated for one in self.testables)

    @property
    def summary(self) -> str:
        """What it is, the first sentence of the section's docstring."""
        return " ".join((self.section.__doc__ or "").split("\n\n")[0].split())

    def computes(self, measure: str, spec: Spec, section: S) -> bool:
        """Whether an intervention of the kind is what a measure is computed from in a spec."""
        if measure in self.serves:
            return self.serves[measure](spec, section)
        return any(one.name == measure for one in self.testables)

    @property
    def served(self) -> tuple[str, ...]:
        """The measures that it can compute."""
        return tuple(dict.fromkeys((*(one.name for one in self.testables), *self.serves)))


def kind_of(section: type[Intervention]) -> str:
    """The name of the kind that a section is of; empty where its field `kind` does not say one."""
    field = section.model_fields.get("kind")
    words = get_args(field.annotation) if field is not None else ()
    return str(words[0]) if len(words) == 1 and isinstance(words[0], str) else ""


def faults_of(kind: InterventionKind[Any]) -> Iterable[str]:
    """What is inconsistent about a kind of intervention."""
    yield from faults_of_section(kind.section, Intervention)
    if not (isinstance(kind.section, type) and issubclass(kind.section, Intervention)):
        return
    if not kind.name:
        yield f"the field `kind` of {kind.section.__name__} is to be a Literal of one word"
    if (kind.testables or kind.serves or kind.tables) and kind.results is None and not kind.attributes:
        yield "it has measures or tables, but no `results` that would fill them"
