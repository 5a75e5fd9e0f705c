"""Which examples enter the analysis, by whose correct answers; too few of them are an error with the numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, lines, table
from studies import EVERY_KIND, write_study

from mechshift_core import run
from mechshift_core.cli.main import main
from mechshift_core.execution.scores import Answers, selected_examples
from mechshift_core.pipeline import Run, analyze
from mechshift_core.spec.tasks import Selection
from reports.data import MethodsFacts
from reports.methods import methods_paragraph

pytestmark = pytest.mark.long

RULES: tuple[Selection, ...] = ("both", "before", "any", "none")
WORDS = {
    "both": "over examples that both models of a pair answer correctly.",
    "before": "over examples that the model before answers correctly.",
    "any": "over examples that at least one model of a pair answers correctly.",
    "none": "over all aligned examples, whether they are answered correctly or not.",
}


def write_uneven_study(folder: Path, rule: str, *, right: int = 20, circuits: bool = False) -> Path:
    """A study of random models that answer different prompts correctly: those with a token below `right` on top."""
    folder.mkdir(exist_ok=True)
    path = write_study(folder, examples=24, interventions=EVERY_KIND[:2] if circuits else None, rule=rule)
    rows = [{**row, "answer_ids": [*range(right)], "foil_ids": [*range(right, 40)]} for row in lines(folder)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def counted(out: Path, column: str, side: str = "before", pair: str = "shift") -> list[bool]:
    rows = table(out, "examples").filter((pl.col("pair") == pair) & (pl.col("side") == side))
    return rows[column].to_list()


def keeps(rule: str, before: bool, after: bool) -> bool:
    return {"both": before and after, "before": before, "any": before or after, "none": True}[rule]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_keeps_what_it_says(rule: Selection) -> None:
    truth = [(before, after) for before in (True, False) for after in (True, False)]
    nothing = np.zeros(4, dtype=np.float32)
    once = np.ones(4, dtype=np.int64)
    correct = (np.array([pair[side] for pair in truth]) for side in (0, 1))
    before, after = (Answers(nothing, nothing, right, right, once, once) for right in correct)
    expected = [number for number, pair in enumerate(truth) if keeps(rule, *pair)]
    assert selected_examples([before, after], rule).tolist() == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Run, Path]]:
    """Rule -> the run by it and what that left, one rule after the other in one run directory."""
    folder = tmp_path_factory.mktemp("rules")
    found = {}
    for rule in RULES:
        result = run(write_uneven_study(folder / "study", rule, circuits=True), out=folder / "out")
        shutil.copytree(folder / "out", folder / rule)
        found[rule] = (result, folder / rule)
    return found


@pytest.mark.parametrize("rule", RULES)
def test_a_run_selects_by_the_rule_and_its_report_names_it(rule: str, finished: dict[str, tuple[Run, Path]]) -> None:
    result, out = finished[rule]
    assert (result.failures, result.too_few) == ((), "")
    before, after = counted(out, "correct"), counted(out, "correct", "after")
    expected = [keeps(rule, *pair) for pair in zip(before, after, strict=True)]
    assert 0 < sum(x and y for x, y in zip(before, after, strict=True)) < sum(before) < len(before)
    assert counted(out, "selected") == counted(out, "selected", "after") == expected
    numbers = [number for number, kept in enumerate(expected) if kept]
    circuits = cells(out, intervention="curve", pair="shift", side="before")
    assert numbers in [circuit["examples"].tolist() for _, circuit in circuits]
    of_pair = table(out, "faithfulness").filter(pl.col("pair") == "shift")
    assert of_pair["n"].unique().to_list() == [len(numbers)]
    estimates = [one for one in result.findings.estimates if one.pair == "shift"]
    assert {one.n["prompt"] for one in estimates} == {len(numbers)}
    page = (out / "report.html").read_text()
    assert {other for other, words in WORDS.items() if words in page} == {rule}


def test_each_rule_has_words_of_its_own() -> None:
    texts = {rule: methods_paragraph(MethodsFacts(select=rule), version="1", methods_used={}) for rule in RULES}
    assert all(WORDS[rule] in text for rule, text in texts.items())


def test_another_rule_recomputes_the_circuits_and_nothing_else(finished: dict[str, tuple[Run, Path]]) -> None:
    assert [finished[rule][0].computed for rule in RULES] == [3 + 4, 4, 4, 4]


def test_the_accuracies_in_the_report_do_not_depend_on_the_rule(finished: dict[str, tuple[Run, Path]]) -> None:
    shown = []
    for _, out in finished.values():
        page = (out / "report.html").read_text()
        start = page.index("How often each model is right")
        rows = page[start : page.index("</table>", start)].split("<tr")[2:]
        shown.append([[cell.partition(">")[2].partition("<")[0] for cell in row.split("<td")[-2:]] for row in rows])
    _, out = finished["both"]
    sides = {"before": "shift", "after": "shift"}
    expected = [sum(counted(out, "correct", side, pair)) / 24 for side, pair in sides.items()]
    assert [float(cell.strip("\u2009\u202f\xa0 %")) / 100 for cell in shown[0][0]] == pytest.approx(expected, abs=5e-3)
    assert len(shown[0]) == 2 and all(other == shown[0] for other in shown)


def test_too_few_on_every_task_fail_the_run_with_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = write_uneven_study(tmp_path / "study", "both", right=1), tmp_path / "out"
    assert main(["run", str(study), "--out", str(out), "--quiet"]) == 3
    message = capsys.readouterr().err
    assert message.startswith("failed: no pair has enough examples on any task: shift on mine: ")
    for pair, other in (("shift", "after"), ("control", "continued")):
        before, after = sum(counted(out, "correct", pair=pair)), sum(counted(out, "correct", "after", pair))
        kept = sum(counted(out, "selected", pair=pair))
        assert (
            f"{pair} on mine: {kept} of 24 examples selected (correct: both, by: argmax), 'before' answers {before} "
            f"and {other!r} answers {after} correctly; at least 2 are needed"
        ) in message
    assert (out / "report.html").stat().st_size > 0
    again = run(study, out=out)
    assert f"failed: {again.too_few}\n" == message and not again.analysed, "nothing was done, and it fails still"
    assert analyze(out).too_few == again.too_few
    assert main(["run", str(study), "--out", str(out), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["too_few"] == again.too_few


def test_too_few_on_one_task_are_a_status_with_the_numbers_and_no_failure(tmp_path: Path) -> None:
    study = write_uneven_study(tmp_path / "study", "both")
    rows = lines(study.parent)
    never = [{**row, "answer_ids": [0], "foil_ids": [*range(1, 40)]} for row in rows]
    for row in never:
        row["clean_ids"] = row["clean_ids"][::-1]
    (study.parent / "never.jsonl").write_text("\n".join(map(json.dumps, never)) + "\n")
    spec = study.read_text()
    start = spec.index("- name: mine")
    end = spec.index("select:")
    second = spec[start:end].replace("mine", "never").replace("pairs.jsonl", "never.jsonl")
    study.write_text(spec[:end] + second + spec[end:])
    result = run(study, out=tmp_path / "out")
    assert (result.failures, result.too_few) == ((), "")
    messages = {one.message for one in result.findings.estimates if one.task == "never"}
    assert messages and all("of 24 examples selected (correct: both, by: argmax)" in message for message in messages)
    kept, earlier = result.findings.hypotheses
    assert kept.verdict == earlier.verdict == "not estimable"
    assert "shift on never: " in earlier.message and "on mine" not in earlier.message
