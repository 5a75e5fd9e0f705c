"""Text as LaTeX: pure ASCII that plain pdflatex compiles whatever the text is. Tables are in :mod:`.latex_tables`."""

from __future__ import annotations

import re
import unicodedata

from reports.templating import visible

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\ensuremath{<}", ">": r"\ensuremath{>}",
    "|": r"\textbar{}", '"': r"\texttt{\char34}", "`": r"\textasciigrave{}", "'": "'", "\n": " ", "\t": " ",
}  # fmt: skip
_APART = "\u2060"
"""Between hyphens, which are no dash; no shown text holds it."""
_TEXT = {
    "–": "--", "—": "---", "…": r"\ldots{}", "“": "``", "”": "''", "‘": "`", "’": "'", _APART: "{}",
    "\N{NO-BREAK SPACE}": "~", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}",
    "Ø": r"\O{}", "å": r"\aa{}", "Å": r"\AA{}", "ł": r"\l{}", "Ł": r"\L{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ı": r"\i{}",
    "§": r"\S{}", "¶": r"\P{}", "©": r"\copyright{}", "£": r"\pounds{}",
}  # fmt: skip
_MATHS = {
    "−": "-", "×": r"\times", "±": r"\pm", "·": r"\cdot", "÷": r"\div", "→": r"\to", "←": r"\leftarrow",
    "↔": r"\leftrightarrow", "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "∞": r"\infty", "∅": r"\emptyset",
    "∈": r"\in", "∑": r"\sum", "√": r"\surd", "°": r"^\circ", "⟨": r"\langle", "⟩": r"\rangle", "∪": r"\cup",
    "∩": r"\cap", "‖": r"\Vert", "«": r"\ll", "»": r"\gg",
}  # fmt: skip
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ",
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon varphi "
        "chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega".split(),
        strict=True,
    )
)
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".",
            "\u0306": "u", "\u030c": "v", "\u030b": "H", "\u0327": "c"}  # fmt: skip
_RAISED = dict(zip("⁻⁺⁰¹²³⁴⁵⁶⁷⁸⁹", "-+0123456789", strict=True))
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")


def escaped(text: str) -> str:
    """A text that LaTeX shows as it is; what plain pdflatex has no sign for is named by its code point.

    Control characters become visible, as on the page. The packages that it needs are those of :data:`PREAMBLE`.
    """
    shown = re.sub("-(?=-)", f"-{_APART}", visible(text))
    parts, last = [], 0
    for run in _RAISED_RUN.finditer(shown):
        raised = "".join(_RAISED[one] for one in run[0])
        parts += [*map(_sign, shown[last : run.start()]), rf"\ensuremath{{^{{{raised}}}}}"]
        last = run.end()
    return "".join((*parts, *map(_sign, shown[last:])))


PREAMBLE = r"\usepackage{array,booktabs,graphicx,longtable,lscape,textcomp}" "\n"
"""What a document needs before it reads a table or a text of ours."""


def _sign(one: str) -> str:
    if one in _SPECIAL:
        return _SPECIAL[one]
    if one.isascii():
        return one
    if one in _TEXT:
        return _TEXT[one]
    if one in _MATHS:
        return rf"\ensuremath{{{_MATHS[one]}}}"
    if one in _GREEK:
        return rf"\ensuremath{{\{_GREEK[one]}}}"
    parts = unicodedata.normalize("NFD", one)
    base, accents = parts[0], parts[1:]
    if base.isascii() and base.isalpha() and accents in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(base, base)
        return rf"\{_ACCENTS[accents]}{{{base}}}"
    return rf"\texttt{{[U+{ord(one):04X}]}}"
