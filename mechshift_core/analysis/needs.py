"""How many selected prompts each measure needs, and what it comes to with fewer, or where its computation fails.

Everything that is measured of a pair and a task goes through :func:`taken`, so that none can forget either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mechshift_core.analysis.measured import Measured, estimate
from mechshift_core.analysis.samples import Sample
from mechshift_core.kinds import INTERVENTIONS, MEASURES, Least, testables
from mechshift_core.spec import Spec
from mechshift_core.tables import frame, tables


def lacking(least: Least, sample: Sample) -> str:
    """Why there are too few prompts for a measure or an intervention; empty where there are enough."""
    if sample.n >= least.prompts:
        return ""
    return f"{sample.selection}; at least {least.prompts} are needed {least.why}"


def taken(
    name: str, least: Least, names: Iterable[str], sample: Sample, spec: Spec, take: Callable[[str], Measured]
) -> Measured:
    """What a measure or an intervention comes to; with a reason, never an error, where it comes to nothing.

    Args:
        name: Its name, and `least`, what it needs.
        names: The measures that hypotheses can name of it.
        take: Computes it, given why there are too few prompts (empty where there are enough).
    """
    try:
        return _fitting(take(lacking(least, sample)))
    except Exception as error:
        reason = described(error)
        return nothing(sample, spec, names, reason, failed=f"{name} of {_where(sample)}: {reason}")


def _fitting(measured: object) -> Measured:
    """What a kind made, if it is what it should be: its rows fit the tables that are declared.

    Raises:
        TypeError: if it is something else.
        ValueError: if there is no such table.
    """
    if not isinstance(measured, Measured):
        raise TypeError(f"expected Measured, got {type(measured).__name__}")
    known = tables()
    for name, rows in measured.rows.items():
        if name not in known:
            raise ValueError(f"rows of a table {name!r}, which no kind declares")
        if INTERVENTIONS.added or MEASURES.added:
            frame(name, rows)
    return measured


def nothing(sample: Sample, spec: Spec, names: Iterable[str], reason: str, *, failed: str = "") -> Measured:
    """Measures that have no value, each with the reason; `failed` where their computation did."""
    listed = tuple(names)
    found = tuple(
        estimate(
            sample,
            spec,
            measure=measure,
            side="between" if _is_between(measure) else "shift",
            value=None,
            low=None,
            high=None,
            method="none",
            status="failed" if failed else "undefined",
            message=reason,
        )
        for measure in listed
    )
    return Measured(estimates=found, problems=dict.fromkeys(listed, reason), failed=failed)


def _is_between(measure: str) -> bool:
    """Whether it is of a pair as it is; what no hypothesis can name is, too: it is what models share."""
    return next((one.between for one, _ in testables() if one.name == measure), True)


def described(error: Exception) -> str:
    """An error in one line, with its kind where that is not one of a wrong value."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")


def _where(sample: Sample) -> str:
    return f"{sample.pair.name} on {sample.task.name} ({sample.reading.budget})"
