"""The pytest plugin: spec files as tests, and findings as fixtures.

`pytest specs/` validates every spec in that folder; with `--mechshift-run` it runs them and tests their hypotheses. A
YAML file is a test only where it was asked for: named on the command line, itself or its folder, or by the setting
`mechshift_specs`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stats.findings import Findings

FindingsOf = Callable[[str | os.PathLike[str]], "Findings"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the setting."""
    group = parser.getgroup("mechshift", "specs of mechshift as tests")
    group.addoption("--mechshift-run", action="store_true", help="Run collected specs and test their hypotheses.")
    group.addoption(
        "--mechshift-no-files", action="store_true", help="Validate specs alone: look up no models, tokenizers or data."
    )
    group.addoption(
        "--mechshift-allow-code", action="store_true", help="Run the Python files that specs name as `extensions`."
    )
    parser.addini(
        "mechshift_specs",
        "Spec files to collect wherever they lie, as patterns of paths from the root directory, e.g. studies/*.yaml",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that every item of a spec carries; let code of specs be run where that is asked for."""
    if config.getoption("mechshift_allow_code"):
        from mechshift_core.allowed_code import code_allowed

        stack = ExitStack()
        stack.enter_context(code_allowed())
        config.add_cleanup(stack.close)
    config.addinivalue_line("markers", "mechshift: a spec file, or a hypothesis of one")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A spec file that was asked for."""
    if file_path.suffix not in (".yaml", ".yml") or not _asked_for(parent.config, file_path):
        return None
    from mechshift_core.testing.spec_items import SpecFile, is_spec

    return SpecFile.from_parent(parent, path=file_path) if is_spec(file_path) else None


def _asked_for(config: pytest.Config, path: Path) -> bool:
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        named = {
            Path(os.path.abspath(config.invocation_params.dir / argument.partition("::")[0]))  # noqa: PTH100 (keeps links)
            for argument in config.args
        }
        if path in named or path.parent in named:
            return True
    if not path.is_relative_to(config.rootpath):
        return False
    relative = path.relative_to(config.rootpath).as_posix()
    return any(fnmatch(relative, pattern) for pattern in config.getini("mechshift_specs"))


@pytest.fixture(scope="session")
def mechshift_findings() -> FindingsOf:
    """The findings of a run directory, or of a spec: `mechshift_findings("runs/quickstart").hypotheses`.

    A spec is run into `runs/NAME`, where a run that is there already is resumed; at most once in a session.
    """
    found: dict[Path, Findings] = {}

    def findings_of(path: str | os.PathLike[str]) -> Findings:
        from mechshift_core.testing.studies import conclusions

        key = Path(path).resolve()
        if key not in found:
            found[key] = conclusions(Path(path)).findings
        return found[key]

    return findings_of


@pytest.fixture
def mechshift_snapshot(request: pytest.FixtureRequest) -> Any:
    """A syrupy snapshot of findings: `assert mechshift_findings("runs/quickstart") == mechshift_snapshot`."""
    from mechshift_core.testing.snapshots import FindingsSnapshotExtension

    return request.getfixturevalue("snapshot").use_extension(FindingsSnapshotExtension)
