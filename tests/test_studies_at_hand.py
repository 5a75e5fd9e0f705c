"""The specs that need nothing but the bundled models: as they stand, and run with fewer prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from mechshift_core import load_spec, run
from mechshift_core.execution.plan import make_plan

SPECS = Path(__file__).parents[1] / "specs"
STUDIES = ("tiny-mechanism-shift", "inference-budgets", "calibration")
LONGEST = STUDIES[:2]
"""Run at night."""


def small(name: str, folder: Path) -> Path:
    """The spec with a few prompts, one or two of its seeds, and little resampling."""
    yaml = YAML()
    content: Any = yaml.load((SPECS / f"{name}.yaml").read_text())
    for task in content["tasks"]:
        task["examples"] = 24
    if name == "tiny-mechanism-shift":
        content["matrix"]["seed"] = [0]
        content["tasks"] = [task for task in content["tasks"] if task["name"] in ("ioi", "countdown")]  # one a regime
        content["pairs"] = [pair for pair in content["pairs"] if pair["seed"] in (0, "${{ seed }}")]
        content["models"]["arm-s1"] = {"source": "bundled:tiny-s1/arm", "paradigm": "autoregressive"}
    content["measures"]["overlap"] = {"top_k": [50], "splits": 8, "permutations": 50}
    content["statistics"].pop("units", None)  # too few seeds and wordings are left to be random
    if "sensitivity" in content:
        content["sensitivity"]["top_k"] = [20]
    content["statistics"]["bootstrap"]["replicates"] = (
        200  # enough for a p below the level after the correction over the study's hypotheses
    )
    content["interventions"][0]["steps"] = 1
    if len(content["interventions"]) > 1:
        content["interventions"][1] |= {"sizes": [10], "random": 1}
    with (folder / f"{name}.yaml").open("w") as handle:
        yaml.dump(content, handle)
    return folder / f"{name}.yaml"


@pytest.mark.long
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "tiny-mechanism-shift" else name for name in STUDIES]
)
def test_a_study_at_hand_has_all_its_models_and_prompts(name: str) -> None:
    plan = make_plan(load_spec(SPECS / f"{name}.yaml"))
    assert all(len(plan.datasets[task.name].examples) == task.examples for task in plan.spec.tasks)


def test_the_study_has_six_seeds_with_a_control_each_and_four_tasks() -> None:
    spec = load_spec(SPECS / "tiny-mechanism-shift.yaml")
    designed = {(pair.role, pair.seed) for pair in spec.pairs}
    assert designed == {(role, seed) for role in ("treatment", "control", "unrelated") for seed in range(6)}
    assert {task.name: task.regime for task in spec.tasks} == {
        "ioi": "local", "greater_than": "local", "countdown": "global", "infilling": "global",
    }  # fmt: skip
    unrelated = [
        (spec.models[p.before].source, spec.models[p.after].source) for p in spec.pairs if p.role == "unrelated"
    ]
    assert unrelated == [(f"bundled:tiny-s{s}/arm", f"bundled:tiny-s{(s + 1) % 6}/arm") for s in range(6)]
    for pair in [pair for pair in spec.pairs if pair.role != "unrelated"]:
        after = "mdm" if pair.role == "treatment" else "arm-continued"
        sources = (spec.models[pair.before].source, spec.models[pair.after].source)
        assert sources == (f"bundled:tiny-s{pair.seed}/arm", f"bundled:tiny-s{pair.seed}/{after}")


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.nightly) if name in LONGEST else name for name in STUDIES],
)
def test_a_study_at_hand_runs_through(name: str, tmp_path: Path) -> None:
    spec = load_spec(small(name, tmp_path))
    made = run(spec, out=tmp_path / "out")
    assert made.failures == ()
    for finding in made.findings.hypotheses:  # so few prompts need not show that any component or edge has an effect
        silent = ("agree no more than by chance", "do not clear their noise")
        few = finding.status == "undefined" and any(reason in finding.message for reason in silent)
        unequal = finding.status == "undefined" and "too unequal for a common ceiling" in finding.message
        assert finding.status == "ok" or few or unequal, finding.message
    budgets = pl.read_parquet(made.path / "tables" / "findings.parquet")["budget"].unique(maintain_order=True).to_list()
    assert budgets == [*make_plan(spec).budgets]
    again = run(spec, out=tmp_path / "out")
    assert (again.computed, again.analysed) == (0, False)
