"""Estimates of a measure that hypotheses can name, as a table under the figure that they belong to."""

from __future__ import annotations

from collections.abc import Iterable

from reports import formats, tables
from stats.findings import Estimate


def estimates_tables(
    caption: str, estimates: Iterable[Estimate], measure: str, *, null: str = "", intervention: str = ""
) -> tuple[tables.Table, ...]:
    """One table of all estimates of a measure; none where there are none.

    Args:
        caption: What the estimates are.
        null: What their null is called; without it they have none.
        intervention: Only those of this intervention, whose name is the beginning of their method.
    """
    chosen = [
        one
        for one in estimates
        if one.measure == measure and (not intervention or one.method.partition(":")[0] == intervention)
    ]
    if not chosen:
        return ()
    fields = [tables.text(name) for name in ("task", "pair", "side")]
    fields += [tables.real(name) for name in ("estimate", "low", "high")]
    fields += [tables.real(null)] if null else []
    fields += [tables.text(name) for name in ("n", "status")]
    rows = [
        (
            one.task,
            one.pair,
            one.side,
            one.estimate,
            one.low,
            one.high,
            *((one.reference.get("null"),) if null else ()),
            ", ".join(formats.plural(amount, unit) for unit, amount in one.n.items()),
            one.status,
        )
        for one in chosen
    ]
    return (tables.build(caption, fields, rows),)
