"""What is computed from the interventions: one field a kind of measure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, create_model

from mechshift_core.registry import generation
from mechshift_core.spec.base import Section
from mechshift_core.spec.dynamic import given, restored

S = TypeVar("S", bound=Section)


class Measures(Section):
    """The measures to compute; one that is left out is not computed, `{}` computes it with its defaults."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def of(self, section: type[S]) -> S | None:
        """The options of a measure, by the class of its section; None where it is not computed."""
        found = (getattr(self, name) for name in type(self).model_fields)
        return next((one for one in found if isinstance(one, section)), None)

    def __reduce__(self) -> tuple[Any, ...]:
        return restored, (measures_model, given(self))

    @property
    def declared(self) -> dict[str, Section]:
        """Name -> options of every measure that is computed."""
        found = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one for name, one in found.items() if one is not None}


def measures_model() -> type[Measures]:
    """The section `measures` with a field for every registered kind."""
    return _measures_model(generation())


@cache
def _measures_model(_: int) -> type[Measures]:
    from mechshift_core.kinds import MEASURES

    fields: dict[str, Any] = {}
    for kind in MEASURES.values():
        named = [f"`{one.name}`" for one in kind.testables]
        needed = f" Needed by hypotheses on {', '.join(named)}." if named else ""
        fields[kind.name] = (kind.section | None, Field(default=None, description=f"{kind.summary}{needed}"))
    return create_model("Measures", __base__=Measures, __doc__=Measures.__doc__, **fields)


def default_measures() -> Measures:
    """The measures of a spec that names none."""
    from mechshift_core.kinds import MEASURES

    return measures_model()(**{kind.name: kind.section() for kind in MEASURES.values() if kind.usual})
