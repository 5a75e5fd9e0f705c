"""Pieces of the report for the output of a notebook's cell: with their own colours, light and dark, and no script.

The page's stylesheets are the source: their rules are kept as far as a piece has their classes, and hold within the
piece only, so that nothing else of the notebook changes.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from xml.etree import ElementTree

from markupsafe import Markup

from reports.data import ReportData
from reports.export.drawn import verdict_figure
from reports.export.pictures import definitions_in
from reports.figures.base import Figure
from reports.sections import answer
from reports.sentences import shows_opposite
from reports.templating import environment, render_template, source

SCOPE = "mechshift"
"""Class of every piece."""
DARK = ("[data-jp-theme-light=false]", ".vscode-dark", ".vscode-high-contrast", "[theme=dark]")
"""Pages that are dark whatever the system is: Jupyter, VS Code, Colab."""
LIGHT = ("[data-jp-theme-light=true]", ".vscode-light", "[theme=light]")

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BLOCK = re.compile(r"([^{}]*)\{((?:[^{}]|\{[^{}]*\})*)\}")
_CLASS = re.compile(r"\.([A-Za-z][\w-]*)")
_OF_PAGE = re.compile(r"(html|body|header|nav|footer|main|section|h1|h2|:root|\*|:focus-visible)\b|^[:*]")
_ID = re.compile(r'\bid="([^"]+)"')
_SHARED = re.compile(r'<svg class="[^"]*\bshared\b[^"]*"[^>]*>.*?</svg>', re.DOTALL)


def figure_piece(figure: Figure, *, shared: Markup) -> str:
    """A figure with legend, panels, caption and its numbers to unfold.

    Args:
        figure: The figure.
        shared: What its drawings refer to, as of :func:`shared_in`; each gets a copy of its own, since a copy by
            reference would be out of reach of rules that hold within the piece.
    """
    body = str(render_template("figures", figures=[figure], missing=""))
    body = body.replace('<a href="#tables">downloads</a>', "tables of the run")
    for name, part in definitions_in(shared).items():
        part.attrib.pop("id")
        body = body.replace(f'<use href="#{name}"/>', ElementTree.tostring(part, "unicode"))
    return _piece(body)


def conclusion_piece(data: ReportData) -> str:
    """What a run concludes: the answer, a row for each verdict, and what of it failed."""
    found = answer.section(data)
    hypotheses = data.findings.hypotheses
    rows = [
        {"finding": one, "drawing": panel.drawings[0], "opposite": shows_opposite(one)}
        for one, panel in zip(hypotheses, verdict_figure(data).panels, strict=True)
    ]
    body = render_template(
        "conclusion", title=data.title, answer=found and found.body, rows=rows, failures=data.failures
    )
    return _piece(body)


def shared_in(body: Markup) -> Markup:
    """The parts of a section's body that several of its drawings refer to."""
    return Markup("".join(_SHARED.findall(body)))


def _piece(body: str) -> str:
    """Markup with its style, its ids unlike those of any other piece."""
    body = str(body)  # of Markup, what replaces would be escaped
    mark = hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()[:8]
    for name in dict.fromkeys(_ID.findall(body)):
        body = body.replace(f'id="{name}"', f'id="{name}-{mark}"').replace(f'"#{name}"', f'"#{name}-{mark}"')
    return f'<div class="{SCOPE}">\n<style>\n{style_of(body)}</style>\n{body}</div>\n'


def style_of(body: str) -> str:
    """The style of a piece: the rules of the page whose classes it has, and colours by the theme of the notebook."""
    light, dark, rules = _sheet()
    classes = set(re.findall(r"[\w-]+", " ".join(re.findall(r'class="([^"]*)"', body))))
    scope = f".{SCOPE}"

    def within(pages: tuple[str, ...]) -> str:
        return ", ".join(f"{page} {scope}" for page in pages)

    written = [
        f"{scope} {{ {light} padding: 0.9rem 1rem; background: var(--paper); color: var(--ink);"
        " font: 0.95rem/1.5 var(--sans); overflow-x: auto; }",
        f"@media (prefers-color-scheme: dark) {{ {scope} {{ {dark} }} }}",
        f"{within(DARK)} {{ {dark} color-scheme: dark; }}",
        f"{within(LIGHT)} {{ {light} color-scheme: light; }}",
    ]
    for selectors, declarations in rules:
        kept = [one for one in selectors if set(_CLASS.findall(one)) <= classes]
        if kept:
            written.append(f"{', '.join(f'{scope} {one}' for one in kept)} {{ {declarations} }}")
    written += [
        f"{scope} .panels {{ display: flex; flex-wrap: wrap; }}",
        f"{scope} .figure > figcaption::before {{ content: none; }}",
        f"{scope} .answer {{ margin-bottom: 1.2rem; }}",
    ]
    return "\n".join(written) + "\n"


@cache
def _sheet() -> tuple[str, str, tuple[tuple[tuple[str, ...], str], ...]]:
    """Colours of the light and of the dark page, and the rules that are neither of the page itself nor of media."""
    light = dark = ""
    rules = []
    sheets = environment().list_templates(filter_func=lambda name: name.endswith(".css"))
    text = "\n".join(source(name) for name in sorted(sheets, reverse=True))  # the page's own comes first
    for before, body in _BLOCK.findall(_COMMENT.sub("", text)):
        selector, declarations = before.strip(), " ".join(body.split())
        if selector == ":root":
            light = declarations
        elif selector.startswith("@media (prefers-color-scheme: dark)"):
            dark = dark or " ".join(_BLOCK.findall(body)[0][1].split())
        elif not selector.startswith("@"):
            parts = tuple(one.strip() for one in selector.split(","))
            rules.append((tuple(one for one in parts if not _OF_PAGE.match(one)), declarations))
    return light, dark, tuple(rules)
