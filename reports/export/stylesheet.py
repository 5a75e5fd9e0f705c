"""The page's stylesheet as attributes, so that a drawing looks the same in any program that reads SVG.

Only what a drawing needs of CSS is understood: selectors of tags, classes and descendants, custom properties and the
shorthand `font`. Rules of media, states and children are left out, hence colours are those of the light page and a
drawing is in the state that a page opens with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from xml.etree.ElementTree import Element

from reports.templating import environment, source

FAMILY = "Liberation Sans, Arial, Helvetica, sans-serif"
"""Typeface of exported drawings: the first comes with vl-convert, so that a PDF holds the same on every machine."""
PROPERTIES = frozenset(
    "fill fill-opacity stroke stroke-width stroke-dasharray stroke-linecap stroke-linejoin stroke-opacity opacity "
    "font-family font-size font-style font-weight text-anchor".split()
)
"""What of a style SVG has attributes for."""

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BLOCK = re.compile(r"([^{}]*)\{((?:[^{}]|\{[^{}]*\})*)\}")
_SIMPLE = re.compile(r"([a-z][\w-]*)?((?:\.[\w-]+)*)$", re.IGNORECASE)
_FONT = re.compile(r"(?:(italic) )?(?:(\d{3}|normal|bold) )?([\d.]+px)(?:/[\d.]+)? (.+)$")
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")


@dataclass(frozen=True, slots=True)
class Simple:
    """A selector of one element: its tag, if it names one, and the classes that it must have."""

    tag: str
    classes: frozenset[str]

    def fits(self, node: Element) -> bool:
        """Whether an element is such a one."""
        return self.tag in ("", node.tag) and self.classes <= set(node.get("class", "").split())


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: the element, those that it must lie within from the outside in, what it declares, and its rank."""

    ancestors: tuple[Simple, ...]
    element: Simple
    declarations: tuple[tuple[str, str], ...]
    rank: tuple[int, int, int]

    def fits(self, node: Element, ancestors: Sequence[Element]) -> bool:
        """Whether it is a rule for an element within others."""
        if not self.element.fits(node):
            return False
        outer = iter(ancestors)
        return all(any(wanted.fits(one) for one in outer) for wanted in self.ancestors)


def styled(drawing: Element, *, definitions: Mapping[str, Element]) -> Element:
    """A drawing of the page that needs no stylesheet and no other part of the page; the given one is left alone.

    Args:
        drawing: An `<svg>` element.
        definitions: What `<use>` elements of it refer to, by id.
    """
    made = _styled(drawing, (), _variables(), definitions)
    assert made is not None
    made.set("font-family", FAMILY)
    made.attrib.setdefault("font-size", "11px")
    return made


def colour(name: str) -> str:
    """A colour of the light page by its role, such as `ink`."""
    return _variables()[f"--{name}"]


def _styled(
    node: Element, ancestors: tuple[Element, ...], known: Mapping[str, str], definitions: Mapping[str, Element]
) -> Element | None:
    """A copy of an element with its style as attributes; None where it is not to be seen."""
    if node.tag == "use":
        target = definitions.get(node.get("href", "").removeprefix("#"))
        return None if target is None else _styled(deepcopy(target), ancestors, known, {})
    declared = _declared(node, ancestors)
    known = {**known, **{name: value for name, value in declared.items() if name.startswith("--")}}
    values = {name: _VARIABLE.sub(lambda found: known.get(found[1], ""), value) for name, value in declared.items()}
    if "none" in (values.get("display"), node.get("display")):
        return None
    kept = {name: value for name, value in node.attrib.items() if name not in ("class", "id") and name[:5] != "data-"}
    kept |= {name: value for name, value in _presented(values) if value}
    made = Element(node.tag, kept)
    made.text = node.text
    inside = (*ancestors, node)
    made.extend(child for child in (_styled(one, inside, known, definitions) for one in node) if child is not None)
    return made


def _declared(node: Element, ancestors: tuple[Element, ...]) -> dict[str, str]:
    names = ("", node.tag, *node.get("class", "").split())
    fitting = {rule for name in names for rule in _rules().get(name, ()) if rule.fits(node, ancestors)}
    return dict(pair for rule in sorted(fitting, key=lambda rule: rule.rank) for pair in rule.declarations)


def _presented(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What of a style is an attribute; the typeface is that of the whole drawing."""
    for name, value in values.items():
        if name == "font" and (found := _FONT.match(value)):
            yield from (("font-style", found[1] or ""), ("font-weight", found[2] or ""), ("font-size", found[3]))
        elif name in PROPERTIES and name != "font-family":
            yield name, value


@cache
def _rules() -> dict[str, list[Rule]]:
    """The rules by a class of their element, or its tag where it has none."""
    found: dict[str, list[Rule]] = {}
    for number, (selector, declarations) in enumerate(_blocks()):
        for one in selector.split(","):
            simple = [_SIMPLE.match(part) for part in one.split()]
            if not simple or None in simple:
                continue  # of a state, a child, or something else that no drawing alone has
            parts = [Simple(part[1] or "", frozenset(part[2].split(".")[1:])) for part in simple if part]
            classes, tags = sum(len(part.classes) for part in parts), sum(bool(part.tag) for part in parts)
            rule = Rule(tuple(parts[:-1]), parts[-1], declarations, (classes, tags, number))
            found.setdefault(min(parts[-1].classes, default=parts[-1].tag), []).append(rule)
    return found


@cache
def _variables() -> dict[str, str]:
    """Custom properties of the light page."""
    return dict(pair for selector, pairs in _blocks() if selector == ":root" for pair in pairs if pair[0][:2] == "--")


@cache
def _blocks() -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Selectors and declarations of all stylesheets, but not of rules for media."""
    sheets = environment().list_templates(filter_func=lambda name: name.endswith(".css"))
    text = _COMMENT.sub("", "\n".join(source(name) for name in sorted(sheets, reverse=True)))
    found = []
    for selector, body in _BLOCK.findall(text):
        if not selector.strip().startswith("@"):
            pairs = (one.partition(":") for one in body.split(";") if ":" in one)
            found.append((selector.strip(), tuple((name.strip(), value.strip()) for name, _, value in pairs)))
    return tuple(found)
