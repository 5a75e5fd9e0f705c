"""Scalars of YAML 1.2's core schema, restricted to what a spec may hold: text, finite numbers, truth values, null."""

from __future__ import annotations

import math
import re

from mechshift_core.wording import clip, describe

Plain = str | int | float | bool | None

_STANDARD = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONSTANTS: dict[str, Plain] = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
_TAGGED = {"null": type(None), "bool": bool, "int": int, "float": float}


def read_scalar(text: str, *, plain: bool, tag: str | None) -> tuple[Plain, str | None]:
    """The value of a scalar, and what is wrong with it (the value is a stand-in then).

    Args:
        text: The scalar without its quotes, escapes resolved.
        plain: Whether it was written without quotes.
        tag: Its explicit tag, in full.
    """
    if _SURROGATE.search(text):
        return "", "not valid Unicode: half of a surrogate pair"
    if tag in ("!", f"{_STANDARD}str") or (tag is None and not plain):
        return text, None
    value, problem = _resolve(text)
    if tag is None or problem is not None:
        return value, problem
    expected = _TAGGED.get(tag.removeprefix(_STANDARD)) if tag.startswith(_STANDARD) else None
    if expected is None:
        return value, refused_tag(tag)
    if type(value) is not expected and not (expected is float and type(value) is int):
        return value, f"{describe(value)} does not fit its tag {_short(tag)!r}"
    return value, None


def collection_tag_fits(tag: str | None, kind: str) -> bool:
    """Whether a sequence or mapping may carry a tag: none, or the standard one of its kind."""
    return tag is None or tag == {"sequence": f"{_STANDARD}seq", "mapping": f"{_STANDARD}map"}[kind]


def refused_tag(tag: str) -> str:
    """The message about any other tag."""
    return f"the tag {clip(_short(tag))!r} is not allowed: only plain data is read"


def _resolve(text: str) -> tuple[Plain, str | None]:
    if text in _CONSTANTS:
        return _CONSTANTS[text], None
    if _INTEGER.fullmatch(text):
        integer = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) <= 30 else 2**63
        if -(2**63) <= integer < 2**63:
            return integer, None
        return 0, f"the integer {clip(text)} does not fit 64 bits"
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text), None
    if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return 0, f"expected a finite number, got {clip(text)}"
    return text, None


def _short(tag: str) -> str:
    return f"!!{tag.removeprefix(_STANDARD)}" if tag.startswith(_STANDARD) else tag
