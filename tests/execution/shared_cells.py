"""What tests of stored cells look at: what a run says of its cells, what the store holds; small cells; interrupts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mechshift_core.execution import hands
from mechshift_core.execution.cell_store import CellStore
from mechshift_core.execution.store_room import entries
from mechshift_core.pipeline import Run

KEYS = [f"{number:032x}" for number in range(8)]
"""Keys of the small cells of the fixture `folder`."""


def counts(finished: Run) -> tuple[int, int, int, int]:
    return finished.computed, finished.cached, finished.shared, len(finished.failures)


def findings(folder: Path) -> bytes:
    return (folder / "findings.json").read_bytes()


def provenance(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "provenance.json").read_text())
    return found


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [line for line in lines if line["event"] == name]


def stored(store: Path) -> list[Path]:
    """The entries of a store; there must be nothing else."""
    found = [entry.path for entry in entries(store)]
    assert sorted(path for place in store.iterdir() for path in place.iterdir()) == sorted(found)
    return found


def tables(folder: Path) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in sorted((folder / "tables").glob("*.parquet"))}


def opened(place: Path, *, most: int = 10**9) -> CellStore:
    return CellStore(place, device="cpu", most=most)


@contextmanager
def interrupted_after(cells: int) -> Iterator[None]:
    """A run in the block is interrupted, as by Ctrl-C, when it has computed so many cells."""
    execute_cell, done = hands._execute_cell, list[object]()

    def execute(*arguments: Any) -> None:
        if len(done) == cells:
            raise KeyboardInterrupt
        done.append(arguments)
        execute_cell(*arguments)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(hands, "_execute_cell", execute)
        yield
