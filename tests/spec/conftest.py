from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mechshift_core.spec import Problem, SpecError, load_spec

STUDY = """\
schema: mechshift/v1
name: study
models:
  arm: {source: ./arm, paradigm: autoregressive}
  mdm: {source: ./mdm, paradigm: masked_diffusion, mask_token: "<mask>"}
  continued: {source: ./arm, paradigm: autoregressive}
pairs:
  - {name: diffusion, before: arm, after: mdm, role: treatment, seed: 0}
  - {name: control, before: arm, after: continued, role: control, seed: 0}
tasks:
  - {name: ioi, examples: 100}
  - {name: countdown}
  - {name: mine, regime: global, dataset: mine.jsonl}
interventions:
  - {name: circuit, kind: edge_attribution, method: eap-ig, steps: 5}
measures:
  overlap: {top_k: [50, 100, 200]}
  depth: {}
hypotheses:
  - id: kept
    measure: retention
    where: {role: treatment, regime: local}
    test: {kind: equivalence, to: {role: control, regime: local}, margin: 0.2}
  - id: rewired
    measure: retention
    contrast: {regime: [global, local], role: [treatment, control]}
    test: {kind: difference, alternative: less}
"""


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
