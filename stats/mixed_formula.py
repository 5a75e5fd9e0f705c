"""The language of formulas: `y ~ a * b`, `a:b`, `+`, `-`, `1`, `0`, parentheses, `C(x)`, backquotes.

That of R and statsmodels, without their functions: `C(x)` is a number that labels groups, and backquotes stand around
a name with spaces. It is read here rather than by formulaic or patsy because those evaluate whatever Python a formula
holds, and formulas come from files.
"""

from __future__ import annotations

import re
from typing import NamedTuple, TypeAlias

MAX_TERMS, MAX_DEPTH = 1000, 50
"""Most terms and levels of parentheses of a formula: `a1 * a2 * ... * a30` would have 10^9 terms."""

_TOKEN = re.compile(r"\s*(?:([^\W\d][\w.]*)|`([^`]+)`|(\d+)|(\S))")


class Variable(NamedTuple):
    """A column in a formula; `as_factor` is `C(column)`."""

    column: str
    as_factor: bool = False

    @property
    def label(self) -> str:
        """As it is written."""
        return f"C({self.column})" if self.as_factor else self.column


Terms: TypeAlias = dict[frozenset[Variable], tuple[Variable, ...]]
"""Products of columns; the key does not know their order."""

_INTERCEPT: frozenset[Variable] = frozenset()


class FormulaReader:
    """Recursive descent over one side of a formula; `:` binds before `*`, and `*` before `+` and `-`.

    Args:
        text: The side of the formula.
        where: What errors call it.
    """

    def __init__(self, text: str, where: str) -> None:
        self.where, self.text = where, text.strip()
        matches = _TOKEN.finditer(self.text)
        self.tokens = [(m.lastindex or 0, m[m.lastindex or 0]) for m in matches]
        self.at = 0

    def read(self) -> list[tuple[Variable, ...]]:
        """All terms, those of fewer variables first; the intercept, unless it was taken out, is the empty one.

        Raises:
            ValueError: if the text can't be read, no term is left, or there are too many.
        """
        depth = 0
        for token in self.tokens:
            depth += {(4, "("): 1, (4, ")"): -1}.get(token, 0)
            if depth > MAX_DEPTH:
                raise self._error(f"more than {MAX_DEPTH} levels of parentheses")
        terms = self._sum({_INTERCEPT: ()}, top=True)
        self.end()
        if not terms:
            raise self._error("expected at least one term")
        return sorted(terms.values(), key=len)

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            ValueError: if something is.
        """
        if self.at < len(self.tokens):
            raise self._error(f"can't read {self.tokens[self.at][1]!r} here")

    def variable(self) -> Variable:
        """The column that comes next.

        Raises:
            ValueError: if something else does.
        """
        kind, text = self._next()
        if kind not in (1, 2):
            raise self._error(f"expected the name of a column, got {text!r}" if text else "expected a column")
        if kind == 1 and text == "C" and self._take("("):
            inner = self.variable()
            self._expect(")")
            return Variable(inner.column, True)
        return Variable(text)

    def _sum(self, terms: Terms, *, top: bool) -> Terms:
        add = not self._take("-")
        while True:
            number = self.tokens[self.at][1] if self.at < len(self.tokens) and self.tokens[self.at][0] == 3 else None
            if number is not None and (number not in ("0", "1") or not top):
                raise self._error(f"can't read the number {number} here")
            if number is not None:
                self.at += 1
                if add == (number == "1"):
                    terms[_INTERCEPT] = ()
                else:
                    terms.pop(_INTERCEPT, None)
            else:
                product = self._product()
                terms = terms | product if add else {key: terms[key] for key in terms if key not in product}
            if self._take("+"):
                add = True
            elif self._take("-"):
                add = False
            else:
                return terms

    def _product(self) -> Terms:
        terms = self._interaction()
        while self._take("*"):
            right = self._interaction()
            terms = terms | right | self._cross(terms, right)
        return terms

    def _interaction(self) -> Terms:
        terms = self._atom()
        while self._take(":"):
            terms = self._cross(terms, self._atom())
        return terms

    def _atom(self) -> Terms:
        if self._take("("):
            terms = self._sum({}, top=False)
            self._expect(")")
            return terms
        variable = self.variable()
        if self.at < len(self.tokens) and self.tokens[self.at] == (4, "("):
            raise self._error(f"functions such as {variable.column}() are not read: add a column with the values")
        return {frozenset((variable,)): (variable,)}

    def _next(self) -> tuple[int, str]:
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else (0, "")

    def _take(self, symbol: str) -> bool:
        found = self.at < len(self.tokens) and self.tokens[self.at] == (4, symbol)
        self.at += found
        return found

    def _expect(self, symbol: str) -> None:
        if not self._take(symbol):
            raise self._error(f"expected {symbol!r}")

    def _cross(self, left: Terms, right: Terms) -> Terms:
        if len(left) * len(right) > MAX_TERMS:
            raise self._error(f"more than {MAX_TERMS} terms")
        joined = (tuple(dict.fromkeys(a + b)) for a in left.values() for b in right.values())
        return {frozenset(term): term for term in joined}

    def _error(self, message: str) -> ValueError:
        text = self.text if len(self.text) <= 200 else f"{self.text[:197]}..."
        return ValueError(f"{self.where}: {message}, in {text!r}")
