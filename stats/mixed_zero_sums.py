"""Models of responses that sum to zero within groups of rows, as the shifts of a prompt's shares over its layers do.

Of the L rows of such a group L - 1 are independent. With residuals e - mean(e) of the rows, e as usual, any L - 1
orthonormal contrasts of the rows have independent residuals of the same variance (Helmert's, say), and their sums of
squares and products are those of the rows less their means. So the model of the contrasts is fitted to the rows with
every column taken less its mean in the group, and with as many rows fewer as there are groups. Columns that do not vary
within the groups, as the intercept, are zero then: they are left out, their effects are zero by construction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from stats.checks import Floats, Integers
from stats.mixed_basis import Basis
from stats.mixed_columns import level_codes
from stats.mixed_design import Design, RandomTerm, check_effects, check_independent

_ZERO = 1e-9
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class ZeroSums:
    """A design over rows that sum to zero in groups.

    Attributes:
        design: The fixed effects that vary within the groups, less their means.
        terms: The random ones, likewise.
        groups: Number of groups: so many rows are none of their own.
        left_out: Effects that are zero by construction.
    """

    design: Design
    terms: list[RandomTerm]
    groups: int
    left_out: tuple[str, ...]


def with_zero_sums(
    frame: pl.DataFrame, y: Floats, design: Design, terms: Sequence[RandomTerm], names: Sequence[str]
) -> ZeroSums:
    """The design over the rows less the means of their groups, the combinations of the columns `names`.

    Raises:
        ValueError: if a column is missing or has gaps, the response does not sum to zero, a random effect's groups
            divide rows that do, nothing varies within the groups, or what does can't be told apart.
    """
    _, code = np.unique([_codes(frame, name) for name in names], axis=1, return_inverse=True)
    code = np.asarray(code).reshape(-1)
    means = _Means(code)
    size = float(np.abs(y).max())
    off = np.abs(np.bincount(code, weights=y)) > _ROUNDING * size * means.counts
    if off.any():
        raise ValueError(
            f"sums_to_zero: expected a response that sums to zero in every group of {':'.join(names)}, got "
            f"{int(off.sum())} of {len(off)} with another sum"
        )
    kept = means.varying(design.basis.matrix)
    if not kept.any():
        raise ValueError(f"formula: expected an effect that varies within the groups of {':'.join(names)}, got none")
    columns = [column for column, stays in zip(design.columns, kept, strict=True) if stays]
    inside = Basis(means.without(design.basis.matrix[:, kept]), design.basis.onto[np.ix_(kept, kept)], None)
    found = replace(design, matrix=means.without(design.matrix[:, kept]), columns=tuple(columns), basis=inside)
    check_independent(found)
    left_out = [name for name, stays in zip(design.names, kept, strict=True) if not stays]
    random: list[RandomTerm] = []
    for term in terms:
        if len(np.unique(np.stack([code, term.codes]), axis=1).T) > means.groups:
            raise ValueError(
                f"random {term.text!r}: the groups of {term.group!r} divide rows that sum to zero together; expected "
                f"groups of whole combinations of {':'.join(names)}"
            )
        values = term.values @ term.onto
        stays = means.varying(values)
        left_out += [f"{name} | {term.group}" for name, on in zip(term.names, stays, strict=True) if not on]
        if not stays.any():
            continue
        own = Basis(means.without(values[:, stays]), np.eye(int(stays.sum())), None).orthogonal()
        kept_names = tuple(name for name, on in zip(term.names, stays, strict=True) if on)
        random.append(replace(term, names=kept_names, values=own.matrix, onto=own.onto))
    if not random:
        raise ValueError(f"random: expected an effect that varies within the groups of {':'.join(names)}, got none")
    check_effects(random, len(y) - means.groups)
    return ZeroSums(found, random, means.groups, tuple(left_out))


class _Means:
    """Means of the rows' groups."""

    def __init__(self, code: Integers) -> None:
        self.code = code
        self.counts = np.bincount(code)
        self.groups = len(self.counts)

    def without(self, matrix: Floats) -> Floats:
        """Every column less its mean in the group."""
        found = np.empty_like(matrix)
        for j, column in enumerate(matrix.T):
            found[:, j] = column - (np.bincount(self.code, weights=column) / self.counts)[self.code]
        return found

    def varying(self, matrix: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Which columns are not the same in all rows of every group."""
        largest = np.abs(matrix).max(axis=0)
        return np.asarray(np.abs(self.without(matrix)).max(axis=0) > _ZERO * largest)


def _codes(frame: pl.DataFrame, name: str) -> Integers:
    if name in frame.columns and frame[name].n_unique() == 1 and not frame[name].null_count():
        return np.zeros(frame.height, dtype=np.int64)
    return level_codes(frame, (name,), "sums_to_zero")[0]
