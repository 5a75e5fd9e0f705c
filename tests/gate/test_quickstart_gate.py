"""The quickstart against its baseline in the repository: another checkpoint does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechshift_core.cli.main import main
from mechshift_core.gate import read_baseline
from mechshift_core.spec import load_spec

SPECS = Path(__file__).parents[2] / "specs"
WITHOUT_ESTIMATE = {"quickstart": set[str](), "tiny-mechanism-shift": {"local-retained", "global-rewired"}}
"""Study -> its hypotheses that have none, for a reason that its findings name."""
BASELINES = sorted((SPECS / "baselines").glob("*.json"))


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: path.stem)
def test_a_baseline_of_the_repository_is_of_the_hypotheses_of_its_spec(path: Path) -> None:
    spec = load_spec(SPECS / f"{path.stem}.yaml")
    baseline = read_baseline(path)
    assert baseline.name == spec.name
    assert [finding.id for finding in baseline.findings] == [hypothesis.id for hypothesis in spec.hypotheses]
    assert set(baseline.prompts) == {task.name for task in spec.tasks}
    assert {finding.id for finding in baseline.findings if finding.status != "ok"} == WITHOUT_ESTIMATE[path.stem]


@pytest.mark.nightly
def test_another_checkpoint_does_not_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That the same checkpoint passes is seen in CI, which runs the quickstart and checks it."""
    text = (SPECS / "quickstart.yaml").read_text()
    spec, out = tmp_path / "quickstart.yaml", tmp_path / "out"
    assert "bundled:tiny-s0/mdm" in text
    spec.write_text(text.replace("bundled:tiny-s0/mdm", "bundled:tiny-s1/mdm"))
    assert main(["run", str(spec), "--out", str(out), "--quiet"]) == 0
    assert main(["check", str(out), "--baseline", str(SPECS / "baselines" / "quickstart.json")]) == 1
    assert "regressed" in capsys.readouterr().out
