"""What this version implements of the grammar, in one place.

The grammar is wider than the tool. What a spec asks for and the tool does not do yet is refused by name when the spec
is validated, never ignored. Kinds are not listed here: what is registered is what works (`mechshift_core.kinds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

IMPLEMENTED: dict[str, tuple[object, ...]] = {
    "selection": ("both", "before", "any", "none"),
    "prompt unit": ("random",),
    "template unit": ("fixed", "random"),
    "seed unit": ("fixed", "random"),
    "bootstrap method": ("studentized", "percentile", "bca"),
    "model source": ("bundled", "local", "hf", "gguf"),
    "dtype": ("auto", "float64", "float32", "bfloat16", "float16"),
    "device": ("auto", "cpu", "cuda"),
    "engine": ("local",),
}
"""Subject -> the values that work."""

FIELDS: dict[tuple[str, ...], str] = {
    ("select", "correct"): "selection",
    ("statistics", "units", "prompt"): "prompt unit",
    ("statistics", "units", "template"): "template unit",
    ("statistics", "units", "seed"): "seed unit",
    ("statistics", "bootstrap", "method"): "bootstrap method",
    ("execution", "device"): "device",
    ("execution", "dtype"): "dtype",
    ("execution", "engine"): "engine",
}
"""Where the values of a subject stand in a spec, places in lists left out."""


def offered(path: Sequence[str | int], words: Iterable[str]) -> list[str]:
    """Those of the words which the grammar has at a path that work, so that no message names one that is refused."""
    subject = FIELDS.get(tuple(step for step in path if isinstance(step, str)))
    return [word for word in words if subject is None or word in IMPLEMENTED[subject]]


def refusal(subject: str, value: object) -> str | None:
    """Why a value of the grammar is refused; None where it works."""
    works = IMPLEMENTED[subject]
    if value in works:
        return None
    listed = ", ".join(map(_plain, works))
    return f"{subject} {_shown(value)} is not implemented in this version (implemented: {listed})"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else str(value)
