"""Hand-made SVG: elements as escaped markup with presentation attributes and classes only, never inline styles."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from reports.templating import visible


def element(name: str, /, *children: str, **attributes: object) -> Markup:
    """An SVG element; underscores in attribute names become hyphens, None drops the attribute, text is escaped."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(child if isinstance(child, Markup) else escape(visible(child)) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>" if inner else f"<{name}{written}/>")


def picture(*children: str, width: float, height: float, label: str, class_: str) -> Markup:
    """A root `<svg>` with a text alternative, drawn in user units of one CSS pixel and free to shrink."""
    return element(
        "svg",
        *children,
        class_=class_,
        role="img",
        aria_label=label,
        width=width,
        height=height,
        viewBox=f"0 0 {short(width)} {short(height)}",
    )


def sample(*children: str) -> Markup:
    """A legend sample of 34 by 14 pixels, hidden from screen readers since its label says the same."""
    return element("svg", *children, class_="sample", width=34, height=14, viewBox="0 0 34 14", aria_hidden="true")


def line_sample(class_: str) -> Markup:
    """A horizontal line as a legend sample."""
    return sample(element("line", x1=1, y1=7, x2=33, y2=7, class_=class_))


def cut(text: str, longest: int) -> str:
    """The text as it is shown, with an ellipsis for what is beyond `longest` characters."""
    text = visible(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def short(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{round(float(value), 2) + 0.0:g}" if abs(value) < 1e5 else str(round(value))


def _value(value: object) -> str:
    return short(value) if isinstance(value, int | float) and not isinstance(value, bool) else visible(str(value))
