"""Studies whose per-prompt measures are trimmed means, and what is said of means that rest on a few prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from scipy.stats import trim_mean
from studies import HYPOTHESES, write_study
from within_templates import df, sem

from mechshift_core import load_spec, run
from mechshift_core.analysis.layer_shares import shares_by_layer
from mechshift_core.analysis.samples import collect
from mechshift_core.execution.reading import readings
from mechshift_core.execution.store import RunFolder
from mechshift_core.measures.depth import depth
from mechshift_core.pipeline import Run, stored_plan
from mechshift_core.spec.problems import SpecError
from stats.depth import depth_slope
from stats.findings import Finding

pytestmark = pytest.mark.long


def write(folder: Path, *, sensitivity: dict[str, Any], **options: Any) -> Path:
    path = write_study(folder, examples=30, rule="none", **options)
    content = YAML().load(path.read_text()) | {"sensitivity": sensitivity}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("locations")
    path = write(folder, sensitivity={"location": ["mean"]}, statistics={"location": "trimmed"})
    return run(load_spec(path), out=folder / "out")


def slopes(finished: Run) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The shift of the slope on each prompt of the treatment, from the stored scores."""
    plan = stored_plan(finished.path)
    samples = collect(plan, RunFolder(finished.path), {}, readings(plan.spec.denoising)[0])
    sample = samples.by_pair_and_task["shift", "mine"]
    shares = shares_by_layer(sample)
    return depth_slope(shares["after"] - shares["before"])


def earlier(hypotheses: tuple[Finding, ...]) -> Finding:
    return next(one for one in hypotheses if one.measure == "depth_slope")


def test_a_hypothesis_is_decided_on_the_trimmed_mean_and_says_so(finished: Run) -> None:
    found, values = earlier(finished.findings.hypotheses), slopes(finished)
    assert found.estimate == pytest.approx(trim_mean(values, 0.2))
    assert (found.location, found.df) == ("20% trimmed mean", 17)
    assert found.estimand.startswith("20% trimmed mean over prompts of the slope over depth")
    assert found.method.startswith("contrast of 20% trimmed means over prompts; t-test")
    kept = finished.findings.hypotheses[0]
    assert (kept.location, kept.method[:22]) == ("", "contrast of replicates")


def test_the_mean_is_the_alternative(finished: Run) -> None:
    (other,) = finished.findings.alternatives
    assert (other.choice, other.value) == ("location", "mean")
    found, kept = earlier(other.hypotheses), other.hypotheses[0]
    assert found.estimate == pytest.approx(slopes(finished).mean()) and found.location == ""
    assert kept.estimate == finished.findings.hypotheses[0].estimate


def test_estimates_are_trimmed_means_with_the_interval_of_the_hypothesis(finished: Run) -> None:
    found = earlier(finished.findings.hypotheses)
    shift = next(
        one
        for one in finished.findings.estimates
        if (one.measure, one.pair, one.side) == ("depth_slope", "shift", "shift")
    )
    assert (shift.estimate, shift.low, shift.high) == pytest.approx((found.estimate, found.low, found.high))
    assert shift.method.startswith("20% trimmed mean: t with Winsorized standard error")


def test_the_report_says_what_is_estimated(finished: Run) -> None:
    page = (finished.path / "report.html").read_text()
    assert "20% trimmed mean of the shift of " in page and "contrast of 20% trimmed means over prompts" in page


def test_no_cell_depends_on_the_location(finished: Run, tmp_path: Path) -> None:
    folder = finished.path.parent
    again = run(load_spec(write(folder, sensitivity={})), out=finished.path)
    assert again.computed == 0 and earlier(again.findings.hypotheses).location == ""


def test_a_mean_that_rests_on_one_prompt_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_an_outlier(shares: Any) -> Any:
        values = depth_slope(shares)
        return np.r_[values[:-1], values[-1] + 50 * np.ptp(values)]

    monkeypatch.setattr(depth, "depth_slope", with_an_outlier)
    result = run(load_spec(write(tmp_path, sensitivity={"location": ["trimmed"]})), out=tmp_path / "out")
    words = "2 of 30 prompts carry 97% of the variance: the interval may not hold its level"
    found = earlier(result.findings.hypotheses)
    assert found.message == f"{words} (see `statistics: {{location: trimmed}}`)" and found.status == "ok"
    assert found.verdict == "inconclusive"
    (trimmed,) = result.findings.alternatives
    assert earlier(trimmed.hypotheses).message == ""
    said = [one for one in result.findings.estimates if one.message.startswith(words)]
    assert {(one.measure, one.side) for one in said} == {("depth_slope", "shift")}
    assert words in (result.path / "report.html").read_text()


@pytest.mark.parametrize(
    ("sensitivity", "complaint"),
    [
        ({"location": ["mean"]}, "'mean' is the study's own choice"),
        ({"location": ["median"]}, "expected 'mean' or 'trimmed', got 'median'"),
    ],
)
def test_what_is_no_other_location_is_refused(sensitivity: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=complaint):
        load_spec(write(tmp_path, sensitivity=sensitivity))


def test_a_study_without_means_of_prompts_has_no_other_location(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no hypothesis depends on it"):
        load_spec(write(tmp_path, sensitivity={"location": ["trimmed"]}, hypotheses=HYPOTHESES[:1]))


def test_fixed_templates_are_strata_and_are_counted(finished: Run, tmp_path: Path) -> None:
    path = write(tmp_path, sensitivity={})
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    template = np.arange(30) % 3
    named = [{**row, "template": f"t{number}"} for row, number in zip(rows, template.tolist(), strict=True)]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in named))
    result = run(load_spec(path), out=tmp_path / "out")
    found, values = earlier(result.findings.hypotheses), slopes(result)
    assert found.estimate == pytest.approx(values.mean())
    assert (found.se, found.df) == pytest.approx((sem(values, template.tolist()), df(values, template.tolist())))
    assert {one.n["template"] for one in result.findings.hypotheses} == {3}
    shift = next(
        one
        for one in result.findings.estimates
        if (one.measure, one.pair, one.side) == (found.measure, "shift", "shift")
    )
    assert (shift.low, shift.high, shift.n) == (found.low, found.high, {"prompt": 30, "template": 3})
    assert shift.method == "mean: t, corrected for skewness, spread within fixed templates"
    assert "template" not in earlier(finished.findings.hypotheses).n
