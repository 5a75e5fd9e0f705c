"""A finished run of a small study, made once a module and copied for each test that begins with one."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from shared_cells import KEYS
from studies import write_study

from mechshift_core import run
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study, and `finished`, its run."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "study").mkdir()
    run(write_study(folder / "study"), out=folder / "finished")
    return folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made / "study", tmp_path / "study")
    return tmp_path / "study" / "study.yaml"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def finished(made: Path, study: Path, out: Path) -> Run:
    """The run of the study, in `out`."""
    shutil.copytree(made / "finished", out)
    return run(study, out=out)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MECHSHIFT_CELLS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store lies on another file system than the run directories."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    """A claimed run directory with eight small cells."""
    found = RunFolder(tmp_path / "run")
    with found.claim():
        for number, key in enumerate(KEYS):
            found.write_cell(key, {"model": "m"}, {"scores": np.full((2, 3), number, np.float32)})
        yield found
