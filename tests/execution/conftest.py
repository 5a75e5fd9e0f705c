"""A finished run of a small study, made once a module and copied for each test that begins with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from studies import write_study

from mechshift_core import run
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
