"""Specs that are valid and hardly meant: groups that pool what the other one names, and choices that are wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from spec_study import STUDY

from mechshift_core.cli.main import main
from mechshift_core.spec import Problem, load_spec
from mechshift_core.spec.doubts import doubts

ROOT = Path(__file__).parents[2]
Problems = Callable[[str | bytes], tuple[Problem, ...]]


def doubted(where: str, to: str, *, text: str = STUDY) -> list[str]:
    """What is doubted of STUDY with these groups in its first hypothesis."""
    before = "where: {role: treatment, regime: local}\n    test: {kind: equivalence, to: {role: control, regime: local}"
    assert before in text
    after = f"where: {where}\n    test: {{kind: equivalence, to: {to}"
    Path("study.yaml").write_text(text.replace(before, after))
    return [*doubts(load_spec("study.yaml", check_files=False))]


@pytest.mark.parametrize(
    ("where", "to", "said", "written"),
    [
        (
            "{role: treatment, task: ioi}",
            "{role: control}",
            "`where` names task 'ioi', but `to` names no task and is averaged over 3 tasks (ioi, countdown, mine)",
            "{role: control, task: ioi}",
        ),
        (
            "{role: treatment, regime: local}",
            "{role: control}",
            "`where` names regime 'local', but `to` names no task and is averaged over 3 tasks (ioi, countdown, mine)",
            "{role: control, regime: local}",
        ),
        (
            "{role: treatment, task: ioi}",
            "{task: countdown}",
            "`where` names role 'treatment', but `to` names no pair and is averaged over 2 pairs (diffusion, control)",
            "{task: countdown, role: treatment}",
        ),
    ],
)
def test_a_reference_that_pools_what_the_group_names_is_doubted(
    folder: Path, where: str, to: str, said: str, written: str
) -> None:
    (doubt,) = doubted(where, to)
    assert doubt.startswith(f"hypothesis 'kept': {said}: nothing is taken over from `where`.")
    assert doubt.endswith(f"write `to: {written}`")
    assert doubted(where, written) == []


@pytest.mark.parametrize(
    ("where", "to"),
    [
        ("{role: treatment}", "{role: control}"),
        ("{role: treatment, task: ioi}", "{role: control, task: ioi}"),
        ("{role: treatment, task: ioi}", "{role: control, task: countdown}"),
        ("{role: treatment, regime: global}", "{pair: control, regime: global}"),
        ("{role: treatment}", "{role: control, task: ioi}"),
    ],
)
def test_groups_that_are_alike_or_written_out_are_not(folder: Path, where: str, to: str) -> None:
    assert doubted(where, to) == []


def test_with_one_task_there_is_nothing_to_pool(folder: Path) -> None:
    one = STUDY.replace("  - {name: countdown}\n  - {name: mine, regime: global, dataset: mine.jsonl}\n", "")
    one = one[: one.index("  - id: rewired")]
    assert doubted("{role: treatment, task: ioi}", "{role: control}", text=one) == []


def test_validate_says_it_without_any_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubted("{role: treatment, task: ioi}", "{role: control}")
    assert main(["validate", "--no-files", "study.yaml"]) == 0
    assert "  warning: hypothesis 'kept': `where` names task 'ioi'" in capsys.readouterr().out
    assert main(["validate", "--no-files", "--json", "study.yaml"]) == 0
    (one,) = json.loads(capsys.readouterr().out)["specs"]
    assert len(one["warnings"]) == 1 and one["warnings"][0].endswith("write `to: {role: control, task: ioi}`")


def test_no_example_has_the_fault(tmp_path: Path) -> None:
    texts = [path.read_text() for path in sorted((ROOT / "specs").glob("*.yaml"))]
    readme = (ROOT / "README.md").read_text()
    found = re.findall(r"```yaml\n(schema: .*?)```", readme, re.DOTALL)
    assert found
    for text in [*texts, *found]:
        (tmp_path / "one.yaml").write_text(text)
        assert [*doubts(load_spec(tmp_path / "one.yaml", check_files=False))] == []


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (
            "interval: [median, quantile]",
            "sensitivity.interval: expected 'studentized' or 'percentile', got 'median', 'quantile'",
        ),
        ("steps: [0, -1]", "sensitivity.steps: expected a number not below 1, got 0, -1"),
        ("top_k: 50", "sensitivity.top_k: expected a list, got 50"),
        (
            "interval: [percentile, percentile, percentile]",
            "sensitivity.interval: duplicate value 'percentile'; each is tried once",
        ),
        (
            "interval: [studentized]",
            "sensitivity.interval: 'studentized' is the study's own choice; leave it out, it is what the verdicts are "
            "of",
        ),
        (
            "ablation: [zero, mean]",
            "sensitivity.ablation: no hypothesis depends on it (those on 'integration', 'faithfulness', 'transfer' or "
            "'targeted' do); leave it out",
        ),
    ],
)
def test_a_wrong_choice_is_said_once_with_its_field(problems: Problems, section: str, said: str) -> None:
    found = problems(f"{STUDY}sensitivity:\n  {section}\n")
    assert [one.message for one in found] == [said]


def test_a_choice_that_random_seeds_leave_without_effect_is_refused(problems: Problems) -> None:
    text = f"{STUDY}sensitivity: {{interval: [percentile]}}\n"
    assert problems(text) == ()
    found = problems(f"{text}statistics: {{units: {{seed: random}}}}\n")
    assert ["verdicts rest on standard errors over prompts and seeds" in one.message for one in found] == [True]


def test_wrong_choices_of_two_kinds_are_two_complaints(problems: Problems) -> None:
    found = problems(f"{STUDY}sensitivity:\n  steps: [0, many, -1]\n")
    assert [one.message for one in found] == [
        "sensitivity.steps: expected a number not below 1, got 0, -1",
        "sensitivity.steps: expected an integer, got 'many'",
    ]
