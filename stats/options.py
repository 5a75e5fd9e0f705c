"""Options of functions: what a signature says is what the function takes.

The annotation of a parameter is its contract: `Literal["a", "b"]` takes one of these words, `Count` a whole number of
at least one, `Share` a number between 0 and 1. :func:`checked` holds a function to it before its body runs, with the
message that the same mistake would get in a spec. Only the standard library is needed here: every part can use it.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeAlias, TypeVar, Union, get_args, get_origin

Options = ParamSpec("Options")
Result = TypeVar("Result")
MOST_CANDIDATES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Which numbers are taken, and how that is said; infinity is in no open range, NaN in none unless asked for."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    nan: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies in it."""
        if math.isnan(value):
            return self.nan
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below


Count: TypeAlias = Annotated[int, Range(words="at least 1", low=1)]
AtLeastTwo: TypeAlias = Annotated[int, Range(words="at least 2", low=2)]
Seed: TypeAlias = Annotated[int, Range(words="an integer >= 0", low=0)]
Share: TypeAlias = Annotated[
    float, Range(words="a number between 0 and 1", low=0, high=1, open_low=True, open_high=True)
]
"""Strictly between 0 and 1."""
Probability: TypeAlias = Annotated[float, Range(words="a number from 0 to 1", low=0, high=1)]
Positive: TypeAlias = Annotated[float, Range(words="a number > 0", low=0, open_low=True, open_high=True)]
Limit: TypeAlias = Annotated[float, Range(words="a number")]
"""An end of an interval, which may be infinite."""
Maybe: TypeAlias = Annotated[float, Range(words="a number", nan=True)]
"""A number that may not be known: NaN, infinity."""


def listing(words: Iterable[str], *, conjunction: str = "or") -> str:
    """`'a', 'b' or 'c'`."""
    quoted = [repr(word) for word in words]
    return f" {conjunction} ".join([*([", ".join(quoted[:-1])] if len(quoted) > 1 else []), *quoted[-1:]])


def suggestion(word: object, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the known word that comes closest, or nothing."""
    if not isinstance(word, str):
        return ""
    close = difflib.get_close_matches(word[:200], [*itertools.islice(known, MOST_CANDIDATES)], n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def fault(name: str, value: object, annotation: object) -> str | None:
    """What is wrong with a value for a parameter of a type; None where it fits, or the type is not one of options.

    Types of options are truth values, numbers, text, words, paths, functions, and sequences and unions of them.

    Args:
        name: What the parameter is called.
        value: What was given.
        annotation: Its type.
    """
    kinds = kinds_of(annotation)
    return None if kinds is None else _fault(name, value, kinds)


def check_option(name: str, value: object, annotation: object) -> None:
    """Hold one value to a type, as :func:`checked` does.

    Raises:
        ValueError: if it does not fit.
    """
    found = fault(name, value, annotation)
    if found is not None:
        raise ValueError(found)


def checked(function: Callable[Options, Result]) -> Callable[Options, Result]:
    """The function, which refuses options that its signature does not take.

    Raises:
        ValueError: for such an option, when the function is called.
    """
    return checked_as(ValueError)(function)


def checked_as(error: type[Exception]) -> Callable[[Callable[Options, Result]], Callable[Options, Result]]:
    """As :func:`checked`, with another error than ValueError."""

    def decorate(function: Callable[Options, Result]) -> Callable[Options, Result]:
        contract: dict[str, list[Any] | None] = {}

        @wraps(function)
        def held(*args: Options.args, **options: Options.kwargs) -> Result:
            if not contract:
                contract.update((name, kinds_of(annotation)) for name, annotation in annotations_of(function))
            for name, value in (*zip(contract, args, strict=False), *options.items()):
                kinds = contract.get(name)
                found = None if kinds is None else _fault(name, value, kinds)
                if found is not None:
                    raise error(found)
            return function(*args, **options)

        return held

    return decorate


def annotations_of(function: Callable[..., object]) -> list[tuple[str, object]]:
    """(name, type) of every parameter, in order; `object` for one that is imported for type checking only."""
    inner = inspect.unwrap(function)
    names = getattr(inner, "__globals__", {})
    found: list[tuple[str, object]] = []
    for name, parameter in inspect.signature(inner).parameters.items():
        annotation = parameter.annotation
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, names)  # our own source: annotations are postponed
            except (NameError, TypeError):
                annotation = object
        found.append((name, annotation))
    return found


def kinds_of(annotation: object) -> list[Any] | None:
    """The alternatives of a type; None where one of them is not a type of options."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        parts = [kinds_of(part) for part in get_args(annotation)]
        return None if None in parts else [kind for part in parts if part for kind in part]
    if annotation in (None, NoneType, bool, int, float, str, Path) or origin is Literal:
        return [annotation]
    if origin is os.PathLike:
        return [Path]
    if origin is Callable:
        return [Callable]
    if origin is Annotated and any(isinstance(extra, Range) for extra in get_args(annotation)[1:]):
        return [annotation]
    if origin is Sequence:
        return [annotation] if kinds_of(get_args(annotation)[0]) is not None else None
    return None


def _fault(name: str, value: object, kinds: list[Any]) -> str | None:
    if any(_fits(value, kind) for kind in kinds):
        return None
    sequence = next((kind for kind in kinds if get_origin(kind) is Sequence and _is_sequence(value)), None)
    if sequence is not None:
        inside = kinds_of(get_args(sequence)[0]) or []
        items: list[object] = list(value)  # type: ignore[call-overload]
        faults = (_fault(f"{name}[{place}]", item, inside) for place, item in enumerate(items))
        return next(found for found in faults if found is not None)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    phrases = [listing(words)] if words else []
    phrases += [_phrase(kind, value) for kind in kinds if get_origin(kind) is not Literal]
    hint = suggestion(value, words) if isinstance(value, str) else ""
    return f"{name}: expected {' or '.join(dict.fromkeys(phrases))}, got {_shown(value)}{hint}"


def _fits(value: Any, kind: Any) -> bool:
    if kind in (None, NoneType):
        return value is None
    origin = get_origin(kind)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if origin is Annotated:
        base, *extras = get_args(kind)
        ranges = [extra for extra in extras if isinstance(extra, Range)]
        return _is_number(value, whole=base is int) and all(one.holds(value) for one in ranges)
    if origin is Sequence:  # arrays are none to `isinstance`
        inside = kinds_of(get_args(kind)[0]) or []
        return _is_sequence(value) and all(any(_fits(item, one) for one in inside) for item in value)
    if kind is int or kind is float:
        return _is_number(value, whole=kind is int) and math.isfinite(value)
    if kind is bool:
        return isinstance(value, bool) or type(value).__name__ in _NUMPY_BOOLEANS
    return callable(value) if kind is Callable else isinstance(value, os.PathLike if kind is Path else kind)


_NUMPY_BOOLEANS = ("bool_", "bool")


def _is_sequence(value: object) -> bool:
    return isinstance(value, Iterable) and hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _is_number(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or type(value).__name__ in _NUMPY_BOOLEANS:
        return False
    return isinstance(value, Integral if whole else Real)


def _phrase(kind: Any, value: object) -> str:
    origin = get_origin(kind)
    if kind in (None, NoneType):
        return "None"
    if origin is Annotated:
        base, *extras = get_args(kind)
        words = " and ".join(extra.words for extra in extras if isinstance(extra, Range))
        whole = base is int and not _is_number(value, whole=True) and not words.startswith("an integer")
        return f"an integer, {words}" if whole else words
    if origin is Literal:
        return listing(get_args(kind))
    if origin is Sequence:
        inside = kinds_of(get_args(kind)[0]) or []
        return f"a list, each {' or '.join(_phrase(one, None) for one in inside)}"
    if kind is Callable:
        return "a function"
    return {bool: "True or False", int: "an integer", float: "a finite number", str: "text", Path: "a path"}[kind]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
