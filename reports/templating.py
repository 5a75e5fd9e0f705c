"""The Jinja2 environment: autoescape always on, control characters made visible, templates from this package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reports import formats

# C0/C1 controls but tab and newline, bidirectional controls, invisible operators, byte-order mark, lone surrogates.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")

_noted: ContextVar[list[Mapping[str, object]] | None] = ContextVar("what templates are filled with", default=None)


def visible(text: str) -> str:
    """Text with each control character replaced by its code point in angle brackets, so that none acts unseen."""
    return _CONTROLS.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def _finalize(value: object) -> object:
    """What every template expression goes through before it is escaped."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def environment() -> Environment:
    """The one environment of the package."""
    return new_environment(PackageLoader("reports"))


def new_environment(loader: BaseLoader) -> Environment:
    """An environment for pages of ours: everything escaped, numbers written alike, whatever its templates are."""
    made = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        number=formats.number,
        count=formats.count,
        percent=formats.percent,
        p_value=formats.p_value,
        interval=formats.interval,
        confidence=formats.confidence,
    )
    return made


def render_template(name: str, /, **context: object) -> Markup:
    """Fill the template `templates/<name>.html.j2`."""
    if (notes := _noted.get()) is not None:
        notes.append(context)
    return Markup(environment().get_template(f"{name}.html.j2").render(**context))


@contextmanager
def noted() -> Iterator[list[Mapping[str, object]]]:
    """What templates are filled with by :func:`render_template` while this lasts, in order: values by name."""
    notes: list[Mapping[str, object]] = []
    before = _noted.set(notes)
    try:
        yield notes
    finally:
        _noted.reset(before)


def source(name: str) -> str:
    """Text of a file among the templates, as it is."""
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]
