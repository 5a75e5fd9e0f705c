"""Progress in Python: shown in notebooks, silent in scripts unless asked for, and a function of one's own is called."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mechshift_core import run, showing
from mechshift_core.errors import UsageError
from mechshift_core.showing import in_notebook, shown


class ZMQInteractiveShell:
    """What Jupyter's shell is called."""


class Shell(ZMQInteractiveShell):
    """Colab's is one of them."""


class TerminalInteractiveShell:
    """IPython on a terminal can't change what it has printed."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What an IPython that runs in a notebook displays, one entry a change."""
    found: list[str] = []

    def display(line: dict[str, str], *, raw: bool, display_id: bool) -> Any:
        assert raw and display_id
        found.append(line["text/plain"])
        return SimpleNamespace(update=lambda line, raw: found.append(line["text/plain"]))

    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = Shell
    ipython.display = SimpleNamespace(display=display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    return found


def test_a_notebook_is_told_by_its_shell(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_notebook()
    for shell in (TerminalInteractiveShell, lambda: None):
        monkeypatch.setattr(sys.modules["IPython"], "get_ipython", shell)
        assert not in_notebook()
    monkeypatch.delitem(sys.modules, "IPython")
    assert not in_notebook()


def test_a_notebook_shows_a_line_that_changes(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.0, 0.1, 5.0, 5.0, 5.1, 5.1])
    monkeypatch.setattr(showing, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with shown(None) as progress:
        assert progress is not None
        progress("cells", 0, 3)
        progress("cells", 1, 3)  # too soon after the one before
        progress("cells", 2, 3)
        progress("cells", 3, 3)  # the last is always shown
    assert lines == ["[0/3] cells", "[2/3] cells", "[3/3] cells"]
    with shown(False) as progress:
        assert progress is None


def test_a_script_is_silent_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(None) as progress:
        assert progress is None
    with shown(True) as progress:
        assert progress is not None
        progress("cells", 1, 2)
    assert capsys.readouterr().err == "[1/2] cells\n"


def test_a_function_of_ones_own_is_called(lines: list[str]) -> None:
    told: list[tuple[str, int, int]] = []

    def mine(*one: Any) -> None:
        told.append(one)

    with shown(mine) as progress:
        assert progress is mine
    assert lines == []


def test_what_is_no_way_to_show_progress_is_refused() -> None:
    with pytest.raises(UsageError, match="progress: expected a function or True or False or None, got 3"):
        run("study.yaml", progress=3)  # type: ignore[arg-type]
