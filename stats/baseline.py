"""Findings as a baseline file keeps them: what a later run is compared with, and nothing else.

The file is JSON with one entry per hypothesis and numbers of six significant digits, so that a difference between two
versions of it can be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from stats.findings import Finding, Findings, Status, Verdict

BASELINE_SCHEMA = "mechshift-baseline/v1"
DIGITS = 6
"""Significant digits of a recorded number."""
_LARGEST = 1e300


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPart:
    """What a baseline keeps of a finding on one task or regime alone; fields as in :class:`stats.findings.Part`.

    Attributes:
        tasks: The tasks that it is made of, sorted.
    """

    level: str
    tasks: tuple[str, ...]
    estimate: float | None
    se: float | None
    df: float | None
    low: float | None
    high: float | None

    @classmethod
    def all_of(cls, finding: Finding) -> tuple[RecordedPart, ...]:
        """The records of the parts of a claim that is made of each; none where an earlier version analysed the run."""
        if not finding.every or any(part.low is not None and part.se is None for part in finding.parts):
            return ()
        tasks: dict[str, set[str]] = {}
        for term in finding.terms:
            tasks.setdefault(getattr(term, finding.every), set()).add(term.task)
        return tuple(
            cls(
                level=part.level,
                tasks=tuple(sorted(tasks.get(part.level, ()))),
                **{name: _rounded(getattr(part, name)) for name in _PART_FIELDS if name not in ("level", "tasks")},
            )
            for part in finding.parts
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a baseline keeps of a finding; fields as in :class:`stats.findings.Finding`, numbers to six digits.

    Attributes:
        tasks: The tasks that the estimate is made of, sorted.
        seed: Seed of the random draws, those of the prompts among them.
        parts: Each task or regime alone, of a claim that is made of each; empty for others, and in the records of
            earlier versions.
    """

    id: str
    measure: str
    estimand: str
    test: str
    alternative: str
    margin: float | None
    null: float
    confidence: float
    tasks: tuple[str, ...]
    seed: int
    estimate: float | None
    se: float | None
    df: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    status: Status
    parts: tuple[RecordedPart, ...] = ()

    @classmethod
    def of(cls, finding: Finding) -> Recorded:
        """The record of a finding."""
        kept = {name: _rounded(getattr(finding, name)) for name in _FIELDS if name != "tasks"}
        tasks = tuple(sorted({term.task for term in finding.terms}))
        return cls(**kept, tasks=tasks, parts=RecordedPart.all_of(finding))


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The recorded findings of a run.

    Attributes:
        name: Name of the study.
        prompts: Task -> digest of its prompts; empty where they are not known.
        findings: One for each hypothesis, in the order of the spec.
        models: Model -> digest of its weights; empty where they are not known.
        random_seeds: Whether the findings are about training seeds beyond those of the run.
    """

    name: str
    findings: tuple[Recorded, ...]
    prompts: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    random_seeds: bool = False

    @classmethod
    def of(
        cls,
        findings: Findings,
        *,
        prompts: Mapping[str, str] | None = None,
        models: Mapping[str, str] | None = None,
        random_seeds: bool = False,
    ) -> Baseline:
        """The record of a run's findings."""
        return cls(
            name=findings.name,
            findings=tuple(Recorded.of(finding) for finding in findings.hypotheses),
            prompts=dict(sorted((prompts or {}).items())),
            models=dict(sorted((models or {}).items())),
            random_seeds=random_seeds,
        )

    def to_json(self) -> str:
        """Deterministic JSON with a schema version."""
        content: dict[str, Any] = {"schema": BASELINE_SCHEMA, "name": self.name, "prompts": dict(self.prompts)}
        if self.models:
            content |= {"models": dict(self.models), "random_seeds": self.random_seeds}
        rows = [
            {name: value for name, value in asdict(one).items() if name != "parts" or value} for one in self.findings
        ]
        return json.dumps({**content, "findings": rows}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Baseline:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: if it is no baseline of this schema version; it says where, what was expected and what came.
        """
        try:
            content = json.loads(text, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            raise ValueError(f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
        except RecursionError as error:
            raise ValueError("not a baseline: nested too deeply") from error
        top = _entry(content, "", ("schema", "name", "prompts", "findings"), others=("models", "random_seeds"))
        if top["schema"] != BASELINE_SCHEMA:
            raise ValueError(f"schema: expected {BASELINE_SCHEMA!r}, got {_shown(top['schema'])}")
        rows = _expect(top["findings"], "findings", list, "a list")
        read = tuple(_recorded(row, f"findings[{place}]") for place, row in enumerate(rows))
        _once([finding.id for finding in read], "findings", "id")
        prompts = _expect(top["prompts"], "prompts", dict, "a mapping of tasks to digests")
        models = _expect(top.get("models", {}), "models", dict, "a mapping of models to digests")
        return cls(
            name=_text(top["name"], "name"),
            findings=read,
            prompts={task: _text(digest, f"prompts.{task}") for task, digest in prompts.items()},
            models={model: _text(digest, f"models.{model}") for model, digest in models.items()},
            random_seeds=_expect(top.get("random_seeds", False), "random_seeds", bool, "true or false"),
        )


def _recorded(row: Any, where: str) -> Recorded:
    entry = _entry(row, where, _FIELDS, others=("parts",))
    rows = _expect(entry.get("parts", []), f"{where}.parts", list, "a list")
    parts = tuple(_recorded_part(part, f"{where}.parts[{place}]") for place, part in enumerate(rows))
    _once([part.level for part in parts], f"{where}.parts", "level")
    made = Recorded(**{name: read(entry[name], f"{where}.{name}") for name, read in _FIELDS.items()}, parts=parts)
    _ordered(made, where)
    return made


def _recorded_part(row: Any, where: str) -> RecordedPart:
    entry = _entry(row, where, _PART_FIELDS)
    made = RecordedPart(**{name: read(entry[name], f"{where}.{name}") for name, read in _PART_FIELDS.items()})
    _ordered(made, where)
    return made


def _once(names: Sequence[str], where: str, key: str) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise ValueError(f"{where}[{place}].{key}: {name!r} is there twice")


def _ordered(made: Recorded | RecordedPart, where: str) -> None:
    if made.low is not None and made.high is not None and made.low > made.high:
        raise ValueError(f"{where}.low: expected at most high ({made.high}), got {made.low}")


def _entry(value: Any, where: str, names: Any, *, others: Sequence[str] = ()) -> dict[str, Any]:
    entry: dict[str, Any] = _expect(value, where or "the top level", dict, "a mapping")
    prefix = f"{where}." if where else ""
    for name in names:
        if name not in entry:
            raise ValueError(f"{prefix}{name}: expected, but not there")
    for name in entry:
        if name not in names and name not in others:
            raise ValueError(f"{prefix}{name}: unknown; expected {', '.join([*names, *others])}")
    return entry


def _expect(value: Any, where: str, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{where}: expected {expected}, got {_shown(value)}")
    return value


def _text(value: Any, where: str) -> str:
    read: str = _expect(value, where, str, "text")
    return read


def _texts(value: Any, where: str) -> tuple[str, ...]:
    return tuple(_text(item, f"{where}[{place}]") for place, item in enumerate(_expect(value, where, list, "a list")))


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{where}: expected a whole number, got {_shown(value)}")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise ValueError(f"{where}: expected a finite number, got {_shown(value)}")
    return float(value)


def _optional(value: Any, where: str) -> float | None:
    return None if value is None else _number(value, where)


def _not_negative(value: Any, where: str) -> float | None:
    number = _optional(value, where)
    if number is not None and number < 0:
        raise ValueError(f"{where}: expected a number >= 0, got {number}")
    return number


def _positive(value: Any, where: str) -> float | None:
    number = _optional(value, where)
    if number is not None and not number > 0:
        raise ValueError(f"{where}: expected a number > 0, got {number}")
    return number


def _share(value: Any, where: str) -> float:
    number = _number(value, where)
    if not 0 < number < 1:
        raise ValueError(f"{where}: expected a number between 0 and 1, got {number}")
    return number


def _one_of(*words: str) -> Callable[[Any, str], str]:
    def read(value: Any, where: str) -> str:
        if value not in words:
            raise ValueError(f"{where}: expected one of {', '.join(words)}, got {_shown(value)}")
        return str(value)

    return read


_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "id": _text,
    "measure": _text,
    "estimand": _text,
    "test": _text,
    "alternative": _text,
    "margin": _positive,
    "null": _number,
    "confidence": _share,
    "tasks": _texts,
    "seed": _whole,
    "estimate": _optional,
    "se": _not_negative,
    "df": _positive,
    "low": _optional,
    "high": _optional,
    "verdict": _one_of(*get_args(Verdict)),
    "status": _one_of(*get_args(Status)),
}
"""Field of a recorded finding -> what reads it."""
assert [*_FIELDS, "parts"] == [item.name for item in fields(Recorded)]
_PART_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "level": _text,
    **{name: _FIELDS[name] for name in ("tasks", "estimate", "se", "df", "low", "high")},
}
"""The same of a recorded part."""
assert list(_PART_FIELDS) == [item.name for item in fields(RecordedPart)]


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _no_constant(name: str) -> float:
    raise ValueError(f"not JSON: {name} is no number")


def _shown(value: Any) -> str:
    text = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
