"""A random study whose corruptions have an effect, so that faithfulness is defined, and what it is held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from studies import write_study

from mechshift_core.attribution import CounterfactualBatch, evaluate_circuits
from mechshift_core.graph import Graph
from mechshift_core.loading import load_model
from mechshift_core.models import Model


def write_effective_study(folder: Path, **options: Any) -> Path:
    """A study in which every corruption lowers the metric of the model `before`."""
    path = write_study(folder, **options)
    rows = lines(folder)
    model = model_of(folder / "before")
    for row in rows:
        clean, corrupt = evaluate_circuits(model, batch_of([row]), [list(Graph.of(model.shape).edges), []])[:, 0]
        if clean < corrupt:
            row["clean_ids"], row["corrupt_ids"] = row["corrupt_ids"], row["clean_ids"]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@cache
def model_of(folder: Path) -> Model:
    return load_model(folder, device="cpu")


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def batch_of(rows: list[dict[str, Any]]) -> CounterfactualBatch:
    return CounterfactualBatch(**{key: torch.tensor([row[key] for row in rows]) for key in rows[0] if key != "roles"})


def by_length(rows: list[dict[str, Any]]) -> Iterator[list[int]]:
    """Numbers of the rows of each length."""
    lengths = [len(row["clean_ids"]) for row in rows]
    for length in sorted(set(lengths)):
        yield [number for number, own in enumerate(lengths) if own == length]


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / "tables" / f"{name}.parquet")


def cells(out: Path, **wanted: object) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:  # type: ignore[type-arg]
    """(description, tensors) of the stored cells with some properties, in the order of their examples."""
    from safetensors.numpy import load_file

    found = []
    for path in (out / "cells").iterdir():
        description = json.loads((path / "cell.json").read_text())
        if all(description[key] == value for key, value in wanted.items()):
            found.append((description, load_file(path / "tensors.safetensors")))
    return sorted(found, key=lambda cell: cell[0]["start"])
