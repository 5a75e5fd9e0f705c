"""How many prompts there are, can be used and are read: the same in every command, table and report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML
from studies import write_pairs, write_study

from mechshift_core import run
from mechshift_core.cli.main import main
from mechshift_core.errors import UsageError
from mechshift_core.execution.plan import make_plan
from mechshift_core.spec import load_spec

UNEQUAL = "clean and corrupted prompt differ in their number of tokens"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pairs in three templates, one after the other, three lines among them that can't be used."""
    monkeypatch.chdir(tmp_path)
    path = write_study(tmp_path, examples=12, hypotheses=[], rule="none")
    rows = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    rows = [{**row, "template": f"t{number // 4}"} for number, row in enumerate(rows)]
    short = {**rows[0], "corrupt_ids": [1]}
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, [*rows[:2], short, rows[0], *rows[2:], short])) + "\n")
    return path


def change(study: Path, **task: Any) -> None:
    yaml = YAML()
    spec = yaml.load(study.read_text())
    spec["tasks"][0].update(task)
    with study.open("w") as handle:
        yaml.dump(spec, handle)


@pytest.mark.parametrize(
    ("examples", "line", "counts"),
    [
        (None, f"12 of 15 aligned (2 x {UNEQUAL}, lines 3, 15; 1 x the same pair is there already, line 4)", (15, 12)),
        (6, f"6 of 15 drawn, from 12 aligned (2 x {UNEQUAL}, lines 3, 15; 1 x the same pair is there already, line 4)",
         (6, 6)),
    ],
)  # fmt: skip
def test_every_command_and_the_report_say_the_same(
    study: Path, examples: int | None, line: str, counts: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    asked, read = counts
    if examples is not None:
        change(study, examples=examples)
    expected = {"task": "mine", "asked": asked, "found": 15, "aligned": 12, "read": read, "words": None, "templates": 3}
    expected["dropped"] = [
        {"reason": UNEQUAL, "count": 2, "lines": [3, 15]},
        {"reason": "the same pair is there already", "count": 1, "lines": [4]},
    ]
    assert main(["validate", "study.yaml"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"ok: study.yaml\n  mine: {line}\n")
    assert shown.endswith("models were not run: `mechshift try study.yaml` runs each on a few prompts\n")
    assert shown.count("\n") - 3 == shown.count(f"  warning: task 'mine' has {read} prompts: ") == (read < 10)
    assert main(["plan", "study.yaml"]) == 0
    assert f"  mine: {line}\n" in capsys.readouterr().out
    assert main(["run", "study.yaml", "--out", "out"]) == 0
    assert f"prompts of mine: {line}\n" in capsys.readouterr().out
    for command in (["validate", "study.yaml"], ["plan", "study.yaml"], ["run", "study.yaml", "--out", "out"]):
        assert main([*command, "--json"]) == 0
        content = json.loads(capsys.readouterr().out)
        assert content.get("tasks", content.get("specs", [{}])[0].get("tasks")) == [expected]
    stored = json.loads(Path("out/provenance.json").read_text())["data"]["mine"]
    assert (stored["asked"], stored["found"], stored["aligned"], stored["examples"]) == (asked, 15, 12, read)
    assert pl.read_parquet("out/tables/examples.parquet")["example"].n_unique() == read
    assert set(pl.read_parquet("out/tables/examples.parquet")["template"]) == {"t0", "t1", "t2"}
    page = Path("out/report.html").read_text()
    start = page.index("Examples from the spec to the analysis")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[start : page.index("</table>", start)]))
    assert f"mine shift {asked} 15 12 {read} {read}" in text
    start = page.index("Why prompts are not aligned")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[start : page.index("</table>", start)]))
    assert f"mine {UNEQUAL} 2" in text and "mine the same pair is there already 1" in text


def test_another_seed_draws_other_lines_and_more_examples_recompute_what_is_new(study: Path) -> None:
    def drawn() -> set[tuple[int, ...]]:
        return {example.clean_ids for example in make_plan(load_spec(study)).datasets["mine"].examples}

    change(study, examples=6)
    six = drawn()
    change(study, examples=9)
    assert six < drawn()
    change(study, examples=6, seed=5)
    assert drawn() != six


def test_below_the_fewest_for_an_interval_validate_warns(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(study, examples=4)
    assert main(["validate", "study.yaml", "--json"]) == 0
    few = "task 'mine' has 4 prompts: below 5 there are points without intervals"
    assert json.loads(capsys.readouterr().out)["specs"][0]["warnings"] == [few]
    assert main(["validate", "study.yaml"]) == 0
    assert f"  warning: {few}\n" in capsys.readouterr().out
    change(study, examples=12)
    study.write_text(study.read_text().replace("statistics:\n", "statistics:\n  units: {template: random}\n"))
    assert main(["validate", "study.yaml"]) == 0
    assert "  warning: task 'mine' has 3 templates: below 5 there" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize(("examples", "warned"), [(9, True), (10, False)])
def test_validate_warns_of_too_few_prompts_for_a_measure(
    examples: int, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, examples=examples, rule="none")
    assert main(["validate", "study.yaml", "--json"]) == 0
    warnings = json.loads(capsys.readouterr().out)["specs"][0]["warnings"]
    said = (
        "task 'mine' has 9 prompts: similarity, inherited, overlap, retention, node_overlap, node_retention need 10 "
        "for intervals and tests, even if all are selected; 'kept' can't be tested"
    )
    assert warnings == ([said] if warned else [])
    found = run(tmp_path / "study.yaml", out=tmp_path / "out").findings
    on_halves = [one for one in found.estimates if one.measure == "overlap" and one.estimate is not None]
    assert on_halves and all((one.low is None) == warned for one in on_halves)
    assert found.hypotheses[0].verdict == "not estimable" or not warned
    assert found.hypotheses[1].low is not None, "the depth slope needs no halves"


@pytest.mark.long
@pytest.mark.parametrize("pooled", ["hypothesis", "contrast", "mixed model", "nothing"])
def test_tasks_that_share_prompts_are_not_pooled(
    pooled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    test = {"kind": "difference", "alternative": "less"}
    where: dict[str, Any] = {
        "hypothesis": {},
        "contrast": {"contrast": {"task": ["mine", "other"]}},
        "mixed model": {"where": {"task": "mine"}},
        "nothing": {"where": {"task": "mine"}},
    }[pooled]
    hypotheses: list[dict[str, object]] = [{"id": "earlier", "measure": "depth_slope", "test": test, **where}]
    statistics: dict[str, object] = {"mixed_model": {"formula": "shift ~ depth"}} if pooled == "mixed model" else {}
    study = write_study(tmp_path, hypotheses=hypotheses, statistics=statistics, tasks=("mine", "other"), rule="none")
    assert main(["validate", "study.yaml"]) == 0
    assert "warning" not in capsys.readouterr().out
    write_pairs(tmp_path / "pairs-other.jsonl", 12, changed=3)
    shared = "the tasks 'mine' and 'other' have the same prompts: 11 clean ones ('"
    if pooled == "nothing":
        assert main(["validate", "study.yaml"]) == 0
        assert f"  warning: {shared}" in capsys.readouterr().out
        assert main(["run", "study.yaml", "--out", "out"]) == 0
        rows = pl.read_parquet("out/tables/selectivity.parquet")
        assert rows.is_empty(), "one prompt is left to the other task"
        return
    with pytest.raises(UsageError) as error:
        make_plan(load_spec(study))
    names = "statistics.mixed_model" if pooled == "mixed model" else "hypothesis 'earlier'"
    assert shared in str(error.value)
    assert f", ...); {names} would count them as independent: leave them out of one" in str(error.value)


@pytest.mark.long
def test_selectivity_counts_a_shared_prompt_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = write_study(tmp_path, hypotheses=[], tasks=("mine", "other"), rule="none")
    first, second = Path("pairs.jsonl").read_text(), Path("pairs-other.jsonl").read_text()
    Path("pairs-other.jsonl").write_text("\n".join(first.splitlines()[:5]) + "\n" + second)
    assert main(["run", str(study), "--out", "out", "--quiet"]) == 0
    assert pl.read_parquet("out/tables/selectivity.parquet")["n"].unique().to_list() == [24]


def test_the_account_of_a_data_set_without_an_aligned_pair_is_kept(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in Path("pairs.jsonl").read_text().splitlines()]
    Path("pairs.jsonl").write_text("".join(json.dumps({**row, "corrupt_ids": [1]}) + "\n" for row in rows))
    for _ in range(2):  # what is stored does not pass for a data set
        assert main(["run", "study.yaml", "--out", "out"]) == 2
        assert f"no pair of pairs.jsonl is aligned (15 x {UNEQUAL})" in capsys.readouterr().err
    (stored,) = Path("out/data").glob("*.json")
    content = json.loads(stored.read_text())
    assert content["examples"] == [] and content["dropped"] == {UNEQUAL: 15}
