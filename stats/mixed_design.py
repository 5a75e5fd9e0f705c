"""The matrices of a mixed model: columns of its fixed effects, and groups and columns of its random ones.

Text, categorical and boolean columns are factors, with treatment coding against the first level in sorted order (for a
polars Enum, in its own order). A factor whose margin is not in the formula has a column for every level, and of an
interaction without any of its margins, as in `y ~ a:b`, there is a column for every cell that is no combination of the
columns before it, as in R. The formulas themselves are read by `stats.mixed_formula`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from stats.checks import Floats, Integers
from stats.mixed_basis import Basis, Column, Variables, basis
from stats.mixed_columns import is_factor, level_codes, number_column
from stats.mixed_formula import FormulaReader, Variable

_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Design:
    """A design matrix and how each of its columns is made.

    Attributes:
        matrix: [n, columns].
        columns: What they are.
        factors: Levels of every factor, the reference first.
        means: Mean of every number.
        basis: Columns that span the same, over centred and scaled numbers.
    """

    matrix: Floats
    columns: tuple[Column, ...]
    factors: Mapping[str, tuple[str, ...]]
    means: Mapping[str, float]
    basis: Basis

    @property
    def names(self) -> list[str]:
        """Names of the columns."""
        return [column.name for column in self.columns]

    def slope(self, covariate: str, at: Mapping[str, str]) -> Floats:
        """Weights [columns] of the slope over a covariate at levels of factors.

        Factors that are not in `at` are averaged over their levels, other numbers are at their mean.
        """
        weights = np.zeros(len(self.columns))
        for j, column in enumerate(self.columns):
            if covariate in column.numbers:
                weights[j] = np.prod([self.means[name] for name in column.numbers if name != covariate])
                for factor, level in column.levels:
                    weights[j] *= at[factor] == level if factor in at else 1 / len(self.factors[factor])
        return weights


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """Effects of some columns, drawn anew for every level of a group, with one covariance matrix.

    Attributes:
        text: As it was given.
        group: The grouping column, or several joined by `:`.
        names: Names of the columns [k].
        values: [n, k], orthogonal over the rows and of mean square 1 where they can be; the columns that were given
            are `values @ onto`, and covariances and predictions are turned back to these.
        onto: [k, k].
        codes: Level of every row [n].
        levels: Labels of the levels.
    """

    text: str
    group: str
    names: tuple[str, ...]
    values: Floats
    onto: Floats
    codes: Integers
    levels: tuple[str, ...]

    def covariance(self, psi: Floats) -> Floats:
        """Covariance matrix [k, k] of the effects of the columns that were given, from that of those of `values`."""
        back = np.linalg.inv(self.onto)
        return np.asarray(back @ psi @ back.T)

    def effects(self, predicted: Floats) -> Floats:
        """Effects [levels, k] of the columns that were given, from those of `values`."""
        return np.asarray(np.linalg.solve(self.onto, predicted.T).T)


def fixed_design(frame: pl.DataFrame, formula: str) -> tuple[str, Floats, Design]:
    """Name and values [n] of the response, and the design matrix of the fixed effects.

    Raises:
        ValueError: if the formula can't be read, a column is missing, incomplete or of the wrong type, or columns of
            the design are linearly dependent.
    """
    left, tilde, right = formula.partition("~")
    if not tilde:
        raise ValueError(f"formula: expected 'response ~ terms', got {formula!r}")
    reader = FormulaReader(left, "formula")
    response = reader.variable()
    reader.end()
    if response.as_factor:
        raise ValueError(f"formula: expected numbers as the response, got {response.label}")
    y = number_column(frame, response.column, "formula")
    design = _design(frame, FormulaReader(right, "formula").read(), "formula")[0]
    if response.column in design.means:
        raise ValueError(f"formula: the response {response.column!r} can't be one of the terms")
    check_independent(design)
    return response.column, y, design


def check_independent(design: Design) -> None:
    """Whether there are more rows than columns, and no column is a combination of others.

    Raises:
        ValueError: if not.
    """
    matrix = design.basis.matrix
    if len(matrix) <= len(design.columns):
        raise ValueError(
            f"formula: expected more rows than the {len(design.columns)} columns of the fixed effects, "
            f"got {len(matrix)}"
        )
    norms = np.linalg.norm(matrix, axis=0)
    pivots = np.abs(np.diag(np.linalg.qr(matrix / np.where(norms > 0, norms, 1), mode="r")))
    aliased = [name for name, pivot in zip(design.names, pivots, strict=True) if pivot < _RANK_TOLERANCE]
    if aliased:
        raise ValueError(
            f"formula: expected linearly independent columns, got {', '.join(aliased)} as a combination of the columns "
            "before (a combination of levels without rows, or a column that does not vary)"
        )


def random_terms(frame: pl.DataFrame, random: Sequence[str]) -> list[RandomTerm]:
    """The random effects `terms | group`: `1 | g`, `0 + x | g`, `1 + x | g`, `1 + x || g`, `1 | a/b`, `1 | a:b`.

    As in R, the effects of one entry are correlated; after `||`, and in entries of their own, they are not.

    Raises:
        ValueError: if an entry can't be read, a column is missing, incomplete or of the wrong type, or the effects
            can't be told from each other or from the residual.
    """
    if not random:
        raise ValueError("random: expected at least one entry such as '1 | group', got none")
    found = []
    for text in random:
        where = f"random {text!r}"
        inner = text.strip()
        inner = inner[1:-1] if inner.startswith("(") and inner.endswith(")") else inner
        match = re.fullmatch(r"([^|]*)(\|\|?)([^|]*)", inner)
        if match is None:
            raise ValueError(f"{where}: expected 'terms | group'")
        design, variables = _design(frame, FormulaReader(match[1], where).read(), where)
        apart = [[j] for j in range(len(design.columns))]
        for grouping in _groupings(match[3], where):
            codes, levels = level_codes(frame, grouping, where)
            for chosen in apart if match[2] == "||" else [list(range(len(design.columns)))]:
                names = tuple(design.names[j] for j in chosen)
                own = basis([design.columns[j] for j in chosen], variables).orthogonal()
                found.append(RandomTerm(text, ":".join(grouping), names, own.matrix, own.onto, codes, tuple(levels)))
    _identifiable(found)
    return found


def check_effects(terms: Sequence[RandomTerm], rows: int) -> None:
    """Whether every random term has fewer effects than there are independent rows.

    Raises:
        ValueError: if not.
    """
    for term in terms:
        effects = len(term.levels) * len(term.names)
        if effects >= rows:
            raise ValueError(
                f"random {term.text!r}: expected fewer effects than rows, got {effects} effects of {term.group!r} for "
                f"{rows} rows: their variance can't be told from the residual"
            )


def _identifiable(terms: Sequence[RandomTerm]) -> None:
    check_effects(terms, len(terms[0].codes))
    for one, other in itertools.combinations(terms, 2):
        shared = set(one.names) & set(other.names)
        together = len(np.unique(one.codes * len(other.levels) + other.codes))
        if shared and together == len(one.levels) == len(other.levels):
            raise ValueError(
                f"random {other.text!r}: {', '.join(sorted(shared))} of {other.group!r} can't be told from that of "
                f"{one.group!r} in {one.text!r}: both have the same groups"
            )


def _design(frame: pl.DataFrame, terms: Sequence[tuple[Variable, ...]], where: str) -> tuple[Design, Variables]:
    numbers: dict[str, Floats] = {}
    labels: dict[str, Integers] = {}
    factors: dict[str, tuple[str, ...]] = {}
    for variable in dict.fromkeys(itertools.chain.from_iterable(terms)):
        if variable.as_factor or is_factor(frame, variable.column, where):
            labels[variable.label], factors[variable.label] = level_codes(frame, (variable.column,), where)
        else:
            numbers[variable.label] = number_column(frame, variable.column, where)
    columns = tuple(_columns(terms, factors))
    variables = Variables(frame.height, numbers, labels, factors)
    means = {name: float(values.mean()) for name, values in numbers.items()}
    return Design(variables.matrix(columns), columns, factors, means, basis(columns, variables)), variables


def _columns(terms: Sequence[tuple[Variable, ...]], factors: Mapping[str, tuple[str, ...]]) -> Iterable[Column]:
    covered: dict[frozenset[str], set[frozenset[str]]] = {}
    found: dict[frozenset[str], list[Column]] = {}
    for term in terms:
        inside = [variable.label for variable in term if variable.label in factors]
        numbers = frozenset(variable.label for variable in term if variable.label not in factors)
        before, earlier = covered.setdefault(numbers, set()), found.setdefault(numbers, [])
        subsets = [frozenset(s) for size in range(len(inside) + 1) for s in itertools.combinations(inside, size)]
        margins = [subset for subset in subsets if len(subset) == len(inside) - 1]
        if len(inside) > 1 and before.isdisjoint(margins):
            cells = _coded(term, dict.fromkeys(inside, True), factors)
            columns = _independent(earlier, cells, factors)
        else:
            codings = _merged([dict.fromkeys(subset, False) for subset in subsets if subset not in before])
            columns = [column for coding in codings for column in _coded(term, coding, factors)]
        yield from columns
        earlier += columns
        before.update(subsets)


def _coded(
    term: Sequence[Variable], coding: Mapping[str, bool], factors: Mapping[str, tuple[str, ...]]
) -> list[Column]:
    """The columns of a term, of the factors in `coding` with every level (True) or all but the reference."""
    chosen = [variable.label for variable in term if variable.label in coding]
    numbers = tuple(variable.label for variable in term if variable.label not in factors)
    # The first factor varies fastest, as in R.
    choices = [[(name, level) for level in factors[name][not coding[name] :]] for name in reversed(chosen)]
    found = []
    for reverse in itertools.product(*choices):
        levels = reverse[::-1]
        shown = {name: f"{name}[{'' if coding[name] else 'T.'}{level}]" for name, level in levels}
        parts = [shown.get(v.label, v.label) for v in term if v.label in shown or v.label in numbers]
        found.append(Column(":".join(parts) or "Intercept", numbers, levels))
    return found


def _independent(
    earlier: Sequence[Column], columns: Sequence[Column], factors: Mapping[str, tuple[str, ...]]
) -> list[Column]:
    """The columns that are no combination of those before them, wherever all levels occur together."""
    used = dict.fromkeys(name for column in (*earlier, *columns) for name, _ in column.levels)
    sizes = [len(factors[name]) for name in used]
    cells = dict(zip(used, (axis.ravel() for axis in np.indices(sizes)), strict=True))
    crossed = Variables(int(np.prod(sizes)), {}, cells, factors)
    bare = [Column(column.name, (), column.levels) for column in (*earlier, *columns)]
    kept: list[Column] = []
    directions = np.zeros((crossed.rows, 0))
    for i, values in enumerate(crossed.matrix(bare).T):
        left = values - directions @ (directions.T @ values)
        left -= directions @ (directions.T @ left)
        size = float(np.linalg.norm(left))
        if size > _RANK_TOLERANCE * float(np.linalg.norm(values)):
            directions = np.column_stack([directions, left / size])
            kept += [columns[i - len(earlier)]] if i >= len(earlier) else []
    return kept


def _merged(pieces: list[dict[str, bool]]) -> list[dict[str, bool]]:
    """Codings of factors, full (True) or against the reference, that span what these span together."""
    for short, long in itertools.permutations(pieces, 2):
        extra = long.keys() - short.keys()
        if len(extra) == 1 and short.items() <= long.items() and not long[min(extra)]:
            rest = [piece for piece in pieces if piece is not short and piece is not long]
            return _merged([*rest, {**short, min(extra): True}])
    return pieces


def _groupings(text: str, where: str) -> list[tuple[str, ...]]:
    """The grouping columns of `a`, `a:b` (their combinations) or `a/b` (both)."""
    parts = [tuple(name.strip().strip("`") for name in part.split(":")) for part in text.split("/")]
    if not all(name for part in parts for name in part):
        raise ValueError(f"{where}: expected a group such as a, a:b or a/b after the bar, got {text.strip()!r}")
    nested = list(itertools.accumulate(parts))
    return [tuple(dict.fromkeys(names)) for names in nested]
