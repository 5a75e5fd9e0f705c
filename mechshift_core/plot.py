"""The report's drawings, one by one: `plot.overlap(run, task="ioi")`.

A notebook shows a drawing that is the last line of a cell; `.save("overlap.pdf")` writes it for a paper, and `.tables`
are its numbers. :func:`names` lists what a run has, :func:`figure` draws any of it; the other functions are short for
the drawings that most studies have. All of them take a run, or its directory, and raise what :func:`figure` raises.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mechshift_core.drawing import Drawing, data_of, drawing_of, names_of
from mechshift_core.errors import UsageError
from mechshift_core.options import checked_as

if TYPE_CHECKING:
    from mechshift_core.finished_run import Run

__all__ = [
    "Drawing",
    "circuit",
    "depth",
    "faithfulness",
    "figure",
    "forest",
    "movement",
    "names",
    "nodes",
    "overlap",
    "similarity",
    "specialization",
    "trajectories",
]


@checked_as(UsageError)
def figure(
    run: Run | str | os.PathLike[str],
    name: str,
    *,
    pair: str | None = None,
    task: str | None = None,
    measure: str | None = None,
    allow_code: bool = False,
) -> Drawing:
    """A drawing of the report by name.

    Args:
        run: A finished run, or its directory.
        name: One of :func:`names`; or a section of the report, a table or a measure, whose first drawing it is.
        pair: The pair that it is about; all unless given.
        task: The task, likewise.
        measure: The measure, where a drawing has several.
        allow_code: Whether the copies of `extensions` in the run directory may be run.

    Raises:
        UsageError: if it is no run, or the run has no such drawing, pair, task or measure; the message lists those
            that it has.
        ExecutionError: if the run has not come to an end, its files are damaged, or it can't be drawn so.
    """
    return drawing_of(data_of(run, allow_code=allow_code), name, pair=pair, task=task, measure=measure)


@checked_as(UsageError)
def names(run: Run | str | os.PathLike[str], *, allow_code: bool = False) -> tuple[str, ...]:
    """The drawings that a run has, in the order of the report; raises as :func:`figure`."""
    return names_of(data_of(run, allow_code=allow_code))


def forest(run: Run | str | os.PathLike[str], *, measure: str | None = None) -> Drawing:
    """The verdicts: each hypothesis with its estimate, its interval and what it is held against."""
    return figure(run, "verdicts", measure=measure)


def circuit(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """The edges of largest attribution: kept, lost and gained."""
    return figure(run, "circuits", pair=pair, task=task)


def overlap(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """The overlap of the circuits over their size, between chance and the noise ceiling."""
    return figure(run, "overlap", pair=pair, task=task)


def similarity(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """The correlation of the two models' edge scores over all edges."""
    return figure(run, "similarity", pair=pair, task=task)


def faithfulness(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """The faithfulness of circuits over their size, beside random ones."""
    return figure(run, "faithfulness", pair=pair, task=task)


def depth(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """Shares of the attribution by layer before and after, and their paired difference."""
    return figure(run, "depth", pair=pair, task=task)


def specialization(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """How few components do the work, before and after."""
    return figure(run, "specialization", pair=pair, task=task)


def nodes(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """Effects of single components."""
    return figure(run, "nodes", pair=pair, task=task)


def movement(run: Run | str | os.PathLike[str], *, pair: str | None = None, task: str | None = None) -> Drawing:
    """How far the residual streams of the two models are from each other."""
    return figure(run, "movement", pair=pair, task=task)


def trajectories(run: Run | str | os.PathLike[str], *, task: str | None = None, measure: str | None = None) -> Drawing:
    """Measures along the models of a trajectory."""
    return figure(run, "trajectories", task=task, measure=measure)
