"""Is what a run has stored what its models and data give? Hashes of all inputs and cells; some cells computed again.

A tensor is the same if no number differs from the stored one by more than a small share of the largest: what other
batches, numbers of threads or devices change in the number format of the weights. Whole numbers (ranks, token ids)
follow from comparisons of such numbers: as small a share of them may be others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from mechshift_core.declarations import declared_by, read_record
from mechshift_core.errors import MechshiftError
from mechshift_core.execution.cells import Cell
from mechshift_core.execution.hands import Hands
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.stream import Array, open_tensors
from mechshift_core.models import sources
from mechshift_core.run_files import DECLARATIONS, PROVENANCE
from stats.seeding import generator

TOLERANCE = {"float64": 1e-6, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Format of the weights -> largest difference that counts as none, as a share of a tensor's largest absolute value."""
INCIDENTAL = {
    "device", "machine", "attention", "batch_size", "halvings", "source", "tokens", "sha256", "tensors_sha256",
}  # fmt: skip
"""What a cell says of the way in which it was computed, or what its tensors say as well."""
NAMES = {"study", "model", "task", "intervention", "pair", "side", "budget", "start", "stop"}
"""What a cell says of the study that it was computed for, and its key leaves open: its numbers have no part in it."""

Outcome = Literal["same", "differs", "not checked"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was compared.

    Attributes:
        subject: What, e.g. `weights of before` or a cell.
        outcome: `not checked` where it could not be compared.
        detail: What differs and by how much, or why it was not checked.
        difference: Of a cell computed again: the largest difference as a share of its tensor's largest absolute value.
    """

    subject: str
    outcome: Outcome
    detail: str = ""
    difference: float | None = None


def verify(
    plan: Plan,
    folder: RunFolder,
    *,
    cells: int,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Check]:
    """Check a run; nothing in it is written.

    Args:
        plan: Its plan.
        folder: Its run directory.
        cells: How many stored cells are computed again, chosen at random; all if there are fewer.
        seed: Of that choice.
        progress: Called with (what is being done, cells done, cells in all).
    """
    inputs = [*_weights(plan, folder), *_data(plan, folder), _declarations(plan, folder)]
    stored, damaged = [], []
    for own, cell in plan.every_cell:
        if folder.has_cell(cell.key):
            stored.append((own, cell))
        elif (folder.cells / cell.key).exists():
            damaged.append(
                Check(str(cell), "differs", "its files are not as they were written; running it again mends it")
            )
        else:
            damaged.append(Check(str(cell), "not checked", "it is not there; running the spec again computes it"))
    order = generator(seed, "verify").permutation(len(stored))[:cells]
    # Model by model, so that each is loaded once.
    chosen = sorted((stored[int(number)] for number in order), key=lambda own: list(plan.models).index(own[1].model))
    changed = {check.subject for check in inputs if check.outcome != "same"}
    hands, found = Hands(plan, folder), []
    with TemporaryDirectory(prefix="mechshift-verify-") as place:
        for number, (_, cell) in enumerate(chosen):
            if progress is not None:
                progress(f"computing again: {cell}", number, len(chosen))
            if _weights_of(cell.model) in changed:
                found.append(Check(str(cell), "not checked", "the weights of its model are not there any more"))
            else:
                found.append(_computed_again(hands, cell, Path(place) / str(number)))
    return [*inputs, *damaged, *found]


def _weights_of(model: str) -> str:
    return f"weights of {model}"


def _weights(plan: Plan, folder: RunFolder) -> Iterator[Check]:
    recorded = _recorded(folder, "models")
    for name, facts in plan.models.items():
        try:
            now = {"weights_sha256": sources.weights_hash(facts.folder, facts.adapters)}
            now["tokenizer_sha256"] = sources.tokenizer_hash(facts.tokenizer_folder)
        except (MechshiftError, OSError) as error:
            yield Check(_weights_of(name), "not checked", f"{facts.folder} cannot be read: {error}")
            continue
        planned = {"weights_sha256": facts.weights, "tokenizer_sha256": facts.tokenizer}
        yield _hashes(_weights_of(name), now, planned, recorded.get(name))


def _data(plan: Plan, folder: RunFolder) -> Iterator[Check]:
    recorded = _recorded(folder, "data")
    for name, dataset in plan.datasets.items():
        now = {"sha256": dataset.digest()}
        yield _hashes(f"data of {name}", now, {}, recorded.get(name))
    spec = {"sha256": hashlib.sha256(plan.spec.text.encode()).hexdigest()}
    yield _hashes("spec", spec, {}, _recorded(folder, "spec"))


def _declarations(plan: Plan, folder: RunFolder) -> Check:
    """Whether the record of what was declared is whole, and its last entry what the spec says."""
    subject = "declarations"
    try:
        record = read_record(folder.path)
    except MechshiftError as error:
        return Check(subject, "differs", str(error))
    if not record.entries:
        return Check(subject, "not checked", f"there is no {DECLARATIONS}; running the spec again writes it")
    if record.problems:
        return Check(subject, "differs", f"{DECLARATIONS}: {'; '.join(record.problems)}")
    if record.entries[-1]["declared"] != declared_by(plan.spec):
        return Check(subject, "differs", f"the last entry of {DECLARATIONS} is not what the spec declares")
    return Check(subject, "same")


def _hashes(subject: str, now: Mapping[str, str], planned: Mapping[str, str], recorded: object) -> Check:
    """Compare hashes with those of the plan and of the provenance."""
    if not isinstance(recorded, Mapping) or not recorded:
        return Check(subject, "not checked", f"{PROVENANCE} does not say what it was; running the spec again writes it")
    for name, value in now.items():
        for place, record in (("the plan", planned), (PROVENANCE, recorded)):
            if (place == PROVENANCE or name in record) and record.get(name) != value:
                return Check(subject, "differs", f"{name} is {value}, but {place} has {record.get(name)}")
    return Check(subject, "same")


def _recorded(folder: RunFolder, part: str) -> Mapping[str, Any]:
    try:
        found = json.loads((folder.path / PROVENANCE).read_text(encoding="utf-8"))[part]
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _computed_again(hands: Hands, cell: Cell, place: Path) -> Check:
    """Compute a cell in a folder of its own, into which those that it needs are linked."""
    plan, folder = hands.plan, hands.folder
    damaged = [key for key in cell.needs if not folder.has_cell(key)]
    if damaged:
        return Check(str(cell), "not checked", f"a cell that it needs is not there or damaged: {damaged[0]}")
    scratch = RunFolder(place)
    scratch.cells.mkdir(parents=True)
    for key in cell.needs:
        (scratch.cells / key).symlink_to((folder.cells / key).absolute())
    outcome = hands.compute(cell.key, scratch)
    if outcome.reason is not None:
        return Check(str(cell), "not checked", outcome.reason)
    unlike = _unlike(_said(folder, cell), _said(scratch, cell))
    if unlike:
        return Check(str(cell), "differs", f"{', '.join(unlike)}: not what was stored")
    before, now = (open_tensors(one.cell_file(cell.key)) for one in (folder, scratch))
    return _compared(str(cell), before, now, TOLERANCE[plan.models[cell.model].dtype])


def _said(folder: RunFolder, cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in folder.describe(cell.key).items() if name not in INCIDENTAL | NAMES}


def _unlike(before: Mapping[str, Any], now: Mapping[str, Any]) -> Sequence[str]:
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _compared(subject: str, before: Mapping[str, Array], now: Mapping[str, Array], tolerance: float) -> Check:
    """Compare tensors, within a tolerance; NaN equals NaN only."""
    kinds = [{name: (tensor.dtype, tensor.shape) for name, tensor in part.items()} for part in (before, now)]
    if kinds[0] != kinds[1]:
        unlike = _unlike(kinds[0], kinds[1])
        return Check(subject, "differs", f"{', '.join(unlike)}: another type or shape than stored")
    differences = {name: _difference(stored, now[name]) for name, stored in before.items()}
    worst = max(differences, key=differences.__getitem__)
    largest = differences[worst]
    if largest <= tolerance:
        return Check(subject, "same", difference=largest)
    of_what = "its largest value" if before[worst].dtype.kind == "f" else "its numbers"
    detail = f"{worst}: differs by {largest:.2g} of {of_what} (tolerance {tolerance:g})"
    return Check(subject, "differs", detail, largest if np.isfinite(largest) else None)


def _difference(stored: Array, now: Array) -> float:
    """Largest difference as a share of the largest stored value; of whole numbers, the share that are others.

    Infinite where one alone is not a number.
    """
    if stored.dtype.kind != "f":
        return float((stored != now).mean()) if stored.size else 0.0
    defined = ~np.isnan(stored)
    if not np.array_equal(defined, ~np.isnan(now)):
        return float("inf")
    unequal = defined & (stored != now)
    if not unequal.any():
        return 0.0
    scale, apart = float(np.abs(stored[defined]).max()), float(np.abs(stored[unequal] - now[unequal]).max())
    return apart / scale if scale > 0 else float("inf")
