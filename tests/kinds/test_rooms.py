"""A kind is one room: nothing else of the core names it, and a kind that is inconsistent is not registered."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mechshift_core.kinds import (
    INTERVENTIONS,
    MEASURES,
    TESTS,
    KindError,
    Least,
    MeasureKind,
    Otherwise,
    Testable,
    testables,
)
from mechshift_core.metrics import METRICS
from mechshift_core.models.declared import ARCHITECTURES
from mechshift_core.registry import Registry
from mechshift_core.spec.base import Section
from mechshift_core.tasks import TASKS

CORE = Path(__file__).parents[2] / "mechshift_core"
LIST = CORE / "rooms.py"
"""The list of rooms."""
SHORT = CORE / "plot.py"
"""Short functions for drawings of the report, which have the report's names for them."""
HOMONYMS = {
    "ablation": "an option of several kinds, and of `sensitivity`",
    "attention": "the attention kernel that a model runs with",
    "bound": "an option of a hypothesis test",
    "depth": "a covariate of the mixed models",
    "difference": "a line of the gate",
    "greater_than": "an error of pydantic",
    "neurons": "a field in EAP-IG's files of graphs",
    "right_context": "a token role",
}
"""Words that mean something else, too: these are not looked for as strings."""


def room_of(section: type[Section]) -> Path:
    """The folder in which a kind is."""
    return CORE.parent.joinpath(*section.__module__.split(".")[:3])


def rooms() -> dict[str, set[Path]]:
    """Name of a kind, or of a measure that hypotheses can name -> where it may stand."""
    found: dict[str, set[Path]] = {}
    for kind in (*INTERVENTIONS.values(), *MEASURES.values()):
        for name in (kind.name, *(one.name for one in kind.testables)):
            found.setdefault(name, set()).add(room_of(kind.section))
    for name in TESTS:
        found.setdefault(name, set()).add(CORE / "hypothesis_tests.py")
    for name in ARCHITECTURES:
        found.setdefault(name, set()).update({CORE / "models"})
    for name in TASKS:
        found.setdefault(name, set()).update({CORE / "tasks", CORE / "zoo"})
    for name in METRICS:
        found.setdefault(name, set()).update({CORE / "metrics.py", CORE / "tasks"})
    return found


def strings(tree: ast.Module) -> Iterator[ast.Constant]:
    """The strings of a module that are no documentation."""
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            yield node


@pytest.mark.long
def test_nothing_outside_of_a_room_names_its_kind() -> None:
    known, found = rooms(), []
    for path in sorted(CORE.rglob("*.py")):
        if path in (LIST, SHORT):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in strings(tree):
            where = known.get(node.value, set()) if node.value not in HOMONYMS else set()
            if where and not any(path.is_relative_to(room) for room in where):
                found.append(f"{path.relative_to(CORE)}:{node.lineno} {node.value}")
    assert found == []


def test_nothing_outside_of_a_room_imports_from_it() -> None:
    found = []
    for path in sorted(CORE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                if parts[:2] not in (["mechshift_core", "interventions"], ["mechshift_core", "measures"]):
                    continue
                room = CORE.parent.joinpath(*parts[:3])
                if path != LIST and not path.is_relative_to(room):
                    found.append(f"{path.relative_to(CORE)}:{node.lineno} {name}")
    assert found == []


def test_homonyms_are_names_of_kinds() -> None:
    assert set(HOMONYMS) <= set(rooms())


def test_every_name_of_a_measure_is_given_once() -> None:
    names = [one.name for one, _ in testables()]
    assert len(names) == len(set(names))


class Plain(Section):
    """A measure of nothing."""

    size: int = 1
    """How large it is."""


class Undocumented(Section):
    size: int


TESTED = Testable(name="plain", words="plain", estimand="plain", reading="plain", scale="plain")
PLAIN = MeasureKind(name="plain", section=Plain, least=Least(1, "for nothing"), testables=(TESTED,))
WRONG = {
    "has no docstring, which is its documentation": replace(PLAIN, section=Undocumented),
    "fields of Undocumented without documentation: size": replace(PLAIN, section=Undocumented),
    "fields without a default, so that `plain: {}` is no measure: size": replace(PLAIN, section=Undocumented),
    "neither a measure that hypotheses can name nor a table": replace(PLAIN, testables=()),
    "`reading` of a measure that hypotheses can name is empty": replace(
        PLAIN, testables=(replace(TESTED, reading=""),)
    ),
    "and so a shift, but says `between`": replace(PLAIN, testables=(replace(TESTED, per_prompt=True, between=True),)),
    "there is one of that name already, from mechshift": replace(PLAIN, name="depth"),
    "expected a name of lower-case letters, digits and '_'": replace(PLAIN, name="a b"),
    "'declared' can't be an entry of `measures`": replace(PLAIN, name="declared"),
    "hypotheses can name 'depth_slope' already": replace(PLAIN, testables=(replace(TESTED, name="depth_slope"),)),
    "there is a table 'findings' already": replace(PLAIN, tables={"findings": {}}),
    "expected a table name of lower-case letters, digits and '_', got '../x'": replace(PLAIN, tables={"../x": {}}),
    "`estimand` of 'plain' has braces other than {index}": replace(PLAIN, testables=(replace(TESTED, estimand="{x}"),)),
    "its `least` is to be a Least, got 2": replace(PLAIN, least=2),  # type: ignore[arg-type]
    "its `section` is to be a class of Section, got 5": replace(PLAIN, section=5),  # type: ignore[arg-type]
    "its `testables` are to be Testable, got 'x'": replace(PLAIN, testables=("x",)),  # type: ignore[arg-type]
    "there is a choice 'interval' of `sensitivity` already": replace(
        PLAIN,
        otherwise=(Otherwise(field="interval", type=int, text="x", update=lambda _: {}, own=lambda _: ()),),
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_an_inconsistent_kind_is_refused_with_the_reason(message: str) -> None:
    with pytest.raises(KindError) as raised:
        MEASURES.add(WRONG[message], origin="here")
    assert message in str(raised.value) and "of here:" in str(raised.value)
    assert "plain" not in MEASURES


def test_kinds_of_files_are_forgotten_and_those_installed_are_not() -> None:
    registry: Registry[MeasureKind[Plain]] = Registry(
        "measure", lambda: (PLAIN,), lambda kind: kind.name, lambda kind: isinstance(kind, MeasureKind)
    )
    other = replace(PLAIN, name="other")
    registry.add(other, origin="mine.py (sha256 1)")
    assert registry.origin("other") == "mine.py (sha256 1)"
    assert registry.marks("plain") == [] and registry.marks("other") == ["mine.py (sha256 1)"]
    with pytest.raises(KindError, match="there is one of that name already, from mine"):
        registry.add(replace(other, usual=True), origin="mine.py (sha256 2)")
    registry.forget()
    assert [*registry] == ["plain"] and registry.origin("other") == ""
