"""The worked examples of `docs/how-to/add-a-*.md`, as packages outside of the tree, each through a whole study."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from random_models import random_model
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study

from mechshift_core.cli.main import main
from mechshift_core.package_code import package_code
from mechshift_core.spec.starters import starter

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
MEASURE = starter("own-measure").companions["mlp_share.py"]
"""The measure is what `mechshift init` writes."""
SPECS = Path(__file__).parents[2] / "specs"


def source(name: str) -> str:
    return MEASURE if name == "mlp_share" else (EXAMPLES / f"{name}.py").read_text()


def unmoved(measure: str) -> dict[str, Any]:
    """A claim that holds of any models, so that there is something for the gate to keep."""
    return {
        "id": f"unmoved-{measure.replace('_', '-')}",
        "measure": measure,
        "contrast": {"role": ["treatment", "control"]},
        "test": {"kind": "equivalence", "margin": 1000},
    }


def edited(path: Path, **changed: Any) -> Path:
    content = {**YAML().load(path.read_text()), **changed}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


def of_random_models(folder: Path, **changed: Any) -> Path:
    path = write_study(folder, examples=40)
    return edited(path, select={"correct": "none"}, execution={"device": "cpu", "workers": 2}, **changed)


def measure(folder: Path) -> Path:
    measures = {"mlp_share": {"early_only": True}}
    return of_random_models(folder, measures=measures, hypotheses=[unmoved("mlp_share")])


def intervention(folder: Path) -> Path:
    kinds = [ATTRIBUTION, {"name": "dimmed", "kind": "dimmed_embeddings", "factor": 0.7}]
    return of_random_models(folder, interventions=kinds, measures={"depth": {}}, hypotheses=[unmoved("dimming_cost")])


def task(folder: Path) -> Path:
    path = Path(shutil.copy(SPECS / "quickstart.yaml", folder / "study.yaml"))
    kinds = [{"name": "circuit", "kind": "edge_attribution", "method": "eap"}]
    statistics = {"bootstrap": {"replicates": 100}}
    tasks = [{"name": "handed_back", "examples": 60}]
    return edited(
        path, tasks=tasks, interventions=kinds, measures={"depth": {}}, hypotheses=[unmoved("depth_slope")],
        statistics=statistics, execution={"workers": 2, "device": "cpu"},
    )  # fmt: skip


def metric(folder: Path) -> Path:
    tasks = [{"name": "mine", "regime": "local", "dataset": "pairs.jsonl", "metric": "log_odds"}]
    path = of_random_models(folder, tasks=tasks, measures={"depth": {}}, hypotheses=[unmoved("depth_slope")])
    return edited(path, select={"correct": "none", "by": "argmax"})


def architecture(folder: Path) -> Path:
    path = of_random_models(folder, measures={"depth": {}}, hypotheses=[unmoved("depth_slope")])
    for name in ("before", "after", "continued"):
        shutil.rmtree(folder / name)
        random_model("smollm3", 2).save_pretrained(folder / name)  # type: ignore[operator]
    return path


STUDIES = {
    "mlp_share": (measure, "mlp_share"),
    "dimmed_embeddings": (intervention, "dimming_cost"),
    "handed_back": (task, "depth_slope"),
    "log_odds": (metric, "depth_slope"),
    "smollm3": (architecture, "depth_slope"),
}
"""Example -> what makes its study, and the measure that it tests."""


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main([*arguments])
    found = capsys.readouterr()
    return code, found.out, found.err


@pytest.mark.nightly
@pytest.mark.usefixtures("own_kinds")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "mlp_share" else [pytest.mark.nightly]) for name in STUDIES]
)
def test_an_example_goes_through_a_whole_study(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, tested = STUDIES[name]
    (tmp_path / f"{name}.py").write_text(source(name))
    spec, out = str(edited(make(tmp_path), extensions=[f"./{name}.py"])), str(tmp_path / "out")
    code, _, err = answer(capsys, "validate", spec)
    assert code == 2 and f"./{name}.py is code of" in err and "give --allow-code to run it" in err
    assert answer(capsys, "validate", spec, "--allow-code")[0] == 0
    code, told, err = answer(capsys, "plan", spec, "--allow-code")
    assert code == 0, err
    code, _, err = answer(capsys, "run", spec, "--out", out, "--allow-code")
    assert code == 0, err
    findings = json.loads(Path(out, "findings.json").read_text())
    (finding,) = findings["hypotheses"]
    assert (finding["measure"], finding["status"], finding["verdict"]) == (tested, "ok", "supported")
    assert pl.read_parquet(Path(out, "tables", "findings.parquet"))["measure"].to_list() == [tested]
    page = Path(out, "report.html").read_text()
    if tested != "depth_slope":
        assert 'id="further"' in page and f"figure-{tested.replace('_', '-')}" in page
    (recorded,) = json.loads(Path(out, "provenance.json").read_text())["extensions"]
    assert recorded["file"] == f"./{name}.py" and len(recorded["sha256"]) == 64 and recorded["kinds"]
    # A second run computes nothing; the copy beside the run is what later commands read.
    Path(tmp_path, f"{name}.py").write_text(Path(tmp_path, f"{name}.py").read_text())
    code, told, _ = answer(capsys, "run", spec, "--out", out, "--allow-code", "--json")
    assert code == 0 and json.loads(told)["computed"] == 0
    assert answer(capsys, "report", out)[0] == 2  # not without being told that code may be run
    assert answer(capsys, "report", out, "--allow-code")[0] == 0
    baseline = str(tmp_path / "baseline.json")
    assert answer(capsys, "check", out, "--baseline", baseline, "--update")[0] == 0
    assert answer(capsys, "check", out, "--baseline", baseline)[0] == 0
    code, _, err = answer(capsys, "calibrate", spec, "--out", out, "--repetitions", "20", "--allow-code")
    assert code == 0, err
    (calibrated,) = json.loads(Path(out, "calibration.json").read_text())["hypotheses"]
    assert calibrated["status"] == "ok" and calibrated["false_positives"] is not None


def test_the_measure_is_one_short_file() -> None:
    assert len(MEASURE.splitlines()) <= 60


def installed(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What `mechshift list` says where a package is installed: its module and its `dist-info` are on the path."""
    (folder / "mlp_share.py").write_text(text)
    metadata = folder / "mechshift_mlps-1.2.dist-info"
    metadata.mkdir(exist_ok=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mechshift-mlps\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[mechshift.kinds]\nmlps = mlp_share:KINDS\n")
    path = f"{Path(__file__).parents[2]}:{folder}"
    command = [sys.executable, "-m", "mechshift_core.cli.main", "list", "--json"]
    found = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": path, "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    return found


@pytest.mark.long
def test_an_installed_package_brings_its_kinds_by_an_entry_point(tmp_path: Path) -> None:
    def described(text: str) -> str:
        said: str = json.loads(installed(tmp_path, text).stdout)["measures"]["mlp_share"]
        return said

    first = described(MEASURE)
    assert re.fullmatch(r"share of the MLPs \[from mechshift-mlps \(1\.2, code [0-9a-f]{16}\)\]", first)
    assert described(MEASURE) == first
    assert described(f"{MEASURE}#") != first  # of an editable installation, whose version stays


@pytest.mark.long
def test_a_package_that_fails_is_left_out_with_a_warning(tmp_path: Path) -> None:
    found = installed(tmp_path, "raise RuntimeError('no such luck')")
    assert "mlp_share" not in json.loads(found.stdout)["measures"]
    assert "the kinds of mechshift-mlps (1.2) can't be had" in found.stderr and "no such luck" in found.stderr


def test_the_code_of_a_package_is_that_of_all_its_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("shared/mine/kinds.py", "shared/mine/inner/more.py", "shared/mine/__init__.py", "shared/other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with monkeypatch.context() as patch:
        for name in ("shared", "shared.mine", "shared.mine.kinds"):
            patch.setitem(sys.modules, name, importlib.import_module(name))
        before = package_code("shared.mine.kinds")
        (tmp_path / "shared" / "other.py").write_text("1")  # of whoever else uses the name
        assert package_code("shared.mine.kinds") == before
        (tmp_path / "shared" / "mine" / "inner" / "more.py").write_text("1")
        assert package_code("shared.mine.kinds") != before


HOW_TO = {
    "add-a-measure": "mlp_share",
    "add-an-intervention": "dimmed_embeddings",
    "add-a-task": "handed_back",
    "add-a-metric": "log_odds",
    "add-an-architecture": "smollm3",
}


@pytest.mark.parametrize("page", HOW_TO)
def test_a_how_to_shows_the_code_that_is_tested(page: str) -> None:
    text = (EXAMPLES.parent / "how-to" / f"{page}.md").read_text()
    assert f"```python\n{source(HOW_TO[page])}```\n" in text
