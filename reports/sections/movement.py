"""How far the model after is from the model before: streams, representations, predictions and weights."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from reports import formats, tables
from reports.data import ReportData, in_order, panels_of
from reports.figures import by_layer, coefficients, matrix
from reports.figures.base import Figure, Panel
from reports.figures.coefficients import Coefficient
from reports.figures.matrix import Axis, Cell
from reports.sections.base import Part, Section
from reports.sections.estimates import estimates_tables
from reports.templating import render_template

DRAWS = ("residual_shift", "representation_similarity", "prediction_shift", "weight_shift")
"""Tables and measures that this section draws."""

READ = "(read)"
_LARGEST, _SMALLEST, _WIDTH = 22.0, 8.0, 300.0
_PLACE = {
    "task": tables.text("task"),
    "pair": tables.text("pair"),
    "role": tables.text("role"),
    "token_role": tables.text("tokens"),
    "layer": tables.whole("layers"),
}
_STREAMS = _PLACE | {
    "distance": tables.real("1 − cosine"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "length_ratio": tables.real("length after / before"),
    "n": tables.whole("n"),
    "status": tables.text("status"),
}
_REPRESENTATIONS = _PLACE | {
    "cka": tables.real("debiased CKA"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "biased": tables.real("usual CKA"),
    "n": tables.whole("n"),
    "status": tables.text("status"),
}
_PREDICTIONS = {
    "task": tables.text("task"),
    "regime": tables.text("regime"),
    "pair": tables.text("pair"),
    "role": tables.text("role"),
    "kl": tables.real("KL(before, after)"),
    "low": tables.real("low"),
    "high": tables.real("high"),
    "kl_reverse": tables.real("KL(after, before)"),
    "reverse_low": tables.real("low"),
    "reverse_high": tables.real("high"),
    "same_token": tables.share("same most likely token"),
    "n": tables.whole("n"),
    "status": tables.text("status"),
}
_WEIGHTS = {
    "pair": tables.text("pair"),
    "role": tables.text("role"),
    "component": tables.text("component"),
    "kind": tables.text("kind"),
    "parameters": tables.whole("weights"),
    "norm_before": tables.real("norm before"),
    "norm_after": tables.real("norm after"),
    "difference": tables.real("norm of the difference"),
    "relative": tables.real("relative"),
    "status": tables.text("status"),
}
_KINDS = ("q", "k", "v", "o", "mlp", "norm", "other")
_OF_STREAMS = (
    "Both models read the same prompts. Compared are their residual streams at the position read, and the mean stream "
    "of the tokens of each role, after every layer (0: the embedding). 1 − cosine is 0 where a stream points in the "
    "same direction in both, and 1 where the two are orthogonal. A model may keep what it does and write it in another "
    "basis: then streams turn, and representations and predictions do not. A few dimensions of large values can decide "
    "a cosine."
)
_OF_REPRESENTATIONS = (
    "Debiased linear CKA asks whether the same prompts are near each other in both models, whatever the basis: 1 where "
    "streams differ by a rotation, a factor and an offset, 0 where nothing is shared. The usual CKA, in the table, is "
    "near 1 for anything where prompts are fewer than dimensions."
)
_OF_PREDICTIONS = (
    "The Kullback-Leibler divergence between the two models' predictions over the whole vocabulary, where the answer "
    "is read: in nats, 0 where they are the same."
)
_OF_WEIGHTS = (
    "The norm of the difference of the weights, relative to their norm before. It is exact, and says how much was "
    "changed, not what that does: a large change can leave the function as it is, and a small one can turn it."
)


def section(data: ReportData) -> Section | None:
    """All that is known of how far the models moved; None where nothing is."""
    found = {name: data.table(name) for name in DRAWS}
    draws = {
        "residual_shift": (_OF_STREAMS, streams_figure),
        "representation_similarity": (_OF_REPRESENTATIONS, representations_figure),
        "prediction_shift": (_OF_PREDICTIONS, predictions_figure),
        "weight_shift": (_OF_WEIGHTS, weights_figure),
    }
    headings = ("Residual streams", "Representations", "Predictions", "Weights")
    parts = []
    for heading, (name, (text, draw)) in zip(headings, draws.items(), strict=True):
        rows = found[name]
        if rows is None:
            continue
        more = estimates_tables(f"What hypotheses are about: {name}", data.findings.estimates, name)
        parts.append(Part(heading=heading, paragraphs=(text,), figure=draw(rows, more=more)))
    if not parts:
        return None
    return Section(id="movement", title="How far the models moved", body=render_template("parts", parts=parts))


def streams_figure(rows: pl.DataFrame, *, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task and pair a grid of token roles and layers.

    Args:
        rows: Rows of the table `residual_shift`.
        more: Tables below that of these rows.
    """
    top = max(rows["distance"].drop_nulls().to_list(), default=0.0) or 1.0
    panels = []
    for task, pair, one in panels_of(rows):
        known = one.filter(pl.col("distance").is_not_null())
        drawn = (_grid(known, top=top, where=f"{task}, {pair}"),) if len(known) else ()
        panels.append(Panel(title=task, subtitle=_pair(one, pair), drawings=drawn, note=_note(one)))
    return Figure(
        id="figure-residual-shift",
        caption=(
            "1 − cosine of the two models' residual streams, mean over prompts: token roles upwards, layers across. "
            f"The area of a square is the distance; one that fills its place is {formats.number(top)}."
        ),
        panels=tuple(panels),
        columns=len(in_order(rows, "pair")),
        legend=(),
        tables=(tables.from_frame("Distances of residual streams", rows, _STREAMS), *more),
    )


def representations_figure(rows: pl.DataFrame, *, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task the CKA at the position read, layer by layer, of every pair.

    Args:
        rows: Rows of the table `representation_similarity`.
        more: Tables below that of these rows.
    """
    read = rows.filter(pl.col("token_role") == READ).with_columns(value=pl.col("cka"))
    lowest = min([0.0, *read["value"].drop_nulls().to_list(), *read["low"].drop_nulls().to_list()])
    panels = []
    for task in in_order(read, "task"):
        one = read.filter(pl.col("task") == task)
        known = one.filter(pl.col("value").is_not_null())
        drawn: tuple[Markup, ...] = ()
        if len(known):
            words = [f"{pair} {_ends(known.filter(pl.col('pair') == pair))}" for pair in in_order(known, "pair")]
            label = f"Debiased CKA by layer at the position read, {task}: {formats.listed(words)}."
            drawn = (
                by_layer.draw(known, title="debiased CKA", domain=(max(lowest, -1.0), 1.0), label=label, at=(1.0,)),
            )
        panels.append(Panel(title=task, subtitle="", drawings=drawn, note=_note(one)))
    return Figure(
        id="figure-representation-similarity",
        caption=(
            "Debiased linear CKA of the two models' residual streams, at the position read, with intervals over "
            "prompts. Low: the models tell the prompts apart in other ways."
        ),
        panels=tuple(panels),
        columns=len(panels),
        legend=by_layer.legend(),
        tables=(tables.from_frame("Similarity of representations", rows, _REPRESENTATIONS), *more),
    )


def predictions_figure(rows: pl.DataFrame, *, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each task the divergences of every pair, in both directions.

    Args:
        rows: Rows of the table `prediction_shift`.
        more: Tables below that of these rows.
    """
    panels = []
    for task in in_order(rows, "task"):
        one = rows.filter(pl.col("task") == task)
        found = [
            Coefficient(term=f"{row['pair']}: {words}", estimate=row[name], low=row[low], high=row[high])
            for row in one.rows(named=True)
            for name, low, high, words in (
                ("kl", "low", "high", "before from after"),
                ("kl_reverse", "reverse_low", "reverse_high", "after from before"),
            )
            if row[name] is not None
        ]
        written = [
            f"{each.term} {formats.number(each.estimate)} {formats.interval(each.low, each.high)}" for each in found
        ]
        label = f"Divergence of the predictions on {task}: {formats.listed(written)}."
        drawn = (coefficients.draw(found, label=label),) if found else ()
        panels.append(Panel(title=task, subtitle=str(one["regime"][0]), drawings=drawn, note=_note(one)))
    return Figure(
        id="figure-prediction-shift",
        caption=(
            "Divergence of the models' predictions by task, in nats, mean over prompts with intervals. Before from "
            "after: sum p_before ln(p_before / p_after), large where the model after finds unlikely what was likely."
        ),
        panels=tuple(panels),
        columns=1,
        legend=(),
        tables=(tables.from_frame("Divergence of predictions", rows, _PREDICTIONS), *more),
    )


def weights_figure(rows: pl.DataFrame, *, more: tuple[tables.Table, ...] = ()) -> Figure:
    """For each pair a grid of kinds of components and layers.

    Args:
        rows: Rows of the table `weight_shift`.
        more: Tables below that of these rows.
    """
    added = _by_kind(rows)
    top = max(added["relative"].drop_nulls().to_list(), default=0.0) or 1.0
    panels = []
    for pair in in_order(rows, "pair"):
        own = added.filter(pl.col("pair") == pair)
        one = rows.filter(pl.col("pair") == pair)
        whole = one.filter(pl.col("kind") == "all")["relative"].to_list()
        outside = one.filter(pl.col("layer").is_null() & (pl.col("kind") != "all") & (pl.col("status") == "ok"))
        words = [f"{row['component']} {formats.number(row['relative'])}" for row in outside.rows(named=True)]
        note = f"All weights: {formats.number(whole[0])}; {formats.listed(words)}." if whole else _note(one)
        drawn = (_kinds(own, top=top, where=pair),) if len(own) else ()
        panels.append(Panel(title=pair, subtitle=str(one["role"][0]), drawings=drawn, note=note))
    return Figure(
        id="figure-weight-shift",
        caption=(
            "Norm of the difference of the weights relative to the norm before, by kind and layer: queries, keys, "
            "values and outputs of all heads, MLPs and norms. The area of a square is the ratio; one that fills its "
            f"place is {formats.number(top)}."
        ),
        panels=tuple(panels),
        columns=len(panels),
        legend=(),
        tables=(tables.from_frame("Norms of weights and of their difference", rows, _WEIGHTS), *more),
    )


def _by_kind(rows: pl.DataFrame) -> pl.DataFrame:
    """The relative norm of each pair, kind and layer: squares of the components added up."""
    layers = rows.filter(pl.col("layer").is_not_null() & (pl.col("status") == "ok"))
    norms = [pl.col(name).pow(2).sum().sqrt().alias(name) for name in ("difference", "norm_before")]
    added = layers.group_by("pair", "kind", "layer", maintain_order=True).agg(norms)
    relative = pl.when(pl.col("norm_before") > 0).then(pl.col("difference") / pl.col("norm_before"))
    return added.with_columns(relative=relative)


def _grid(rows: pl.DataFrame, *, top: float, where: str) -> Markup:
    roles = in_order(rows, "token_role")
    cells = [
        Cell(
            column=row["layer"],
            row=roles.index(row["token_role"]),
            value=row["distance"],
            name=f"{row['token_role']} after {formats.plural(row['layer'], 'layer')}",
        )
        for row in rows.rows(named=True)
    ]
    return _squares(cells, roles, layers=int(max(rows["layer"].to_list())) + 1, top=top, what="1 − cosine", where=where)


def _kinds(rows: pl.DataFrame, *, top: float, where: str) -> Markup:
    kinds = [kind for kind in _KINDS if kind in rows["kind"]]
    cells = [
        Cell(
            column=row["layer"],
            row=kinds.index(row["kind"]),
            value=row["relative"],
            name=f"{row['kind']} of layer {row['layer']}",
        )
        for row in rows.rows(named=True)
        if row["relative"] is not None and row["kind"] in kinds
    ]
    layers = int(max(rows["layer"].to_list())) + 1
    return _squares(cells, kinds, layers=layers, top=top, what="relative difference of weights", where=where)


def _squares(cells: list[Cell], names: list[str], *, layers: int, top: float, what: str, where: str) -> Markup:
    size = min(_LARGEST, max(_SMALLEST, _WIDTH / layers))
    most = sorted(cells, key=lambda cell: -cell.value)[:3]
    words = formats.listed([f"{cell.name} {formats.number(cell.value)}" for cell in most])
    return matrix.draw(
        cells,
        columns=Axis(names=matrix.numbered("L", layers, size=size, room=26)),
        rows=Axis(names=tuple(names)),
        size=size,
        pitch=max(size, 15),
        top=top,
        side="after",
        title="from before",
        label=f"{what[0].upper()}{what[1:]}, {where}; largest: {words}.",
    )


def _pair(rows: pl.DataFrame, pair: str) -> str:
    role = str(rows["role"][0])
    return pair if role in pair else f"{pair} ({role})"


def _ends(rows: pl.DataFrame) -> str:
    """The first and the last value, in words."""
    first, last = (rows.sort("layer").row(at, named=True) for at in (0, -1))
    return f"{formats.number(first['value'])} at {first['layer']} to {formats.number(last['value'])} at {last['layer']}"


def _note(rows: pl.DataFrame) -> str:
    """Why numbers are missing, each reason once."""
    bad = rows.filter(pl.col("status") != "ok").unique(["pair", "status"], maintain_order=True)
    return "; ".join(f"{row['pair']}: {row['status']}" for row in bad.rows(named=True))
