"""Run the code cells of the example notebook and write what they show into it.

    python docs/run_notebook.py            # after a change of a cell, or of what a cell shows

No Jupyter is needed: a cell shows what it prints, and the value of its last line as text and, where it has such, as
HTML. `tests/test_notebook.py` runs the cells in the same way.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent / "example.ipynb"

Json = dict[str, Any]


def outputs_of(source: str, space: dict[str, Any], *, count: int = 0) -> list[Json]:
    """Run a cell in a name space; what it shows, as a notebook has it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed, value = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, str(NOTEBOOK), "exec"), space)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), space)
    shown: list[Json] = []
    if printed.getvalue():
        shown.append({"name": "stdout", "output_type": "stream", "text": printed.getvalue().splitlines(keepends=True)})
    if value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        html = getattr(value, "_repr_html_", lambda: None)()
        if html is not None:
            data["text/html"] = html.splitlines(keepends=True)
        shown.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    return shown


if __name__ == "__main__":
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    space: dict[str, Any] = {}
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        cell["outputs"] = outputs_of("".join(cell["source"]), space, count=number)
        cell["execution_count"] = number
        sys.stderr.write(f"cell {number} of {len(code)}\n")
    NOTEBOOK.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
