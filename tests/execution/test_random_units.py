"""What a spec says is random is what its findings generalise over: prompts, templates, training seeds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from intervention_study import lines, table, write_effective_study
from random_models import write_random_model
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from scipy import stats as scipy_stats
from studies import ATTRIBUTION, EVERY_KIND
from within_templates import df, sem

from mechshift_core import run
from mechshift_core.graph import Graph, Shape
from stats import depth_slope, layer_shares
from stats.findings import Finding

SEEDS = 5
EXAMPLES, TEMPLATES = 24, 6
OF = [f"t{number % TEMPLATES}" for number in range(EXAMPLES)]
"""Template of each example, but for its name."""
HYPOTHESES: list[dict[str, Any]] = [
    {
        "id": "earlier",
        "measure": "depth_slope",
        "where": {"role": "treatment"},
        "test": {"kind": "difference"},
    },
    {
        "id": "beyond",
        "measure": "depth_slope",
        "contrast": {"role": ["treatment", "control"]},
        "test": {"kind": "difference"},
    },
    {"id": "spread", "measure": "early_share", "where": {"role": "treatment"}, "test": {"kind": "difference"}},
]
Again = Callable[..., dict[str, Finding]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five seeds: for each a model after training, and one of a control; prompts of six templates."""
    folder = tmp_path_factory.mktemp("units")
    path = write_effective_study(folder, examples=EXAMPLES, hypotheses=HYPOTHESES, interventions=[ATTRIBUTION])
    name_templates(folder, TEMPLATES)
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["models"] = {"before": content["models"]["before"]}
    content["pairs"] = []
    for role, first in (("treatment", 20), ("control", 40)):
        for seed in range(SEEDS):
            name = f"{role}-{seed}"
            write_random_model("qwen2", folder / name, seed=first + seed)
            content["models"][name] = {"source": name, "paradigm": "autoregressive"}
            content["pairs"].append({"name": name, "before": "before", "after": name, "role": role, "seed": seed})
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return folder


def name_templates(folder: Path, number: int) -> None:
    """Say that the prompts are of so many templates, in turns."""
    rows = [{**row, "template": f"t{position % number}"} for position, row in enumerate(lines(folder))]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


@pytest.fixture
def again(folder: Path) -> Again:
    """Analyse the study with other units (and with some of its seeds or templates), from the same cells."""

    def analysed(*, seeds: int = SEEDS, templates: int = 6, **units: str) -> dict[str, Finding]:
        yaml = YAML()
        content = yaml.load((folder / "study.yaml").read_text())
        content["statistics"]["units"] = units
        content["pairs"] = [pair for pair in content["pairs"] if pair["seed"] < seeds]
        name_templates(folder, templates)
        path = folder / "other.yaml"
        with path.open("w") as handle:
            yaml.dump(content, handle)
        return {finding.id: finding for finding in run(path, out=folder / "out").findings.hypotheses}

    return analysed


def slopes(folder: Path) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """Slope of the shift of every pair on each prompt."""
    graph = Graph.of(Shape(2, 4, 2, 4, 16))
    layer = np.array([node.layer for node in graph.sources])[graph.edge_index[0]]
    rows = table(folder / "out", "edge_scores").iter_rows(named=True)
    shares = {row["model"]: layer_shares(load_file(folder / "out" / row["path"])["scores"], layer, 2) for row in rows}
    return {name: depth_slope(share - shares["before"]) for name, share in shares.items() if name != "before"}


@pytest.mark.long
def test_fixed_units_are_prompts_alone(folder: Path, again: Again) -> None:
    found = again()["earlier"]
    mean = np.mean([values for name, values in slopes(folder).items() if name.startswith("treatment")], axis=0)
    assert (found.estimate, found.se) == pytest.approx((mean.mean(), sem(mean, OF)), rel=1e-5)
    assert found.df == pytest.approx(df(mean, OF), rel=1e-4)
    assert found.method.startswith("contrast of replicates over prompts; ")
    assert found.n == {"prompt": EXAMPLES, "template": TEMPLATES, "task": 1, "seed": SEEDS}


@pytest.mark.nightly
def test_random_templates_are_drawn_with_all_of_their_prompts(folder: Path, again: Again) -> None:
    findings = again(template="random")
    found = findings["earlier"]
    mean = np.mean([values for name, values in slopes(folder).items() if name.startswith("treatment")], axis=0)
    by_template = mean.reshape(-1, 6).mean(axis=0)
    expected = scipy_stats.ttest_1samp(by_template, 0)
    assert found.estimate is not None and found.se is not None
    assert (found.estimate / found.se, found.df) == pytest.approx((expected.statistic, 5), rel=1e-5)
    assert found.n == {"prompt": EXAMPLES, "template": 6, "task": 1, "seed": SEEDS}
    for finding in findings.values():
        assert finding.status == "ok" and finding.df == 5, finding
        assert finding.method.startswith("contrast of replicates over templates with all of their prompts; ")
    estimates = json.loads((folder / "out" / "findings.json").read_text())["estimates"]
    assert {json.dumps(row["n"]) for row in estimates} == {json.dumps({"prompt": EXAMPLES, "template": 6})}
    methods = {row["measure"]: row["method"] for row in estimates}
    assert "bootstrap over templates" in methods["retention"] and "over templates" in methods["specialization"]
    shift = table(folder / "out", "layers").filter((pl.col("side") == "shift") & (pl.col("pair") == "treatment-0"))
    assert shift["low"].null_count() == 0


def around_templates(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values [prompts, ...] less the mean of their template."""
    return np.concatenate([own - own.mean(axis=0) for own in (values[first::TEMPLATES] for first in range(TEMPLATES))])


@pytest.mark.long
def test_random_seeds_are_crossed_with_prompts(folder: Path, again: Again) -> None:
    findings = again(seed="random")
    of_pair = slopes(folder)
    values = {
        "earlier": np.stack([of_pair[f"treatment-{seed}"] for seed in range(SEEDS)], axis=1),
        "beyond": np.stack([of_pair[f"treatment-{s}"] - of_pair[f"control-{s}"] for s in range(SEEDS)], axis=1),
    }
    for name, y in values.items():
        rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
        within = EXAMPLES - TEMPLATES
        # Fixed templates are strata: prompts, and prompts by seeds, vary within them.
        ms_rows = SEEDS * (around_templates(rows) ** 2).sum() / within
        ms_columns = EXAMPLES * columns.var(ddof=1)
        ms_cells = (around_templates(y - rows - columns) ** 2).sum() / (within * 4)
        synthesis = ms_rows + ms_columns - ms_cells
        own = df(rows[:, 0], OF)
        terms = ms_rows**2 / own + ms_columns**2 / 4 + ms_cells**2 / (own * 4)
        # Where prompts or seeds differ by less than what is particular to a combination, theirs is zero.
        larger = max((ms_rows, own), (ms_columns, 4))
        square, freedom = (synthesis, synthesis**2 / terms) if synthesis > larger[0] else larger
        found = findings[name]
        assert found.estimate == pytest.approx(y.mean(), rel=1e-5)
        assert (found.se, found.df) == pytest.approx((np.sqrt(square / y.size), freedom), rel=1e-4)
    for finding in findings.values():
        assert finding.status == "ok" and finding.n["seed"] == SEEDS
        assert finding.method.startswith("contrast of replicates over prompts and training seeds; ")
    report = (folder / "out" / "report.html").read_text()
    assert "tested over training seeds as well" in report and "averaged over as they are" not in report


@pytest.mark.nightly
def test_templates_and_seeds_can_both_be_random(again: Again) -> None:
    for finding in again(seed="random", template="random").values():
        assert finding.status == "ok" and finding.se is not None and finding.n["template"] == 6
        assert "over templates with all of their prompts and training seeds; " in finding.method


@pytest.mark.long
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": "random", "seeds": 4}, "4 training seed(s): fewer than 5, no interval"),
        ({"template": "random", "templates": 4}, "fewer than 5, no interval"),
    ],
)
def test_fewer_than_five_units_give_points_only(again: Again, options: dict[str, Any], message: str) -> None:
    for finding in again(**options).values():
        assert finding.status == "points only" and finding.estimate is not None
        assert (finding.low, finding.p, finding.se) == (None, None, None)
        assert message in finding.message
        assert finding.verdict == "not estimable"


@pytest.mark.long
def test_every_intervention_is_analysed_over_templates(folder: Path) -> None:
    yaml = YAML()
    content = yaml.load((folder / "study.yaml").read_text())
    content["interventions"] = EVERY_KIND
    content["statistics"]["units"] = {"template": "random"}
    content["pairs"] = content["pairs"][:1]
    content["models"] = {name: content["models"][name] for name in ("before", "treatment-0")}
    content["hypotheses"] = []
    name_templates(folder, TEMPLATES)
    path = folder / "every.yaml"
    with path.open("w") as handle:
        yaml.dump(content, handle)
    result = run(path, out=folder / "every")
    assert result.failures == ()
    for name in ("components", "faithfulness"):
        rows = table(folder / "every", name)
        assert rows["low"].count() > 0, name
