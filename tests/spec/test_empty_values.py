"""A key without a value: the error stands at the key, wherever the parser sees the nothing."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from mechshift_core.spec import SpecError, load_spec
from mechshift_core.spec.tree import Mark, read_document

QUICKSTART = resources.files("mechshift_core.spec").joinpath("templates/quickstart.yaml").read_text(encoding="utf-8")


def line_of(text: str, key: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.lstrip().lstrip("- ").startswith(key))


def emptied(key: str) -> str:
    """The quickstart with nothing behind a key: the rest of its line, and all that is indented below, are left out."""
    lines, kept, depth = QUICKSTART.splitlines(), [], None
    for line in lines:
        indent = len(line) - len(line.lstrip(" "))
        if depth is not None and line.strip() and not line.lstrip().startswith("#"):
            if indent > depth or (indent == depth and line.lstrip().startswith("- ")):
                continue
            depth = None
        elif depth is not None:
            continue
        if line.lstrip().lstrip("- ").startswith(f"{key}:"):
            kept.append(line[: line.index(f"{key}:") + len(key) + 1])
            depth = indent if not line.lstrip().startswith("- ") else indent + 2
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"


@pytest.mark.parametrize("key", ["hypotheses", "models", "pairs", "tasks", "interventions", "seed", "claim", "measure"])
def test_an_empty_value_of_a_spec_is_reported_at_its_key(key: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(emptied(key), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    line = line_of(file.read_text(encoding="utf-8"), f"{key}:")
    found = [problem for problem in caught.value.problems if problem.line == line]
    assert found, caught.value
    assert "got nothing" in found[0].message
    assert found[0].source_line.lstrip().lstrip("- ").startswith(f"{key}:")
    after = file.read_text(encoding="utf-8").splitlines()[line : line + 3]
    assert not [problem for problem in caught.value.problems if problem.source_line in after]


@pytest.mark.parametrize(
    ("text", "path", "mark"),
    [
        ("a:\nb: 1\n", ("a",), Mark(1, 1)),
        ("a: # why\n\n  # because\n\nb: 1\n", ("a",), Mark(1, 1)),
        ("x:\n  a:\n\n\ny: 1\n", ("x", "a"), Mark(2, 3)),
        ("x: {a: , b: 1}\n", ("x", "a"), Mark(1, 5)),
        ("x: {a, b: 1}\n", ("x", "a"), Mark(1, 5)),
        ("? a\nb: 1\n", ("a",), Mark(1, 3)),
        ("a:", ("a",), Mark(1, 1)),
        ("a:\n  - \n  - 1\n", ("a", 0), Mark(2, 4)),  # behind its dash
        ("a: ''\nb: 1\n", ("a",), Mark(1, 4)),  # text, if empty
        ("a: &x\nb: *x\n", ("a",), Mark(1, 4)),
        ("a: !!null\nb: 1\n", ("a",), Mark(1, 4)),
        ("a: ~\nb: 1\n", ("a",), Mark(1, 4)),
        ("a:\n  b\nc: 1\n", ("a",), Mark(2, 3)),
    ],
)
def test_the_position_of_nothing(text: str, path: tuple[str | int, ...], mark: Mark) -> None:
    assert read_document(text).locate(path) == mark
