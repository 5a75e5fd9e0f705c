"""Any number of runs side by side, and what is said of verdicts that contradict each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from stored_runs import equivalent, finding, findings, write_run

from mechshift_core.cli.main import main
from mechshift_core.comparison import compare_many, compare_runs, formats
from mechshift_core.comparison.differences import differences, every_value
from mechshift_core.errors import UsageError
from mechshift_core.spec.starters import starter
from reports.compare import compared_cells, render_comparison
from reports.compare_many import render_many

REFUTED = finding(estimate=0.1, low=-0.9, high=1.1, se=0.5, verdict="refuted")
WIDE = finding(estimate=-0.1, low=-1.1, high=0.9, se=0.5)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Three runs that agree on one finding, contradict each other on another, and have other specs."""
    text = starter("quickstart").spec
    made = [
        write_run(tmp_path / "one", findings(finding(), equivalent())),
        write_run(
            tmp_path / "two", findings(REFUTED, equivalent()), spec=text.replace("examples: 120", "examples: 90")
        ),
        write_run(tmp_path / "three", findings(equivalent(margin=0.3)), spec=text + "overrides: {limit: 50}\n"),
    ]
    return made


def test_opposite_verdicts_are_never_told_to_lie_within_the_intervals(tmp_path: Path) -> None:
    made = compare_runs(write_run(tmp_path / "a", findings(WIDE)), write_run(tmp_path / "b", findings(REFUTED)))
    (found,) = made.findings
    assert found.beyond is False and found.opposite
    for text in (formats.text(made), formats.markdown(made), render_comparison(made)):
        assert "opposite verdicts" in text and "within the intervals" not in text
    assert compared_cells(found)[-1] == "opposite verdicts"
    assert formats.as_json(made)["findings"][0]["opposite"] is True
    points = [finding(low=None, high=None, verdict=verdict) for verdict in ("supported", "refuted")]
    bare = compare_runs(*(write_run(tmp_path / one.verdict, findings(one)) for one in points))
    assert "opposite verdicts" in formats.text(bare)
    near = finding(estimate=-0.2, low=-1.2, high=0.8, se=0.5, verdict="inconclusive")
    close = compare_runs(write_run(tmp_path / "c", findings(WIDE)), write_run(tmp_path / "d", findings(near)))
    assert "within the intervals" in formats.text(close)


def test_all_findings_stand_beside_each_other(runs: list[Path]) -> None:
    made = compare_many(runs)
    assert [(one.name, one.agreement) for one in made.findings] == [
        ("lower", "opposite verdicts: 1 supported, 1 refuted"),
        ("kept", "all supported; not defined alike: margin"),
    ]
    assert [None if one is None else one.estimate for one in made.findings[0].runs] == [-0.4, 0.1, None]
    entries = {one.path: one for one in made.spec}
    assert entries["tasks[ioi].examples"].values == (120, 90, 50)
    assert entries["overrides.limit"].there == (False, False, True)
    short = formats.many_as_text(made, everything=False)
    assert short == formats.many_as_text(made), "they agree on nothing"
    text = formats.many_as_text(made)
    assert "refuted" in text and "not there" in text and "within the intervals" not in text
    assert "  lower: It is lower." in text
    markdown = formats.many_as_markdown(made)
    assert "| finding |" in markdown and "| lower |" in markdown
    page = render_many(made)
    assert "opposite verdicts" in page and "<script" not in page
    assert json.loads(json.dumps(formats.many_as_json(made)))["findings"][0]["agreement"].startswith("opposite")


@pytest.mark.long
def test_the_command_takes_any_number(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [str(run) for run in runs]
    assert main(["compare", *names, "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names) and (tmp_path / "page.html").is_file()
    assert main(["compare", *names, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == names
    assert main(["compare", *names, "--markdown"]) == 0
    assert main(["compare", names[0], names[1]]) == 0
    assert "first run:" in capsys.readouterr().out
    assert main(["compare", names[0]]) == 2
    assert "expected two or more run directories, got 1" in capsys.readouterr().err
    assert main(["compare", *names, str(tmp_path / "none")]) == 2


def test_a_spec_that_can_not_be_read_is_an_error(runs: list[Path]) -> None:
    write_run(runs[2], findings(), spec="schema: mechshift/v1\nnam: x\n")
    with pytest.raises(UsageError, match=r"three/spec.yaml:2:1: unknown key 'nam'"):
        compare_many(runs)


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = "<b>|`x`\n\x1b[31m\u202e"
    made = compare_many([write_run(tmp_path / str(n), findings(finding(id=name, claim=name))) for n in range(3)])
    assert all(line.isprintable() for line in formats.many_as_text(made).splitlines())
    assert "<b>" not in formats.many_as_markdown(made) and "\x1b" not in render_many(made)


def test_every_value_has_the_path_that_differences_give_it() -> None:
    first = {"a": [{"name": "x", "n": 1}], "b": [1, 2], "c": [{"z": 1}, {"z": 2}]}
    second = {"a": [{"name": "x", "n": 2}], "b": [1], "c": [{"z": 1}, {"z": 3}]}
    values = dict(every_value(second))
    for change in differences(first, second):
        assert values[change.path] == change.second


def test_findings_on_which_all_agree_are_counted(tmp_path: Path) -> None:
    made = [
        write_run(tmp_path / str(n), findings(one, equivalent())) for n, one in enumerate((finding(), WIDE, REFUTED))
    ]
    short = formats.many_as_text(compare_many(made), everything=False)
    assert "  lower: It is lower." in short and "  kept" not in short
    assert short.endswith("not shown (--all does): 1 finding with the same verdict in all runs")


def test_what_matters_of_two_runs_is_never_left_out(tmp_path: Path) -> None:
    near = finding(estimate=-0.38, low=-0.52, high=-0.24)
    before = findings(finding(), *(equivalent(id=f"kept-{n}") for n in range(3)))
    after = findings(near, equivalent(id="kept-0", margin=0.3), equivalent(id="kept-1", verdict="inconclusive"))
    made = compare_runs(write_run(tmp_path / "a", before), write_run(tmp_path / "b", after))
    assert {found.name: found.matters for found in made.findings} == {
        **{"lower": False, "kept-0": True, "kept-1": True, "kept-2": True}
    }
    short = formats.text(made, everything=False)
    assert "lower" not in short and all(f"  kept-{n}" in short for n in range(3))
    assert short.endswith("not shown (--all does): 1 finding within the intervals")
