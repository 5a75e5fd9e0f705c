"""The quickstart against its baseline in the repository: a rerun passes, another checkpoint does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechshift_core.cli.main import main
from mechshift_core.gate import read_baseline
from mechshift_core.spec import load_spec

SPECS = Path(__file__).parents[2] / "specs"
BASELINES = sorted((SPECS / "baselines").glob("*.json"))


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_baseline_of_the_repository_is_of_the_hypotheses_of_its_spec(path: Path) -> None:
    spec = load_spec(SPECS / f"{path.stem}.yaml")
    baseline = read_baseline(path)
    assert baseline.name == spec.name
    assert [finding.id for finding in baseline.findings] == [hypothesis.id for hypothesis in spec.hypotheses]
    assert set(baseline.prompts) == {task.name for task in spec.tasks}
    assert {finding.status for finding in baseline.findings} == {"ok"}


@pytest.mark.long
def test_a_rerun_passes_and_another_checkpoint_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (SPECS / "quickstart.yaml").read_text()
    spec, out = tmp_path / "quickstart.yaml", tmp_path / "out"
    outcomes = {}
    for checkpoint in ("tiny-s0/mdm", "tiny-s1/mdm"):
        spec.write_text(text.replace("bundled:tiny-s0/mdm", f"bundled:{checkpoint}"))
        assert main(["run", str(spec), "--out", str(out), "--quiet"]) == 0
        outcomes[checkpoint] = main(["check", str(out), "--baseline", str(SPECS / "baselines" / "quickstart.json")])
    assert outcomes == {"tiny-s0/mdm": 0, "tiny-s1/mdm": 1}
    assert "regressed" in capsys.readouterr().out
