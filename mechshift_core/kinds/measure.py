"""What a kind of measure is: an entry of `measures`, computed from the cells that there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mechshift_core.kinds.common import faults_of_section
from mechshift_core.kinds.tables import Tables
from mechshift_core.kinds.testable import Least, Testable, nothing_wrong
from mechshift_core.spec.base import Section

if TYPE_CHECKING:
    from mechshift_core.analysis.hypotheses import Evidence
    from mechshift_core.analysis.measured import Measured, Rows
    from mechshift_core.analysis.samples import Sample, Samples
    from mechshift_core.execution.facts import ModelFacts
    from mechshift_core.spec.draft import Draft
    from mechshift_core.spec.schema import Spec
    from mechshift_core.spec.translate import Complaint
    from mechshift_core.spec.tree import Path
    from stats.findings import Estimate

M = TypeVar("M", bound=Section)
Key = tuple[str, str]
"""Pair and task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise(Generic[M]):
    """A choice of a measure that a study may want to see made otherwise: a field of `sensitivity`.

    Attributes:
        field: The field of `sensitivity`.
        type: The type of one value.
        text: What the field is, for its documentation.
        update: The fields of the measure's section under a value.
        shown: A value in words.
        own: The values that are the study's own, so that naming them would change nothing.
    """

    field: str
    type: Any
    text: str
    update: Callable[[Any], Mapping[str, object]]
    own: Callable[[M], tuple[object, ...]]
    shown: Callable[[Any], str] = str


@dataclass(frozen=True, slots=True)
class Together:
    """What a derived measure comes to.

    Attributes:
        evidence: The evidence with it.
        rows: Table -> the rows that there are, with what is said of it.
        estimates: What goes into the findings beside the hypotheses; they may be made when they are asked for.
    """

    evidence: Evidence
    rows: Mapping[str, Rows] = field(default_factory=dict)
    estimates: Iterable[Estimate] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What is computed of the measures of all pairs and tasks together.

    Attributes:
        measure: The measure that it is, and `of`, the one that it is computed from.
        compute: Computes it, from the evidence that there is, the spec, and the rows by table (none where these are
            not asked for).
    """

    measure: str
    of: str
    compute: Callable[[Evidence, Spec, Mapping[str, Rows]], Together]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureKind(Generic[M]):
    """A kind of measure.

    Attributes:
        name: Its entry in `measures`.
        section: Its options; the docstring says what it is.
        least: The fewest selected prompts for which it comes to anything.
        measure: What it comes to for a pair and task: the sample, the spec. None where interventions compute it.
        shifts: What hypotheses are tested with alone, without tables and nulls; None for `measure`.
        thorough: Whether alternatives of a study (`sensitivity`) take `measure` all the same.
        asked: Whether what it comes to depends on which of its measures hypotheses name.
        testables: The measures that hypotheses can name.
        computes: Whether the kind itself computes what hypotheses name; not where an intervention does.
        tables: The tables that it has rows of and nobody else.
        tabled: Rows of tables that are of all pairs and tasks together.
        usual: Whether a spec that names no measures has it.
        otherwise: Choices that a study can see made otherwise.
        prepared: The samples as they are measured; as they are unless given.
        derived: What is computed of the measures of all pairs and tasks together.
        checks: What a schema can't say, given the path of the section.
        checks_models: What does not fit the models.
        facts: What the methods paragraph of a report needs to know of a section.
    """

    name: str
    section: type[M]
    least: Least
    measure: Callable[[Sample, Spec], Measured] | None = None
    shifts: Callable[[Sample, Spec], Measured] | None = None
    thorough: bool = False
    asked: bool = False
    testables: tuple[Testable, ...] = ()
    computes: Callable[[Spec], bool] = lambda _: True
    tables: Tables = field(default_factory=dict)
    tabled: Callable[[Samples, Spec], Mapping[str, Rows]] | None = None
    usual: bool = False
    otherwise: tuple[Otherwise[M], ...] = ()
    prepared: Callable[[Mapping[Key, Sample], Spec, bool], dict[Key, Sample]] | None = None
    derived: Derived | None = None
    checks: Callable[[Draft, M, Path], Iterator[Complaint]] = nothing_wrong
    checks_models: Callable[[Spec, Mapping[str, ModelFacts], Path], Iterator[Complaint]] = nothing_wrong
    facts: Callable[[M], Mapping[str, object]] = lambda _: {}

    @property
    def summary(self) -> str:
        """What it is, the docstring of its section."""
        return " ".join((self.section.__doc__ or "").split())


def faults_of(kind: MeasureKind[Any]) -> Iterable[str]:
    """What is inconsistent about a kind of measure."""
    yield from faults_of_section(kind.section, Section)
    if not (isinstance(kind.section, type) and issubclass(kind.section, Section)):
        return
    required = [name for name, one in kind.section.model_fields.items() if one.is_required()]
    if required:
        yield f"fields without a default, so that `{kind.name}: {{}}` is no measure: {', '.join(required)}"
    if not kind.testables and not kind.tables:
        yield "it has neither a measure that hypotheses can name nor a table"
