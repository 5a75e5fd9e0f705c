"""Every kind of test that a hypothesis can name, on one run, held against scipy on the same per-prompt values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from intervention_study import write_effective_study
from ruamel.yaml import YAML
from safetensors.numpy import load_file
from scipy import stats as scipy_stats

from mechshift_core import load_spec, run
from mechshift_core.graph import Graph, Shape
from mechshift_core.pipeline import Run
from stats import benjamini_hochberg, depth_slope, layer_shares
from stats.findings import Finding

SLOPE: dict[str, Any] = {"measure": "depth_slope", "where": {"pair": "shift"}}
TESTS: dict[str, dict[str, Any]] = {
    "kept": {"kind": "non_inferiority", "margin": 0.05},
    "beyond": {"kind": "bound", "bound": 10, "alternative": "less"},
    "not-beyond": {"kind": "bound", "bound": 10, "alternative": "greater"},
    "different": {"kind": "difference"},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("kinds")
    hypotheses = [{"id": name, **SLOPE, "test": test} for name, test in TESTS.items()]
    path = write_effective_study(folder, examples=16, hypotheses=hypotheses)
    yaml = YAML()
    content = yaml.load(path.read_text())
    content["select"] = {"correct": "none"}
    content["statistics"]["correction"] = "benjamini-hochberg"
    with path.open("w") as handle:
        yaml.dump(content, handle)
    return run(load_spec(path), out=folder / "out")


@pytest.fixture(scope="module")
def slopes(finished: Run) -> np.ndarray:  # type: ignore[type-arg]
    """Slope of the shift on each prompt."""
    import polars as pl

    stored = {
        row["model"]: load_file(finished.path / row["path"])["scores"]
        for row in pl.read_parquet(finished.path / "tables" / "edge_scores.parquet").iter_rows(named=True)
    }
    graph = Graph.of(Shape(2, 4, 2, 4, 16))
    layer = np.array([node.layer for node in graph.sources])[graph.edge_index[0]]
    before, after = (layer_shares(stored[name], layer, 2) for name in ("before", "after"))
    return depth_slope(after - before)


def found(finished: Run, name: str) -> Finding:
    return next(finding for finding in finished.findings.hypotheses if finding.id == name)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "null", "alternative"),
    [("kept", -0.05, "greater"), ("beyond", 10, "less"), ("not-beyond", 10, "greater"), ("different", 0, "two-sided")],
)
def test_p_is_that_of_a_skewness_corrected_t_test_against_the_value_that_the_test_names(
    name: str,
    null: float,
    alternative: Any,
    finished: Run,
    slopes: np.ndarray,  # type: ignore[type-arg]
) -> None:
    finding = found(finished, name)
    g = 0.75 * scipy_stats.skew(slopes) / np.sqrt(len(slopes))
    t = scipy_stats.ttest_1samp(slopes, null).statistic
    # Hall (1992), written as a perfect cube.
    corrected = ((1 + g * t / 3) ** 3 - 1) / g + g / 6
    below, above = scipy_stats.t.cdf(corrected, len(slopes) - 1), scipy_stats.t.sf(corrected, len(slopes) - 1)
    expected = {"less": below, "greater": above, "two-sided": 2 * min(below, above)}[alternative]
    assert finding.null == null and finding.status == "ok" and "corrected for skewness" in finding.method
    assert finding.p == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert finding.estimate == pytest.approx(slopes.mean(), rel=1e-4)


@pytest.mark.long
def test_verdicts_follow_from_the_bound(finished: Run) -> None:
    assert (found(finished, "beyond").verdict, found(finished, "not-beyond").verdict) == ("supported", "refuted")
    assert (found(finished, "kept").alternative, found(finished, "beyond").alternative) == ("not inferior", "less")


def test_the_family_is_corrected_as_the_spec_says(finished: Run) -> None:
    raw = [finding.p for finding in finished.findings.hypotheses]
    assert [finding.p_corrected for finding in finished.findings.hypotheses] == benjamini_hochberg(raw)


def test_the_report_asks_what_was_tested(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    for question in ("not lower by more than 0.05?", "below 10?", "above 10?", "different from zero?"):
        assert question in page
    assert "Benjamini–Hochberg-corrected" in page
