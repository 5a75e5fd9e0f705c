"""Values that replace those of a spec: where they are looked for, what is refused, and that they are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechshift_core.errors import UsageError
from mechshift_core.spec import SpecError, load_spec
from mechshift_core.spec.overrides import parsed
from mechshift_core.spec.starters import starter


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    path = tmp_path / "quickstart.yaml"
    path.write_text(starter("quickstart").spec)
    return path


def wrong(path: Path, *settings: str, limit: int | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        load_spec(path, overrides=parsed(settings, limit))
    return str(caught.value)


def test_places_and_names_lead_to_the_same_entry_and_values_are_yaml(quickstart: Path) -> None:
    for key in ("tasks.0.examples", "tasks.ioi.examples"):
        spec = load_spec(quickstart, overrides=parsed([f"{key}=50", "statistics.bootstrap.replicates=500"]))
        assert [task.examples for task in spec.tasks] == [50, 120]
        assert spec.statistics.bootstrap.replicates == 500
        assert spec.overrides == {"tasks.ioi.examples": 50, "statistics.bootstrap.replicates": 500}
    spec = load_spec(quickstart, overrides={"denoising.steps": ["per_token", 2], "title": "1"})
    assert (spec.denoising.budgets, spec.title) == (("per_token", "2"), "1")


def test_what_is_stored_is_the_file_and_reads_as_the_same_study(quickstart: Path, tmp_path: Path) -> None:
    given = {"tasks.ioi.examples": 50, "title": "a: b # 'c' \"d\" é\n\u2028", "limit": 60}
    spec = load_spec(quickstart, overrides=given)
    assert spec.text.startswith(quickstart.read_text().rstrip("\n"))
    again = tmp_path / "again.yaml"
    again.write_text(spec.text, newline="")
    read = load_spec(again)
    assert read.model_dump() == spec.model_dump() and read.text == spec.text
    assert [task.examples for task in read.tasks] == [50, 60]
    more = load_spec(again, overrides={"limit": 30, "tasks.1.seed": 3})
    assert [(task.examples, task.seed) for task in more.tasks] == [(30, None), (30, 3)]
    assert more.overrides == {
        "tasks.ioi.examples": 50,
        "title": given["title"],
        "limit": 30,
        "tasks.countdown.seed": 3,
    }
    assert more.text.count("overrides:") == 1


@pytest.mark.parametrize("text", ["{}", "...\n", "\r\n", "# the end"])
def test_a_file_that_ends_in_another_way_is_written_all_the_same(quickstart: Path, tmp_path: Path, text: str) -> None:
    source = quickstart.read_text()
    if text == "{}":
        from json import dumps

        from mechshift_core.spec.tree import read_document

        source = dumps(read_document(source).data)
    else:
        source += text
    quickstart.write_text(source, newline="")
    spec = load_spec(quickstart, overrides={"seed": 7})
    again = tmp_path / "again.yaml"
    again.write_text(spec.text, newline="")
    assert load_spec(again).model_dump() == spec.model_dump()
    assert spec.seed == 7


def test_an_alias_is_changed_in_one_place_only(quickstart: Path) -> None:
    text = quickstart.read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("- {name: ioi"))
    other = next(line for line in text.splitlines() if line.strip().startswith("- {name: countdown"))
    text = text.replace(line, line.replace("examples: 120", "examples: &many 120"))
    quickstart.write_text(text.replace(other, other.replace("examples: 120", "examples: *many")))
    assert [one.examples for one in load_spec(quickstart).tasks] == [120, 120]
    assert [one.examples for one in load_spec(quickstart, overrides={"tasks.0.examples": 50}).tasks] == [50, 120]


WRONG = {
    "tasks.0.exampels=50": "--set tasks.0.exampels: unknown key 'exampels' (did you mean 'examples'?)",
    "tasks.io.examples=5": "--set tasks.io.examples: 'tasks' has no entry 'io' (did you mean 'ioi'?)",
    "tasks.2.examples=5": "--set tasks.2.examples: 'tasks' has no entry 2 (2 entries: 0 to 1)",
    "taks.0=5": "--set taks.0: unknown key 'taks' (did you mean 'tasks'?)",
    "tasks.0.examples=many": "--set tasks.0.examples: expected an integer, got 'many'",
    "tasks.0.examples=0": "--set tasks.0.examples: expected a number not below 1, got 0",
    "tasks.0.name=io": "--set tasks.0.name: unknown task 'io' (did you mean 'ioi'?)",
    "models.befor.dtype=auto": "--set models.befor.dtype: unknown entry 'befor' of models",
    "seed.x=1": "--set seed.x: 'seed' is 20260121, which has no part 'x'",
    "statistics.mixed_model.formla=x": "--set statistics.mixed_model.formla: unknown key 'formla' (did you mean 'form",
    "seed=": "--set seed: no value after '='",
    "seed=[1": "--set seed: not valid YAML:",
    "seed=.nan": "--set seed: ",
    "seed": "--set seed: expected KEY=VALUE",
    "=1": "--set =1: expected KEY=VALUE",
    "a..b=1": "--set a..b: 'a..b' is no dotted path",
    "overrides.limit=1": "--set overrides.limit: 'overrides' can't be overridden itself",
    "limit=0": "--limit: expected a number of prompts of at least 1, got 0",
}
"""Setting -> how its message begins."""


@pytest.mark.parametrize("setting", WRONG)
def test_what_is_wrong_is_said_of_the_setting(quickstart: Path, setting: str) -> None:
    assert wrong(quickstart, setting).startswith(WRONG[setting])


def test_the_same_place_twice_or_one_within_another_is_refused(quickstart: Path) -> None:
    assert wrong(quickstart, "seed=1", "seed=2") == "--set seed: is given twice; leave one out"
    assert "duplicate override of 'tasks.ioi.examples'" in wrong(
        quickstart, "tasks.0.examples=1", "tasks.ioi.examples=1"
    )
    assert "override parts of one another" in wrong(quickstart, "statistics={}", "statistics.confidence=0.9")
    assert "say the same" in wrong(quickstart, "limit=5", limit=5)


def test_all_that_is_wrong_is_said_at_once_with_the_file(quickstart: Path) -> None:
    quickstart.write_text(quickstart.read_text().replace("name: countdown", "name: countdwn"))
    said = wrong(quickstart, "tasks.0.exampels=50", "sede=1").splitlines()
    assert [line.split(":")[0] for line in said if not line.startswith(" ")] == [
        "--set sede",
        "--set tasks.0.exampels",
        str(quickstart),
    ]


def test_overrides_of_a_file_are_held_to_the_same_rules_at_their_line(quickstart: Path) -> None:
    quickstart.write_text(quickstart.read_text() + "overrides:\n  tasks.io.examples: 5\n  tasks.1.examples: x\n")
    with pytest.raises(SpecError) as caught:
        load_spec(quickstart)
    lines = len(quickstart.read_text().splitlines())
    assert [(one.line, one.message.partition(",")[0]) for one in caught.value.problems] == [
        (lines - 1, "'tasks' has no entry 'io' (did you mean 'ioi'?)"),
        (lines, "expected an integer"),
    ]
    quickstart.write_text(starter("quickstart").spec + "overrides: [1]\n")
    assert "expected a mapping, got a list" in wrong(quickstart)
    quickstart.write_text(starter("quickstart").spec + f"overrides: {{{', '.join(f'a{n}: 1' for n in range(300))}}}\n")
    assert "at most 200 entries" in wrong(quickstart)


def test_a_limit_takes_no_task_more_prompts_than_it_asked_for(quickstart: Path) -> None:
    text = quickstart.read_text().replace(
        "name: countdown, regime: global, examples: 120", "name: countdown, regime: global, examples: 30"
    )
    quickstart.write_text(text)
    spec = load_spec(quickstart, overrides=parsed([], 40))
    assert [task.examples for task in spec.tasks] == [40, 30]
    assert spec.overrides == {"limit": 40}


def test_values_from_python_are_plain(quickstart: Path) -> None:
    with pytest.raises(UsageError, match="overrides: expected numbers, text"):
        load_spec(quickstart, overrides={"seed": object()})
    with pytest.raises(UsageError, match="overrides: expected"):
        load_spec(quickstart, overrides={"seed": float("nan")})
    assert load_spec(quickstart, overrides={"denoising.steps": (1, 2)}).denoising.budgets == ("1", "2")
