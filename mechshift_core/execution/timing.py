"""How long cells take on this machine, from what earlier ones took: logged in `events.jsonl` of their runs.

A cell's time goes with the number of its passes and the length of its prompts, within one kind of intervention on
models of one size; loading a model is not counted.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from mechshift_core.durations import roughly
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.cost import cost
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import EVENTS

TIMED = "cell timed"
"""The event that says how long a cell took."""
MAX_BYTES = 64 * 2**20
"""Largest log that is read."""
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """What cells will take.

    Attributes:
        seconds: Of all cells whose like has been timed, in one process; None where none has.
        timed: How many of the cells these are, and `cells` all of them.
        measured: How many earlier cells that is known from, and `runs` the run directories that they are of.
        workers: Processes that share the work.
    """

    seconds: float | None
    timed: int
    cells: int
    measured: int
    runs: tuple[str, ...]
    workers: int

    def __str__(self) -> str:
        if self.seconds is None:
            return "minutes not known: no such cell has been computed on this machine yet, or its run was removed"
        amount = roughly(self.seconds / self.workers)
        share = f" on {self.workers} processes" if self.workers > 1 else ""
        rest = "" if self.timed == self.cells else f"; {self.cells - self.timed} more cells of kinds not timed yet"
        earlier = "1 earlier cell" if self.measured == 1 else f"{self.measured} earlier cells"
        return (
            f"{amount}{share} for {self.timed} of {self.cells} cells, without loading models and statistics (from "
            f"{earlier} on this machine, in {', '.join(self.runs)}{rest})"
        )


@dataclass(frozen=True, slots=True)
class Spent:
    """What the models of a run have taken.

    Attributes:
        day: When the last of its cells was computed (UTC), as year-month-day; empty where the log does not say.
        seconds: Of all its cells together, in one process; None where some were computed elsewhere or not timed.
    """

    day: str = ""
    seconds: float | None = None


def spent(folder: Path, keys: Iterable[str]) -> Spent:
    """When the cells of a run were computed and how long they took, by its log; nothing where it is not readable."""
    wanted, seconds, days = set(keys), dict[str, float](), list[str]()
    for event in _logged(folder):
        key = event.get("key")
        if key in wanted and event.get("event") == TIMED and isinstance(event.get("seconds"), int | float):
            seconds[key] = event["seconds"]
            days.append(str(event.get("time", ""))[:10])
    return Spent(max(days, default=""), sum(seconds.values()) if wanted and len(seconds) == len(wanted) else None)


def cell_facts(plan: Plan, cell: Cell, device: str) -> dict[str, Any]:
    """What the time of a cell depends on, for the log."""
    intervention = plan.spec.intervention(cell.intervention)
    facts, work = plan.models[cell.model], cost([(plan, cell)])
    shape = facts.shape
    examples = plan.datasets[cell.task].examples[cell.start : cell.stop]
    sizes = (shape.layers, shape.heads, shape.key_value_heads, shape.hidden_size, facts.vocabulary)
    return {
        "kind": f"{intervention.kind} {cell.part}".strip(),
        "size": "x".join(map(str, sizes)),
        "dtype": facts.dtype,
        "device": device,
        "machine": platform.node(),
        "tokens": sum(len(one.prompt_ids) for one in examples) / max(1, len(examples)),
        "passes": work.forward + 2 * work.backward + work.patched,
    }


def expect(plan: Plan, cells: Sequence[tuple[Plan, Cell]], folders: Iterable[Path]) -> Timing:
    """How long cells will take, from those that were timed in some run directories.

    Args:
        plan: The plan of the study.
        cells: The cells, each with the plan that it belongs to.
        folders: Run directories; those without a log are passed over.
    """
    known = [(folder, event) for folder in dict.fromkeys(folders) for event in _events(folder)]
    device = plan.spec.execution.device
    seconds: list[float] = []
    used: dict[int, Path] = {}
    for own, cell in cells:
        wanted = cell_facts(own, cell, device)
        like = [(n, folder, event) for n, (folder, event) in enumerate(known) if _key(event) == _key(wanted)]
        if like:
            rate = median(event["seconds"] / _work(event) for _, _, event in like)
            seconds.append(rate * _work(wanted))
            used |= {n: folder for n, folder, _ in like}
    runs = tuple(dict.fromkeys(map(str, used.values())))
    workers = min(plan.spec.execution.workers, max(1, len(cells)))
    return Timing(sum(seconds) if seconds else None, len(seconds), len(cells), len(used), runs, workers)


def _work(facts: dict[str, Any]) -> float:
    """What the time of a cell is proportional to; that of one without passes is as it is."""
    return float(facts["passes"] * facts["tokens"]) or 1.0


def _key(facts: dict[str, Any]) -> Key:
    return tuple(str(facts[name]) for name in ("kind", "size", "dtype", "device", "machine"))


def _events(folder: Path) -> list[dict[str, Any]]:
    """The events about times in the log of a run."""
    found = []
    for event in _logged(folder):
        try:
            if event["event"] != TIMED:
                continue
            _key(event)
            if all(float(event[name]) > 0 for name in ("seconds", "passes", "tokens")):
                found.append(event)
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _logged(folder: Path) -> Iterator[dict[str, Any]]:
    """The log of a run; half a line, as a kill leaves it, is left out."""
    try:
        if (folder / EVENTS).stat().st_size > MAX_BYTES:
            return
        lines = (folder / EVENTS).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event
