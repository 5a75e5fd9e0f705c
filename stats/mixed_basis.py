"""Columns of a design over centred and scaled numbers, and how those of the design itself are made of them.

A model does not depend on where a covariate has its zero, or on its unit, as long as it has the columns that a shift of
the zero adds: `1 + x` spans what `1 + (x - c) / s` does, and so does `f * x`; `0 + x` does not. In floating point it
does depend on them: years around 2000 are nearly a multiple of the intercept. So numbers whose zero is free are
centred, all are scaled, and what comes out is turned back: the columns X of the design are C A, with C those over the
centred numbers and A `onto`, so that coefficients b on X are A b on C, and a covariance matrix P of effects is A P A'.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stats.checks import Floats, Integers

_SPANNED = 1e-9
_DEPENDENT = 1e-8


class Column(NamedTuple):
    """A column of a design matrix: the product of numbers and of indicators of levels."""

    name: str
    numbers: tuple[str, ...]
    levels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Variables:
    """What the columns of a design are made of.

    Attributes:
        rows: Number of rows n.
        numbers: Values [n] of every number.
        labels: Level of every row [n] by factor, `factors` the names of the levels.
    """

    rows: int
    numbers: Mapping[str, Floats]
    labels: Mapping[str, Integers]
    factors: Mapping[str, tuple[str, ...]]

    def matrix(self, columns: Sequence[Column], numbers: Mapping[str, Floats] | None = None) -> Floats:
        """The columns [n, columns], with other values of the numbers where they are given."""
        values = self.numbers if numbers is None else numbers
        found = np.ones((self.rows, len(columns)))
        for j, column in enumerate(columns):
            for name in column.numbers:
                found[:, j] *= values[name]
            for name, level in column.levels:
                found[:, j] *= self.labels[name] == self.factors[name].index(level)
        return found

    def cells(self) -> Variables:
        """The combinations of levels that occur, a row each, without the numbers."""
        if not self.labels:
            return Variables(1, {}, {}, {})
        distinct = np.unique(np.column_stack(list(self.labels.values())), axis=0)
        return Variables(len(distinct), {}, dict(zip(self.labels, distinct.T, strict=True)), self.factors)


@dataclass(frozen=True, slots=True)
class Basis:
    """Columns that span what those of a design do.

    Attributes:
        matrix: [n, columns].
        onto: [columns, columns]: those of the design are `matrix @ onto`.
        constant: Coefficients of the design's columns [columns] that give 1 in every row; None where none do.
    """

    matrix: Floats
    onto: Floats
    constant: Floats | None

    def orthogonal(self) -> Basis:
        """The same with columns that are orthogonal over the rows, of mean square 1; where they are dependent, this."""
        if self.matrix.shape[1] < 2:
            return self
        columns, triangle = np.linalg.qr(self.matrix)
        lengths = np.linalg.norm(self.matrix, axis=0)
        if not (np.abs(np.diag(triangle)) > _DEPENDENT * lengths).all():
            return self
        size = np.sqrt(len(columns))
        return Basis(columns * size, triangle @ self.onto / size, self.constant)


def basis(columns: Sequence[Column], variables: Variables) -> Basis:
    """The columns over centred and scaled numbers; see the module."""
    patterns = _Patterns(columns, variables)
    centres, scales = {}, {}
    for name in dict.fromkeys(name for column in columns for name in column.numbers):
        centres[name], scales[name] = _origin(variables.numbers[name], free=patterns.free(name))
    moved = {name: (variables.numbers[name] - centres[name]) / scales[name] for name in centres}
    onto = np.zeros((len(columns), len(columns)))
    for j, column in enumerate(columns):
        for size in range(len(column.numbers) + 1):
            for inside in itertools.combinations(column.numbers, size):
                left = [centres[name] for name in column.numbers if name not in inside]
                weight = float(np.prod([scales[name] for name in inside]) * np.prod(left))
                if weight == 0:
                    continue
                rows, share = ([j], np.ones(1)) if not left else patterns.combination(frozenset(inside), j)
                onto[rows, j] += weight * share
    return Basis(variables.matrix(columns, moved), onto, patterns.constant())


def _origin(values: Floats, *, free: bool) -> tuple[float, float]:
    """What to subtract from a number and what to divide it by."""
    largest = float(np.abs(values).max())
    centre = float(values.mean()) if free else 0.0
    spread = float(np.abs(values - centre).max())
    # What varies by rounding only does not vary.
    if centre and spread <= 8 * np.finfo(np.float64).eps * largest:
        centre, spread = 0.0, largest
    return centre, spread or 1.0


class _Patterns:
    """The indicators of the columns over the combinations of levels, by the numbers that they are multiplied with."""

    def __init__(self, columns: Sequence[Column], variables: Variables) -> None:
        self.columns = columns
        bare = [Column(column.name, (), column.levels) for column in columns]
        self.matrix = variables.cells().matrix(bare)
        self.groups: dict[frozenset[str], list[int]] = {}
        for j, column in enumerate(columns):
            self.groups.setdefault(frozenset(column.numbers), []).append(j)

    def free(self, name: str) -> bool:
        """Whether the columns with a number, divided by it, are combinations of the other columns."""
        return all(
            self._spans(numbers - {name}, self.matrix[:, members]) is not None
            for numbers, members in self.groups.items()
            if name in numbers
        )

    def combination(self, numbers: frozenset[str], j: int) -> tuple[list[int], Floats]:
        """The columns with these numbers, and the coefficients [columns] with which they give the indicators of j."""
        found = self._spans(numbers, self.matrix[:, [j]])
        assert found is not None  # the centred numbers are free
        return self.groups[numbers], found[:, 0]

    def constant(self) -> Floats | None:
        found = self._spans(frozenset(), np.ones((len(self.matrix), 1)))
        if found is None:
            return None
        coefficients = np.zeros(len(self.columns))
        coefficients[self.groups[frozenset()]] = found[:, 0]
        return coefficients

    def _spans(self, numbers: frozenset[str], wanted: Floats) -> Floats | None:
        """Coefficients of the columns with these numbers that give some indicators; None where none do."""
        if numbers not in self.groups:
            return None
        own = self.matrix[:, self.groups[numbers]]
        found = np.linalg.lstsq(own, wanted, rcond=None)[0]
        whole = np.round(found)
        # Of indicators they are whole numbers, but for levels that do not occur together.
        for coefficients in (whole, found):
            if np.abs(own @ coefficients - wanted).max() < _SPANNED:
                return np.asarray(coefficients)
        return None
