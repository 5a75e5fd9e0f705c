"""A spec as far as it is valid, so that references are checked even where something else is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from mechshift_core.registry import generation
from mechshift_core.spec.hypotheses import Hypothesis
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.pairs import PairSpec, TrajectorySpec
from mechshift_core.spec.schema import AnyIntervention, Spec
from mechshift_core.spec.tasks import TaskSpec
from mechshift_core.spec.tree import Path

LISTS = ("pairs", "trajectories", "tasks", "interventions", "hypotheses")
ENTRIES: dict[str, Any] = {
    "models": ModelSpec,
    "pairs": PairSpec,
    "trajectories": TrajectorySpec,
    "tasks": TaskSpec,
    "interventions": AnyIntervention,
    "hypotheses": Hypothesis,
}
"""Section -> what its entries are."""
STAND_INS = {
    "models": {"paradigm": "masked_diffusion"},
    "pairs": {"role": "treatment"},
    "trajectories": {"role": "treatment"},
}
"""Required choices of an entry that is saved without them; they have no part in any check of such a draft."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The valid parts of a spec and where they stand in the document.

    Attributes:
        spec: The spec without its faults; what cannot do without them is left out, or has its default.
        indices: List section -> index in the document of each entry that is left.
        declared: Section -> the names it declares, broken entries included.
        broken: Sections with a fault: nothing may be concluded from what they lack.
        folder: Where relative paths are looked up from.
        check_files: Whether files and folders that the spec names must be there.
    """

    spec: Spec
    indices: dict[str, tuple[int, ...]]
    declared: dict[str, tuple[str, ...]]
    broken: frozenset[str]
    folder: FilePath
    check_files: bool

    def members(self, hypothesis: Hypothesis) -> list[PairSpec]:
        """The pairs that a hypothesis is about, each once."""
        groups = [group for _, group in hypothesis.groups()]
        if hypothesis.along is None:
            return list(dict.fromkeys(pair for group in groups for pair, _ in self.spec.matching(group)))
        found = dict.fromkeys(one for group in groups for one, _ in self.spec.trajectories_of(group))
        return [pair for one in found for pair in one.pairs()]

    def path(self, section: str, position: int, *rest: str | int) -> Path:
        """The document's path of an entry of a list section, given its position in `spec`."""
        return (section, self.indices[section][position], *rest)


def draft_of(
    spec: Spec | None, raw: dict[str, Any], faults: Iterable[Path], *, folder: FilePath, check_files: bool = True
) -> Draft:
    """The draft of a document: the whole spec where it is valid, else what can be saved of it.

    Args:
        spec: The validated spec; None where validation failed because of `faults`.
        raw: The document's data, without unknown keys.
        faults: Paths at which the document is wrong.
    """
    faults = set(faults)
    inside: dict[Path, list[Path]] = {}
    for path in faults:
        inside.setdefault(path[:2], []).append(path[2:])
    kept: dict[str, dict[str | int, Any]] = {section: {} for section in ENTRIES}
    for section in ENTRIES:
        if (section,) not in faults:
            for key, entry in _numbered(raw.get(section)).items():
                saved = _salvage(section, entry, inside.get((section, key), []))
                if saved is not None:
                    kept[section][key] = saved
    return Draft(
        spec=spec if spec is not None and not faults else _partial(raw, faults, kept),
        indices={section: tuple(int(key) for key in kept[section]) for section in LISTS},
        declared=_declared(raw),
        broken=frozenset(str(path[0]) for path in faults if path),
        folder=folder,
        check_files=check_files,
    )


def _numbered(entries: Any) -> dict[str | int, Any]:
    """The entries of a section by name or index."""
    return dict(enumerate(entries)) if isinstance(entries, list) else entries if isinstance(entries, dict) else {}


def _salvage(section: str, entry: Any, faults: list[Path]) -> Any:
    """An entry of a section without its faults, so that its references are still checked; None if that is not possible.

    A hypothesis with a fault is given up: without the faulty part it would claim something else.
    """
    if faults and (section == "hypotheses" or () in faults or not isinstance(entry, dict)):
        return None
    if faults:
        wrong = {path[0] for path in faults}
        entry = STAND_INS.get(section, {}) | {key: value for key, value in entry.items() if key not in wrong}
    try:
        return _adapter(section, generation()).validate_json(json.dumps(entry), strict=True)
    except ValidationError:
        return None


@cache
def _adapter(section: str, _: int) -> TypeAdapter[Any]:
    return TypeAdapter(ENTRIES[section])


def _partial(raw: dict[str, Any], faults: set[Path], kept: dict[str, dict[str | int, Any]]) -> Spec:
    wrong = {path[0] for path in faults if path}
    fields: dict[str, Any] = {"models": kept["models"]} | {section: tuple(kept[section].values()) for section in LISTS}
    for name, field in Spec.model_fields.items():
        key = field.alias or name
        if key in raw and key not in wrong and key not in ENTRIES:
            kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            fields[name] = adapter.validate_json(json.dumps(raw[key]), strict=True)
    return Spec.model_construct(**fields)


def _declared(raw: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    """Names as they stand in the document, valid or not."""
    models = raw.get("models")
    found = {"models": tuple(models) if isinstance(models, dict) else ()}
    for section in LISTS:
        entries = raw.get(section) if isinstance(raw.get(section), list) else []
        key = "id" if section == "hypotheses" else "name"
        names = [entry.get(key) for entry in entries or [] if isinstance(entry, dict)]
        found[section] = tuple(name for name in names if isinstance(name, str))
    return found
