"""Section 2: which models on which prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

import polars as pl

from reports import formats, tables
from reports.data import ReportData, in_order
from reports.sections.base import Section
from reports.templating import render_template

Piece = tuple[str, bool]
"""A run of words and whether it differs between the two prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A task's example: both prompts in pieces, and what the models should prefer.

    Attributes:
        masked: The clean prompt as the model after reads it, where it differs from what the model before reads.
        masks: Masked positions in it.
    """

    task: str
    regime: str
    template: str
    clean: tuple[Piece, ...]
    corrupt: tuple[Piece, ...]
    answer: str
    foil: str
    masked: str | None
    masks: int


_REGIMES = {
    "local": "on a local task, all that decides the answer stands before it, as a model that reads from left to right "
    "needs it",
    "global": "on a global task, the answer has to fit what stands anywhere in the text",
}
_PARADIGMS = {
    "autoregressive": "autoregressive: predicts each token from those before it",
    "masked_diffusion": "masked diffusion: fills in masked tokens from both sides",
}


def section(data: ReportData) -> Section:
    """Models, pairs, example prompts, counts and accuracies."""
    examples = data.table("examples")
    body = render_template(
        "compared",
        models=_models(data),
        regimes=_regimes(examples),
        pairs=_pairs(data),
        prompts=[] if examples is None else prompts_of(examples),
        counts=_counts(data),
        accuracies=_accuracies(data),
    )
    return Section(id="compared", title="What was compared", body=body)


def _models(data: ReportData) -> tables.Table | None:
    """Every model with its source and how it reads; None where the run does not record them."""
    known = data.provenance.get("models")
    if not isinstance(known, Mapping) or not known:
        return None
    fields = [tables.text("model"), tables.text("source"), tables.text("paradigm")]
    rows = [
        (name, str(facts.get("source", "")), _PARADIGMS.get(str(facts.get("paradigm")), str(facts.get("paradigm"))))
        for name, facts in known.items()
        if isinstance(facts, Mapping)
    ]
    return tables.build("The models", fields, rows)


def _regimes(examples: pl.DataFrame | None) -> str:
    """What local and global mean, as far as the run has such tasks."""
    if examples is None:
        return ""
    said = [words for regime, words in _REGIMES.items() if regime in in_order(examples, "regime")]
    return formats.sentence("; ".join(said))


def prompts_of(examples: pl.DataFrame) -> list[Prompt]:
    """Each task's first selected example (its first one where none was selected)."""
    found = []
    for task in in_order(examples, "task"):
        rows = examples.filter(pl.col("task") == task)
        selected = rows.filter(pl.col("selected"))
        rows = rows if selected.is_empty() else selected
        first = rows.filter(pl.col("example") == rows["example"].min()).to_dicts()
        sides = {row["side"]: row for row in reversed(first)}
        shown = sides.get("before") or first[0]
        masked = max(first, key=lambda row: (row["masks"] or 0, row["side"] == "after"))
        clean, corrupt = marked(shown["clean"] or "", shown["corrupt"] or "")
        found.append(
            Prompt(
                task=task,
                regime=shown["regime"] or "",
                template=shown["template"] or "",
                clean=clean,
                corrupt=corrupt,
                answer=shown["answer"] or "",
                foil=shown["foil"] or "",
                masked=masked["clean"] if masked["clean"] != shown["clean"] else None,
                masks=masked["masks"] or 0,
            )
        )
    return found


def marked(clean: str, corrupt: str) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Two prompts as runs of words, those that differ marked."""
    left, right = clean.split(" "), corrupt.split(" ")
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, words in enumerate((left[i1:i2], right[j1:j2])):
            if words:
                pieces[side].append((" ".join(words), kind != "equal"))
    return tuple(pieces[0]), tuple(pieces[1])


def _pairs(data: ReportData) -> tables.Table | None:
    for name in ("examples", "edges", "components"):
        frame = data.table(name)
        if frame is not None:
            break
    else:
        return None
    rows = []
    for pair in in_order(frame, "pair"):
        one = frame.filter(pl.col("pair") == pair)
        models = [in_order(one.filter(pl.col("side") == side), "model") for side in ("before", "after")]
        rows.append((pair, one["role"][0], ", ".join(models[0]), ", ".join(models[1])))
    fields = [tables.text("pair"), tables.text("role"), tables.text("model before"), tables.text("model after")]
    return tables.build("Pairs: a model and what post-training made of it", fields, rows)


def _counts(data: ReportData) -> tables.Table | None:
    if not data.task_counts:
        return None
    fields = [
        tables.text("task"),
        tables.text("pair"),
        tables.whole("asked"),
        tables.whole("looked at"),
        tables.whole("aligned"),
        tables.whole("read"),
        tables.whole("analysed"),
    ]
    rows: list[tuple[object, ...]] = [
        (row.task, row.pair, row.asked, row.found, row.aligned, row.read, row.kept) for row in data.task_counts
    ]
    if any(row.templates is not None for row in data.task_counts):
        fields += [tables.text("words"), tables.whole("templates")]
        rows = [(*cells, row.words or "", row.templates) for cells, row in zip(rows, data.task_counts, strict=True)]
    return tables.build("Examples from the spec to the analysis", fields, rows)


def _accuracies(data: ReportData) -> tables.Table | None:
    if not data.task_counts:
        return None
    fields = [
        tables.text("task"),
        tables.text("pair"),
        tables.text("correct by"),
        tables.share("by metric, before"),
        tables.share("by metric, after"),
        tables.share("by argmax, before"),
        tables.share("by argmax, after"),
    ]
    rows = [
        (
            *(row.task, row.pair, row.judged_by),
            *(row.metric_before, row.metric_after, row.argmax_before, row.argmax_after),
        )
        for row in data.task_counts
    ]
    return tables.build("How often each model is right, of the examples read", fields, rows)
