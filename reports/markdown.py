"""Text and tables as Markdown, in which no text of a run can act as markup."""

from __future__ import annotations

import re

from reports.tables import Table
from reports.templating import visible

_MARKUP = re.compile(r"[\\`*_{}\[\]#|~@$<>]|&(?=#?\w+;)")


def escaped(text: str) -> str:
    """A text on one line, as it is whatever it contains; control characters become visible, as on the page."""
    line = re.sub(r"\s+", " ", visible(text)).strip()
    return _MARKUP.sub(r"\\\g<0>", line)


def tabled(table: Table) -> str:
    """A table with its caption above; cells are written as on the page, numbers to the right."""
    lines = [[escaped(field.label) for field in table.fields]]
    lines.append(["---:" if field.numeric else ":---" for field in table.fields])
    lines += [[escaped(cell) for cell in row] for row in table.rows]
    return "\n".join([escaped(table.caption), "", *(f"| {' | '.join(cells)} |" for cells in lines), ""])
