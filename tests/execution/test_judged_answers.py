"""What makes an answer correct: the metric or the most likely token, as Transformers has them, everywhere the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from intervention_study import cells, lines, table
from studies import ATTRIBUTION, write_study
from transformers import AutoModelForCausalLM

from mechshift_core import run
from mechshift_core.pipeline import Run
from reports.data import MethodsFacts
from reports.methods import methods_paragraph

pytestmark = pytest.mark.long

CURVE: dict[str, object] = {"name": "curve", "kind": "circuit_patching", "of": "circuit", "sizes": [30], "random": 0}
RULES = ("metric", "argmax", "")
"""The last is what the task itself says: its answers are sets, so the metric."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Rule -> the run by it, one rule after the other in one run directory; `out-RULE` is what it left there."""
    folder = tmp_path_factory.mktemp("judged")
    study = write_study(folder, examples=24, interventions=[ATTRIBUTION, CURVE], hypotheses=[], rule="any")
    # The first half of the vocabulary against the rest: each rule finds some prompts right, and not the same.
    rows = [{**row, "answer_ids": [*range(20)], "foil_ids": [*range(20, 40)]} for row in lines(folder)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    text = study.read_text()
    assert "  by: argmax\n" in text
    found = {}
    for rule in RULES:
        study.write_text(text.replace("  by: argmax\n", f"  by: {rule}\n" if rule else ""))
        found[rule] = run(study, out=folder / "out")
        shutil.copytree(folder / "out", folder / f"out-{rule}")
    return found


def kept(result: Run, rule: str) -> Path:
    return result.path.parent / f"out-{rule}"


@pytest.mark.parametrize("rule", RULES)
def test_both_accuracies_are_those_of_transformers_and_the_rule_selects(rule: str, judged: dict[str, Run]) -> None:
    out = kept(judged[rule], rule)
    rows = lines(out.parent)
    for side, model in (("before", "before"), ("after", "after")):
        found = table(out, "examples").filter((pl.col("pair") == "shift") & (pl.col("side") == side)).sort("example")
        module = AutoModelForCausalLM.from_pretrained(out.parent / model)
        with torch.no_grad():
            logits = torch.stack([module(torch.tensor([row["clean_ids"]])).logits[0, -1] for row in rows])
        metric = logits[:, :20].mean(1) - logits[:, 20:].mean(1)
        argmax = (logits.argmax(1) < 20).tolist()
        assert found["correct_by_metric"].to_list() == (metric > 0).tolist()
        assert found["correct_by_argmax"].to_list() == argmax and argmax != (metric > 0).tolist()
        assert found["correct"].to_list() == found[f"correct_by_{rule or 'metric'}"].to_list()
    wide = table(out, "examples").filter(pl.col("pair") == "shift").pivot("side", index="example", values="correct")
    either = wide.filter(pl.col("before") | pl.col("after"))["example"].to_list()
    chosen = table(out, "examples").filter((pl.col("pair") == "shift") & pl.col("selected"))["example"].unique().sort()
    assert chosen.to_list() == either and 0 < len(either) < 24
    circuits = cells(out, intervention="curve", pair="shift", side="before")
    assert either in [tensors["examples"].tolist() for _, tensors in circuits]


def test_another_rule_recomputes_the_circuits_alone_and_the_tasks_own_rule_nothing(judged: dict[str, Run]) -> None:
    assert [judged[rule].computed for rule in RULES] == [3 + 4, 4, 0]


def test_the_report_says_the_rule_and_both_accuracies(judged: dict[str, Run]) -> None:
    tables = []
    for rule in RULES:
        page = (kept(judged[rule], rule) / "report.html").read_text()
        start = page.index("How often each model is right")
        tables.append(page[start : page.index("</table>", start)])
        words = {"argmax": "the most likely token is an answer", "metric": "the task&#39;s metric is above 0"}
        assert f"An answer is correct where {words[rule or 'metric']}." in page
    assert tables[0] == tables[2] and tables[0] != tables[1]
    assert tables[0].replace(">metric<", ">argmax<") == tables[1], "the accuracies do not depend on the rule"


def test_methods_name_the_tasks_of_each_rule_where_they_differ() -> None:
    facts = MethodsFacts(judged_by={"ioi": "argmax", "sva": "metric", "mine": "argmax"})
    text = methods_paragraph(facts, version="1", methods_used={})
    assert (
        "An answer is correct on sva where the task's metric is above 0 and on ioi and mine where the most likely "
        "token is an answer."
    ) in text
    assert "An answer is correct" not in methods_paragraph(
        MethodsFacts(select="none", judged_by={"ioi": "argmax"}), version="1", methods_used={}
    )
