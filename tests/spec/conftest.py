from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mechshift_core.spec import Problem, SpecError, load_spec


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the models and the data set that STUDY names."""
    for name in ("arm", "mdm"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "mine.jsonl").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def problems(folder: Path) -> Callable[[str | bytes], tuple[Problem, ...]]:
    """What is wrong with a spec of this text, which is saved as study.yaml."""

    def load(content: str | bytes) -> tuple[Problem, ...]:
        Path("study.yaml").write_bytes(
            content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        )
        try:
            load_spec("study.yaml")
        except SpecError as error:
            return error.problems
        return ()

    return load
