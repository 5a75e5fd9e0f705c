"""Numbers as text: one place decides digits, signs and what a missing value looks like."""

from __future__ import annotations

import math
import re

MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float | None) -> str:
    """Three decimals, fewer for large values, powers of ten for tiny ones; a real minus sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.0005:
        mantissa, exponent = f"{value:.1e}".split("e")
        return minus(f"{mantissa} × 10") + str(int(exponent)).translate(_SUPERSCRIPTS)
    decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
    return minus(f"{value:,.{decimals}f}")


def compact(value: float | None) -> str:
    """The same without trailing zeros: for declared values and axis labels."""
    text = number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "×" not in text else text


def minus(text: str) -> str:
    """Hyphen-minus to the minus sign."""
    return text.replace("-", "−")


def count(value: int | None) -> str:
    """Whole number with thousands separators."""
    return MISSING if value is None else minus(f"{value:,}")


def percent(value: float | None) -> str:
    """Proportion as a percentage; never 100 % or 0 % for what is not exactly that."""
    if value is None or not math.isfinite(value):
        return MISSING
    rounded = round(100 * value, 1)
    if (rounded in (0.0, 100.0)) != (value in (0.0, 1.0)):
        return "< 0.1 %" if value < 0.5 else "> 99.9 %"
    return f"{rounded:g} %"


def p_value(value: float | None) -> str:
    """p-value without its leading zero: `.012`, `< .001`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value < 0.001:
        return "< .001"
    return "> .999" if value >= 0.9995 else f"{value:.3f}".removeprefix("0")


def p_statement(value: float | None, *, name: str = "p") -> str:
    """`p = .012` or `p < .001`, which no line break divides."""
    text = p_value(value).replace(" ", "\N{NO-BREAK SPACE}")
    name += "\N{NO-BREAK SPACE}"
    return f"{name}{text}" if text[0] in "<>" else f"{name}=\N{NO-BREAK SPACE}{text}"


def interval(low: float | None, high: float | None) -> str:
    """`[low, high]`, or a dash where there is none."""
    return MISSING if low is None or high is None else f"[{number(low)}, {number(high)}]"


def confidence(level: float) -> str:
    """Level of an interval: `95 %`."""
    return f"{100 * level:g} %"


def listed(items: list[str], *, word: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}" if items else ""


def plural(amount: int, noun: str, nouns: str = "") -> str:
    """`1 pair`, `2 pairs`."""
    return f"{count(amount)} {noun if amount == 1 else nouns or noun + 's'}"


def sentence(text: str) -> str:
    """A text with a capital letter and a full stop; empty where it is."""
    cleaned = text.strip()
    cleaned = cleaned[:1].upper() + cleaned[1:]
    return cleaned if not cleaned or cleaned.endswith((".", "!", "?")) else f"{cleaned}."


def remark(text: str) -> str:
    """A message of a finding as a sentence; a name that it begins with keeps its small letter."""
    written = re.sub(r"(?<![\w.])-(?=\d)", "−", text.strip())
    named = re.match(r"\S+ on \S+: ", written)
    return f"Why: {written}{'' if written.endswith(('.', '!', '?')) else '.'}" if named else sentence(written)


def duration(seconds: float) -> str:
    """`less than a second`, `45 s`, `7 min`, `3 h 20 min`."""
    if seconds < 1:
        return "less than a second"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{minutes} min" if not hours else f"{hours} h" + (f" {minutes} min" if minutes else "")
