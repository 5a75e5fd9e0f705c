"""Other choices that a study could have made, under which its hypotheses are decided again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, create_model

from mechshift_core.kinds.section import AblationMethod, AttributionMethod, Intervention
from mechshift_core.registry import generation
from mechshift_core.spec.base import Location, Section
from mechshift_core.spec.dynamic import given, restored

if TYPE_CHECKING:
    from mechshift_core.spec.schema import Spec

AVERAGE = "rank-average"
UNRANKED = (AVERAGE, "exact")
"""Attribution methods whose ranks are not averaged."""


class Sensitivity(Section):
    """Other choices under which every hypothesis is decided again, one change at a time.

    They are shown beside the verdicts, with a correction of their own, and are no part of the family of hypotheses.
    """

    interval: tuple[Literal["studentized", "percentile"], ...] = ()
    """Methods in place of `statistics.bootstrap.method`."""
    location: tuple[Location, ...] = ()
    """`mean` or `trimmed` in place of `statistics.location`."""
    ablation: tuple[AblationMethod, ...] = ()
    """What takes the place of what is ablated, in every intervention that a hypothesis depends on. These are new runs
    of the models."""
    method: tuple[AttributionMethod, ...] = ()
    """Methods in place of the edge attribution's `method`. `rank-average` is the mean rank by the study's own method
    and the others that stand here. These are new runs of the models."""
    steps: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = ()
    """Points on the path in place of the edge attribution's `steps` (methods on a path only). These are new runs of the
    models, as many as those of the study."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (sensitivity_model, given(self))

    def values(self, field: str) -> tuple[Any, ...]:
        """The values of a choice; none where no kind has it."""
        found: tuple[Any, ...] = getattr(self, field, ())
        return found


def sensitivity_model() -> type[Sensitivity]:
    """The section `sensitivity` with a field for every choice of a registered measure."""
    return _sensitivity_model(generation())


@cache
def _sensitivity_model(_: int) -> type[Sensitivity]:
    from mechshift_core.kinds import MEASURES

    fields: dict[str, Any] = {}
    for kind in MEASURES.values():
        for other in kind.otherwise:
            several: Any = tuple.__class_getitem__((other.type, ...))
            fields[other.field] = (several, Field(default=(), description=other.text))
    return create_model("Sensitivity", __base__=Sensitivity, __doc__=Sensitivity.__doc__, **fields)


def default_sensitivity() -> Sensitivity:
    """No other choices."""
    return sensitivity_model()()


@dataclass(frozen=True, slots=True)
class Choice:
    """A spec in which one choice is made otherwise.

    Attributes:
        name: What is chosen, a field of :class:`Sensitivity`; `value` is how, and `position` its place in the list.
        spec: The spec with this choice; its interventions are those that a hypothesis depends on.
        new_runs: Whether models must be run for it.
        rescored: Whether the edges are scored anew, and with them everything.
        measures: The measures of hypotheses that it can change; None for all.
    """

    name: str
    value: str
    position: int
    spec: Spec
    new_runs: bool = False
    rescored: bool = False

    @property
    def measures(self) -> frozenset[str] | None:
        """The measures of hypotheses that it can change; None for all."""
        found = measures_of(self.name)
        return None if found is None else frozenset(found)


def measures_of(choice: str) -> tuple[str, ...] | None:
    """The measures of hypotheses that a choice can change; None for all."""
    from mechshift_core.kinds import testables

    found = tuple(one.name for one, _ in testables() if choice in one.choices)
    return None if choice in ("interval", "method", "steps") else found


def section_of(choice: str) -> str | None:
    """The entry of `measures` in which a choice is made; None where it is made elsewhere."""
    from mechshift_core.kinds import MEASURES

    return next((kind.name for kind in MEASURES.values() for one in kind.otherwise if one.field == choice), None)


def choices(spec: Spec) -> Iterator[Choice]:
    """Every alternative that a spec names, with its spec, at the first inference budget; those of measures first."""
    from mechshift_core.kinds import MEASURES

    named, steps_of_answer = spec.sensitivity, spec.denoising.steps
    if isinstance(steps_of_answer, tuple):
        first = spec.denoising.model_copy(update={"steps": steps_of_answer[0]})
        spec = spec.model_copy(update={"denoising": first})
    for kind in MEASURES.values():
        for other in kind.otherwise:
            for position, value in enumerate(named.values(other.field)):
                changed = _measured(spec, kind.name, dict(other.update(value)))
                yield Choice(other.field, other.shown(value), position, changed)
    for position, method in enumerate(named.interval):
        bootstrap = spec.statistics.bootstrap.model_copy(update={"method": method})
        yield Choice("interval", method, position, _decided(spec, bootstrap=bootstrap))
    for position, location in enumerate(named.location):
        yield Choice("location", location, position, _decided(spec, location=location))
    for position, ablation in enumerate(named.ablation):
        yield Choice("ablation", ablation, position, _rerun(spec, {"ablation": ablation}), new_runs=True)
    for position, scored_by in enumerate(named.method):
        update: dict[str, object] = {"method": scored_by, "by_role": False}
        if scored_by == AVERAGE:
            update["methods"] = averaged(spec)
        changed = _rerun(spec, update, scoring=True)
        yield Choice("method", scored_by, position, changed, new_runs=True, rescored=True)
    for position, steps in enumerate(named.steps):
        changed = _rerun(spec, {"steps": steps}, scoring=True)
        yield Choice("steps", f"{steps} steps", position, changed, new_runs=True, rescored=True)


def own_values(spec: Spec) -> dict[str, tuple[object, ...]]:
    """Choice -> the values that are the study's own, so that naming them would change nothing."""
    from mechshift_core.kinds import MEASURES, attributes

    needed = _needed(spec)
    ablations = {one.replaces_by for one in needed if one.replaces_by is not None}
    declared = spec.measures.declared
    return {
        **{
            other.field: other.own(declared[kind.name]) if kind.name in declared else ()
            for kind in MEASURES.values()
            for other in kind.otherwise
        },
        "interval": (spec.statistics.bootstrap.method,),
        "location": (spec.statistics.location,),
        "ablation": tuple(ablations) if len(ablations) == 1 else (),
        "method": tuple(getattr(one, "method", None) for one in needed if attributes(one)),
        "steps": tuple(getattr(one, "steps", None) for one in needed if attributes(one)),
    }


def _has(intervention: Intervention, field: str) -> bool:
    return field in type(intervention).model_fields


def _needed(spec: Spec) -> tuple[Intervention, ...]:
    """The interventions that a hypothesis depends on."""
    from mechshift_core.kinds import attributes, serving_kinds

    kinds = {kind for hypothesis in spec.hypotheses for kind in serving_kinds(hypothesis.measure)}
    return tuple(one for one in spec.interventions if attributes(one) or one.kind in kinds)


def averaged(spec: Spec) -> tuple[str, ...]:
    """The methods whose ranks `rank-average` averages: the study's own and the others that the spec names."""
    from mechshift_core.kinds import attributes

    own = [method for one in spec.interventions if attributes(one) for method in getattr(one, "run_by", ())]
    return tuple(dict.fromkeys(one for one in (*own, *spec.sensitivity.method) if one not in UNRANKED))


def _rerun(spec: Spec, update: Mapping[str, object], *, scoring: bool = False) -> Spec:
    """A spec with other values of fields in every intervention that has them, or of those that score edges alone."""
    from mechshift_core.kinds import attributes

    def changed(one: Intervention) -> Intervention:
        concerned = all(_has(one, field) for field in update) and (not scoring or attributes(one))
        return one.model_copy(update=dict(update)) if concerned else one

    return spec.model_copy(update={"interventions": tuple(map(changed, _needed(spec)))})


def _decided(spec: Spec, **update: object) -> Spec:
    return spec.model_copy(update={"statistics": spec.statistics.model_copy(update=update)})


def _measured(spec: Spec, section: str, update: dict[str, object]) -> Spec:
    own = spec.measures.declared.get(section)
    changed = None if own is None else own.model_copy(update=update)
    return spec.model_copy(update={"measures": spec.measures.model_copy(update={section: changed})})
