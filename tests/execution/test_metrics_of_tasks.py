"""The metric of a task in a spec: what is computed anew, what the run says of it, and one that a file brings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from intervention_study import lines, table
from ruamel.yaml import YAML
from studies import EVERY_KIND, write_study
from transformers import AutoModelForCausalLM

from mechshift_core import SpecError, load_spec, run
from mechshift_core.cli.main import main
from mechshift_core.execution import trying
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.tried import Answered, Seen
from mechshift_core.files import sha256_of
from mechshift_core.metrics import METRICS, TokenSet, flat_rows

EXAMPLE = (Path(__file__).parents[2] / "docs" / "examples" / "log_odds.py").read_text()
GENERATED: dict[str, Any] = {"name": "sva", "dataset": None, "regime": None}
pytestmark = pytest.mark.usefixtures("own_kinds")


def study(folder: Path, *, source: str | None = None, by: str | None = "argmax", **of_task: Any) -> Path:
    """The study of random models with other keys of its task; None takes one away."""
    path = write_study(folder, hypotheses=[], rule="none", interventions=of_task.pop("interventions", None))
    content = YAML().load(path.read_text())
    task = {key: value for key, value in {**content["tasks"][0], **of_task}.items() if value is not None}
    content |= {
        "tasks": [task],
        "measures": {"depth": {}},
        "select": {"correct": "none"} | ({} if by is None else {"by": by}),
    }
    if source is not None:
        (folder / "mine.py").write_text(source)
        content["extensions"] = ["./mine.py"]
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


def keys(path: Path) -> list[str]:
    return [cell.key for cell in make_plan(load_spec(path, allow_code=True)).cells]


def test_another_metric_is_computed_anew_and_the_same_one_is_not(tmp_path: Path) -> None:
    unset = keys(study(tmp_path))
    assert keys(study(tmp_path, metric="logit_difference")) == unset
    others = [keys(study(tmp_path, metric=name)) for name in ("probability_difference", "log_probability")]
    own = [keys(study(tmp_path, metric="log_odds", source=text)) for text in (EXAMPLE, EXAMPLE + "# changed\n")]
    every = [set(unset), *map(set, others), *map(set, own)]
    assert len(set.union(*every)) == sum(map(len, every))
    # A file that brings a metric which no task has changes nothing.
    assert keys(study(tmp_path, source=EXAMPLE)) == unset


def refused(path: Path, *, planned: bool = False) -> tuple[str, str]:
    """What is said of a spec, and the line that it is said at."""
    with pytest.raises(SpecError) as caught:
        spec = load_spec(path, allow_code=True)
        assert planned, "found before anything is read"
        make_plan(spec, headers_only=True)
    (problem,) = caught.value.problems
    return problem.message, path.read_text().splitlines()[problem.line - 1].strip()


def test_a_metric_that_is_not_known_is_refused_at_its_place(tmp_path: Path) -> None:
    message, line = refused(study(tmp_path, metric="logit_diference"))
    assert message == "unknown metric 'logit_diference' (did you mean 'logit_difference'?)"
    assert line == "metric: logit_diference"
    assert f"(known: {', '.join(METRICS)})" in refused(study(tmp_path, metric="banana"))[0]


@pytest.mark.parametrize(
    ("by", "task", "planned"),
    [("metric", {}, False), ("metric", GENERATED, False), (None, GENERATED, False), (None, {}, True)],
)
def test_answers_are_not_judged_by_a_metric_whose_zero_means_nothing(
    by: str | None, task: dict[str, Any], planned: bool, tmp_path: Path
) -> None:
    """Said in `select`, or the rule of the task: of a data set it is known once that is read."""
    message, line = refused(study(tmp_path, metric="log_probability", by=by, **task), planned=planned)
    assert re.match(
        r"the answers of '\w+' are to be judged by the metric, but 0 of 'log_probability' does not", message
    )
    assert "say `select: {by: argmax}`" in message and line == "metric: log_probability"


def test_a_metric_that_is_none_is_found_before_anything_runs(tmp_path: Path) -> None:
    source = EXAMPLE.replace("- others.logsumexp(1)", "- others.logsumexp(1).mean()")
    message, line = refused(study(tmp_path, metric="log_odds", source=source), planned=True)
    assert message.startswith("the metric 'log_odds' mixes prompts") and line == "metric: log_odds"


def test_a_task_of_ones_own_may_have_a_metric_of_ones_own(tmp_path: Path) -> None:
    task = (
        "\nclass Named:\n    name, regime, metric, summary = 'named', 'local', 'log_odds', 'a name'\n"
        "    judged_by, roles = 'JUDGED', ()\n    def counterfactual(self, rng):\n        return None\n"
    )
    for judged, kinds, message in (
        ("argmax", "[*KINDS, Named()]", None),
        ("argmax", "[Named(), *KINDS]", "task 'named' .* its `metric` is to be logit_difference or"),
        ("metric", "[*KINDS, Named()]", "it is judged by its metric, but log_odds is not 0 where answers and foils"),
    ):
        text = EXAMPLE + task.replace("JUDGED", judged) + f"KINDS = {kinds}\n"
        path = study(tmp_path, source=text)
        if message is None:
            assert load_spec(path, allow_code=True).loaded_extensions[0].kinds == ("metric log_odds", "task named")
            continue
        with pytest.raises(SpecError, match=message):
            load_spec(path, allow_code=True)


@pytest.mark.long
@pytest.mark.parametrize("name", ["log_odds", pytest.param("log_probability", marks=pytest.mark.long)])
def test_a_run_has_the_metric_of_transformers_and_says_so(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = study(tmp_path, metric=name, source=EXAMPLE, interventions=None if name == "log_odds" else EVERY_KIND)
    out = tmp_path / "out"
    made = run(load_spec(path, allow_code=True), out=out)
    assert not made.failures
    rows = lines(tmp_path)
    found = table(out, "examples").filter((pl.col("pair") == "shift") & (pl.col("side") == "after")).sort("example")
    module = AutoModelForCausalLM.from_pretrained(tmp_path / "after")
    for side in ("clean", "corrupt"):
        with torch.no_grad():
            logits = torch.stack([module(torch.tensor([row[f"{side}_ids"]])).logits[0, -1] for row in rows])
        p = torch.stack(
            [one.double().softmax(-1)[row["answer_ids"]].sum() for one, row in zip(logits, rows, strict=True)]
        )
        expected = torch.log(p / (1 - p)) if name == "log_odds" else torch.log(p)
        assert found[f"{side}_metric"].to_list() == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-4)
    assert found["correct_by_metric"].to_list() == [None] * len(rows)
    assert found["correct"].to_list() == found["correct_by_argmax"].to_list()
    page = (out / "report.html").read_text()
    assert f"The metric is {METRICS[name].summary}." in page
    provenance = json.loads((out / "provenance.json").read_text())
    data = provenance["data"]["mine"]
    assert (data["metric"], data["source"], "revision" in data) == (name, "pairs.jsonl", False)
    assert data["file_sha256"] == sha256_of(tmp_path / "pairs.jsonl")
    assert provenance["extensions"][0]["kinds"] == ["metric log_odds"]
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["log_probability"] == METRICS["log_probability"].summary


CERTAIN = torch.tensor([[40.0, 0.0, 0.0, 0.0], [1.0, 0.0, 2.0, 0.0], [0.0, 40.0, 0.0, 0.0]])
"""Logits of four tokens: the answer, 0, is certain; open; and as good as impossible."""
FLAT_ROWS = {
    "logit_difference": [False, False, False],
    "log_probability": [True, False, False],
    "probability_difference": [True, False, True],
}


@pytest.mark.parametrize("name", FLAT_ROWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_metric_stands_still_where_the_answer_is_certain(name: str, dtype: torch.dtype) -> None:
    answers, foils = TokenSet.of([[0]] * 3), TokenSet.of([[1, 2], [1], [1]])
    assert flat_rows(METRICS[name], CERTAIN.to(dtype), answers, foils).tolist() == FLAT_ROWS[name]


STILL = "the metric 'log_probability' does not move there"
LOGITS = "use `metric: logit_difference`"


@pytest.mark.parametrize(
    ("flat", "unmoved", "begins", "ends"),
    [
        (9, 9, None, None),
        (10, 0, "'m' on 't', 10 of 20 prompts: " + STILL, LOGITS),
        (20, 20, "'m' on 't', 20 of 20 prompts: " + STILL, LOGITS),
        (9, 10, "the metric of 'm' on 't' is the same on the corrupted prompt (within 1%) on 10 of 20",
         "does the corruption change what the answer depends on?"),
    ],
)  # fmt: skip
def test_try_warns_where_a_metric_stands_still_or_is_the_same_on_half_of_the_prompts(
    flat: int, unmoved: int, begins: str | None, ends: str | None
) -> None:
    seen = Seen(text="", tokens=1, answers=(), foils=(), likely=())
    one = Answered(
        model="m", task="t", looked_at=20, correct=20, judged_by="argmax", metric_above=None, argmax=20,
        mean_metric=-1e-9, flat=flat, unmoved=unmoved, forward=0.0, seen=seen,
    )  # fmt: skip
    plan = SimpleNamespace(
        datasets={"t": SimpleNamespace(metric="log_probability")}, spec=SimpleNamespace(hypotheses=())
    )
    warnings = [*trying._warnings(plan, [one], [])]  # type: ignore[arg-type]
    assert len(warnings) == (begins is not None)
    for said in warnings:
        assert begins is not None and ends is not None
        assert said.startswith(begins) and said.endswith(ends)
