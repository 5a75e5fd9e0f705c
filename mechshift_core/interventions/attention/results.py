"""Where heads look, before and after: mean attention by token role, beside that of a head that looks evenly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mechshift_core.analysis.measured import Measured, Results, mean_intervals_of
from mechshift_core.analysis.read_at import read_apart
from mechshift_core.analysis.samples import Sample
from mechshift_core.execution.scores import Stored
from mechshift_core.interventions.attention.right_context import measure_right_context
from mechshift_core.interventions.attention.section import Attention
from mechshift_core.spec import Spec
from stats.hypothesis_tests import difference_test
from stats.means import MeanIntervals
from stats.multiplicity import benjamini_hochberg

Floats = npt.NDArray[np.float64]
READ, DIRECTIONS = "(read)", ("(left)", "(self)", "(right)")
"""What the position read and the directions are called among the roles."""


@dataclass(frozen=True, eq=False, slots=True)
class _Looked:
    """Attention on some examples; the last head is the mean of its layer.

    Attributes:
        mass: [n, layers, heads + 1, from, to].
        uniform: [n, from, to].
        present: Whether an example has queries of a group, [n, from].
    """

    mass: Floats
    uniform: Floats
    present: npt.NDArray[np.bool_]

    def minus(self, other: _Looked) -> _Looked:
        """The differences, example by example, of the groups that both have."""
        return _Looked(self.mass - other.mass, self.uniform - other.uniform, self.present & other.present)


def measure_attention(sample: Sample, spec: Spec, intervention: Attention, results: Results) -> Measured:
    """Rows of `attention`: of each model, and after minus before where both are there; the measure `right_context`."""
    right = measure_right_context(sample, spec, intervention.name, results)
    stored = {side: found for side, found in results.items() if isinstance(found, Stored)}
    if not sample.n or not stored:
        return right
    roles = tuple(dict.fromkeys(role for found in stored.values() for role in found.description["roles"]))
    looked = {side: _looked(found, sample.ids(side), roles) for side, found in stored.items()}
    if len(looked) == 2:
        looked["shift"] = looked["after"].minus(looked["before"])
        looked["shift"].present[:, 0] &= not read_apart(sample, spec)
    rows = [row for side, one in looked.items() for row in _rows(sample, spec, intervention, side, one, roles)]
    return replace(right, rows={"attention": rows})


def _looked(stored: Stored, ids: npt.NDArray[np.int64], roles: Sequence[str]) -> _Looked:
    """A side's attention, to and from the roles that either side has: where it has none, it looks at none."""
    mass, uniform, queries = (
        np.moveaxis(stored.tensors[name][..., ids], -1, 0) for name in ("mass", "uniform", "queries")
    )
    own = stored.description["roles"]
    queried = [0, *(1 + roles.index(role) for role in own)]
    seen = [*(roles.index(role) for role in own), *(len(roles) + at for at in range(len(DIRECTIONS)))]
    n, layers, heads = mass.shape[:3]
    sizes = 1 + len(roles), len(roles) + len(DIRECTIONS)
    wide = np.zeros((n, layers, heads + 1, *sizes))
    place = np.ix_(queried, seen)
    wide[:, :, :heads, place[0], place[1]] = mass
    wide[:, :, heads] = wide[:, :, :heads].mean(axis=2)
    even = np.zeros((n, *sizes))
    even[:, place[0], place[1]] = uniform
    present = np.zeros((n, sizes[0]), dtype=bool)
    present[:, queried] = queries > 0
    return _Looked(wide, even, present)


def _rows(
    sample: Sample, spec: Spec, intervention: Attention, side: str, looked: _Looked, roles: Sequence[str]
) -> Iterator[dict[str, object]]:
    for at, role in enumerate((READ, *roles)):
        chosen = looked.present[:, at]
        if not chosen.any():
            continue
        mass = looked.mass[chosen, :, :, at]
        ids = sample.ids("before" if side == "before" else "after")[chosen]
        found = mean_intervals_of(sample, spec, mass.reshape(len(mass), -1), ids)
        heads = mass.shape[2] - 1
        corrected = _corrected(found, mass.shape[1:]) if (side, role) == ("shift", READ) else None
        uniform = looked.uniform[chosen, at].mean(axis=0)
        for number, (layer, head, to) in enumerate(np.ndindex(*mass.shape[1:])):
            low, high = float(found.low[number]), float(found.high[number])
            yield {
                **sample.labels(),
                "model": None if side == "shift" else sample.side(side).model,
                "side": side,
                "intervention": intervention.name,
                "layer": layer,
                "head": None if head == heads else head,
                "from_role": role,
                "to_role": (*roles, *DIRECTIONS)[to],
                "mass": float(found.estimate[number]),
                "low": None if np.isnan(low) else low,
                "high": None if np.isnan(high) else high,
                "uniform": float(uniform[to]),
                "p_corrected": None if corrected is None else corrected[number],
                "n": found.n,
            }


def _corrected(found: MeanIntervals, shape: tuple[int, ...]) -> list[float | None]:
    """p-values of the single heads' changes, corrected over all heads and all that they look at."""
    single = np.zeros(shape, dtype=bool)
    single[:, :-1] = True
    p: list[float | None] = []
    for estimate, se, df, tested in zip(found.estimate, found.se, found.df, single.ravel(), strict=True):
        usable = tested and se > 0  # not where it is NaN
        p.append(difference_test(float(estimate), float(se), float(df)).p if usable else None)
    return benjamini_hochberg(p)
