"""A finished run whose spec this version would refuse is shown all the same, and says what it would refuse."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from studies import write_study

from mechshift_core import open_run, plot, run
from mechshift_core.cli.main import main
from mechshift_core.pipeline import analyze, report
from mechshift_core.spec import SpecError

WHY = "sensitivity.interval: with random training seeds (statistics.units.seed) verdicts rest on standard errors"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two other choices, of which today's version refuses one beside random seeds."""
    folder = tmp_path_factory.mktemp("old")
    path = write_study(folder)
    content = YAML().load(path.read_text()) | {"sensitivity": {"interval": ["percentile"], "top_k": [20]}}
    for pair in content["pairs"]:
        pair["seed"] = 0
    with path.open("w") as handle:
        YAML().dump(content, handle)
    finished = run(path, out=folder / "out").path
    assert {one.choice for one in open_run(finished).findings.alternatives} == {"interval", "top_k"}
    assert "percentile" in (finished / "report.html").read_text()
    text = (finished / "spec.yaml").read_text().replace("  bootstrap:", "  units: {seed: random}\n  bootstrap:")
    (finished / "spec.yaml").write_text(text)
    facts = json.loads((finished / "provenance.json").read_text())
    facts["spec"]["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (finished / "provenance.json").write_text(json.dumps(facts))
    return finished


@pytest.mark.long
def test_the_report_leaves_the_choice_out_and_says_so(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(old)]) == 0
    assert f"note: {old}: this version would refuse its spec: " in capsys.readouterr().out
    page = report(old).read_text()
    said = (
        f"Another version made this run. This one would refuse its spec, and leaves out what it can&#39;t show: {WHY}"
    )
    assert page.count(said) == 2, "in the box under the title, and with the provenance"
    assert page.count("percentile") == 1, "in the spec as it was run"
    assert "K = 20" in page or "top_k" in page


@pytest.mark.long
def test_it_is_opened_drawn_exported_compared_and_checked(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_run(old)
    assert any(line.startswith(WHY) for line in opened.refused)
    assert plot.forest(opened).svg.startswith("<?xml")
    assert main(["export", str(old), "--to", str(tmp_path / "paper")]) == 0
    assert "would refuse its spec" in capsys.readouterr().out
    assert WHY in (tmp_path / "paper" / "sentences.md").read_text().replace("\\", "")
    capsys.readouterr()
    for runs in ([str(old)] * 2, [str(old)] * 3):
        assert main(["compare", *runs, "--html", str(tmp_path / "page.html")]) == 0
        assert f"note: {old}: this version would refuse its spec: {WHY}" in capsys.readouterr().out
        assert "this version would refuse its spec: " in (tmp_path / "page.html").read_text()
        assert main(["compare", *runs, "--markdown"]) == 0
        assert WHY in capsys.readouterr().out.replace("\\", "")
        assert main(["compare", *runs, "--json"]) == 0
        (note,) = json.loads(capsys.readouterr().out)["notes"]
        assert note.startswith(f"{old}: this version would refuse its spec: {WHY}")
    assert main(["check", str(old), "--baseline", str(tmp_path / "b.json"), "--update"]) == 0
    assert main(["check", str(old), "--baseline", str(tmp_path / "b.json")]) in (0, 4)
    assert main(["export", str(old), "--sqlite", str(tmp_path / "runs.db")]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.long
def test_what_computes_again_still_refuses_it(old: Path) -> None:
    with pytest.raises(SpecError, match=r"sensitivity\.interval: with random training seeds"):
        analyze(old)
