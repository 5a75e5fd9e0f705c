"""Who may know whom: data flows one way, so imports do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ["mechshift_core", "stats", "reports"]

MAY_IMPORT = {
    "stats": ["stats", "numpy", "scipy", "polars", "statsmodels", "sklearn", "networkx", "shapiq"],
    "reports": [
        "reports", "stats.findings", "polars", "altair", "vl_convert", "jinja2", "markupsafe",
    ],
}  # fmt: skip
"""All that a package may import besides the standard library."""

MAY_IMPORT_OF_OURS = {
    "mechshift_core.attribution": [
        "mechshift_core.attribution", "mechshift_core.models", "mechshift_core.graph", "mechshift_core.errors",
        "mechshift_core.options", "mechshift_core.metrics", "mechshift_core.method_names",
        "mechshift_core.text_batches",  # the one way up: text becomes tokens as in a study
    ],
    "mechshift_core.components": [
        "mechshift_core.components", "mechshift_core.attribution", "mechshift_core.models", "mechshift_core.graph",
        "mechshift_core.errors", "mechshift_core.options",
    ],
    "mechshift_core.options": ["stats.options"],
    "mechshift_core.metrics": ["mechshift_core.errors", "mechshift_core.models.precision", "mechshift_core.registry"],
    "mechshift_core.minimums": ["stats.minimums"],
    "mechshift_core.graph": [],
    "mechshift_core.method_names": [],
    "mechshift_core.errors": [],
    "mechshift_core.files": [],
}  # fmt: skip
"""All of ours that a part may import."""

PIPELINE = ["mechshift_core.pipeline", "mechshift_core.conclusion"]

MUST_NOT_IMPORT = {
    "mechshift_core.tasks": [
        "mechshift_core.spec", "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE,
        "mechshift_core.cli", "mechshift_core.attribution", "mechshift_core.components", "stats", "reports",
    ],
    "mechshift_core.models": [
        "mechshift_core.spec", "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE,
        "mechshift_core.cli", "mechshift_core.attribution", "mechshift_core.components", "mechshift_core.tasks",
        "stats", "reports",
    ],
    "mechshift_core.execution": [
        "mechshift_core.analysis", *PIPELINE, "mechshift_core.cli", "mechshift_core.reporting",
        "reports",
    ],
    "mechshift_core.analysis": [
        *PIPELINE, "mechshift_core.cli", "mechshift_core.reporting", "mechshift_core.attribution",
        "mechshift_core.components", "mechshift_core.models", "torch", "reports",
    ],
    "mechshift_core.interventions": [
        *PIPELINE, "mechshift_core.cli", "mechshift_core.reporting", "mechshift_core.gate",
        "mechshift_core.rooms", "mechshift_core.zoo", "reports",
    ],
    "mechshift_core.measures": [
        *PIPELINE, "mechshift_core.cli", "mechshift_core.reporting", "mechshift_core.gate",
        "mechshift_core.rooms", "mechshift_core.zoo", "mechshift_core.attribution", "mechshift_core.models", "torch",
        "reports",
    ],
    "mechshift_core.registry": ["mechshift_core.spec", "mechshift_core.kinds", "torch", "stats", "reports"],
    "mechshift_core.spec": [
        "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE, "mechshift_core.cli",
        "mechshift_core.attribution", "mechshift_core.components", "mechshift_core.models", "torch", "stats", "reports",
    ],
    "mechshift_core.gate": [
        "mechshift_core.spec", "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE,
        "mechshift_core.cli", "mechshift_core.attribution", "mechshift_core.models", "torch",
    ],
    "mechshift_core.comparison": [
        "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE, "mechshift_core.cli",
        "mechshift_core.attribution", "mechshift_core.models", "torch",
    ],
    "mechshift_core.tables": ["mechshift_core.spec", "mechshift_core.execution", "mechshift_core.analysis", "torch"],
    "mechshift_core.zoo": [
        "mechshift_core.execution", "mechshift_core.analysis", *PIPELINE, "mechshift_core.cli",
        "mechshift_core.attribution", "mechshift_core.components", "stats", "reports",
    ],
}  # fmt: skip
"""What a part must not import, at the top of a module or anywhere else."""


def imports_of(source: str, *, package: str = "") -> set[str]:
    """Every module that a source imports, anywhere and for type checking too; `from a import b` counts as `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def within(module: str, packages: list[str]) -> bool:
    """Whether a module is one of, or lies in one of, these."""
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def sources(part: str) -> list[tuple[Path, set[str]]]:
    path = ROOT.joinpath(*part.split("."))
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
    packages = [".".join(file.relative_to(ROOT).parent.parts) for file in files]
    return [
        (file.relative_to(ROOT), imports_of(file.read_text(encoding="utf-8"), package=package))
        for file, package in zip(files, packages, strict=True)
    ]


def imported(part: str) -> list[tuple[Path, str]]:
    """(file, module) of every import of a part."""
    return [(file, module) for file, modules in sources(part) for module in sorted(modules)]


def test_imports_are_found_wherever_they_stand() -> None:
    source = (
        "import a.b, c as d\nfrom e import f, g\nfrom . import h\nfrom ..i import j\n"
        "if TYPE_CHECKING:\n    import k\ndef function():\n    from l.m import n\n"
    )
    found = imports_of(source, package="top.sub")
    assert found == {"a.b", "c", "e.f", "e.g", "top.sub.h", "top.i.j", "k", "l.m.n"}
    assert within("a.b.c", ["a.b"]) and within("a.b", ["a.b"]) and not within("a.bc", ["a.b"])


@pytest.mark.long
@pytest.mark.parametrize("part", [*MAY_IMPORT, *MAY_IMPORT_OF_OURS, *MUST_NOT_IMPORT])
def test_every_part_that_has_a_rule_is_there(part: str) -> None:
    assert any(modules for _, modules in sources(part))


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_package_imports_only_what_it_may(part: str) -> None:
    allowed = [*MAY_IMPORT[part], *sys.stdlib_module_names]
    assert [found for found in imported(part) if not within(found[1], allowed)] == []


@pytest.mark.parametrize("part", MAY_IMPORT_OF_OURS)
def test_a_part_imports_of_ours_only_what_it_may(part: str) -> None:
    of_ours = [found for found in imported(part) if within(found[1], OURS)]
    assert [found for found in of_ours if not within(found[1], MAY_IMPORT_OF_OURS[part])] == []


@pytest.mark.long
@pytest.mark.parametrize("part", MUST_NOT_IMPORT)
def test_a_part_does_not_import_what_lies_above_it(part: str) -> None:
    assert [found for found in imported(part) if within(found[1], MUST_NOT_IMPORT[part])] == []
