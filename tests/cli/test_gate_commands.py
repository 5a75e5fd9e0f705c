"""`mechshift check` and `mechshift compare` as a user calls them, on runs that are files alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pytest
from stored_runs import equivalent, estimate, finding, findings, undefined, write_run
from studies import write_study

from mechshift_core.cli.main import main
from mechshift_core.spec.starters import starter
from stats.findings import Finding

BASELINE = ["--baseline", "baseline.json"]
FLIPPED = finding(estimate=0.4, low=0.26, high=0.54, verdict="refuted")
DOUBT = finding(id="doubt", verdict="inconclusive", estimate=-0.1, low=-0.24, high=0.04)


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _checked(recorded: tuple[Finding, ...], found: tuple[Finding, ...], *options: str, **of_run: Any) -> int:
    """The exit code of a check of some findings against the record of others."""
    write_run(Path("before"), findings(*recorded))
    write_run(Path("after"), findings(*found), **of_run)
    assert main(["check", "before", *BASELINE, "--update", "--quiet"]) == 0
    return main(["check", "after", *BASELINE, *options])


EXIT_CODES: dict[str, tuple[tuple[Finding, ...], tuple[Finding, ...], tuple[str, ...], int]] = {
    "a rerun": ((finding(), equivalent()), (finding(), equivalent()), (), 0),
    "one inconclusive among others": ((finding(), DOUBT), (finding(), DOUBT), (), 0),
    "a refuted claim, still refuted": ((FLIPPED,), (FLIPPED,), (), 0),
    "a new finding": ((finding(),), (finding(), equivalent()), (), 0),
    "what must hold, holds": ((finding(),), (finding(),), ("--fail-on", "lower"), 0),
    "a flipped sign": ((finding(), equivalent()), (FLIPPED, equivalent()), (), 1),
    "a margin left": ((equivalent(),), (equivalent(estimate=0.24, low=0.18, high=0.3),), (), 1),
    "a tolerance left": ((finding(),), (finding(estimate=-0.42),), ("--tolerance", "0.01"), 1),
    "a finding missing": ((finding(), equivalent()), (finding(),), (), 1),
    "a finding redefined": ((finding(),), (finding(measure="depth_slope"),), (), 1),
    "what must hold, does not": ((finding(), DOUBT), (finding(), DOUBT), ("--fail-on", "doubt"), 1),
    "what must hold, is missing": ((finding(), DOUBT), (finding(),), ("--fail-on", "doubt"), 1),
    "a regression among the inconclusive": ((DOUBT,), (finding(id="doubt"),), (), 1),
    "only inconclusive": ((DOUBT,), (DOUBT,), (), 4),
    "only inconclusive or not estimable": ((DOUBT, undefined()), (DOUBT, undefined()), (), 4),
}
"""What happens -> recorded, found, options, exit code."""


@pytest.mark.parametrize("case", EXIT_CODES)
def test_exit_codes(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    recorded, found, options, code = EXIT_CODES[case]
    assert _checked(recorded, found, *options) == code
    shown = capsys.readouterr()
    assert (
        shown.out.splitlines()[-1]
        == {
            0: "gate: passed",
            1: "gate: failed",
            4: "gate: nothing is decided: there are only inconclusive findings",
        }[code]
    )
    assert bool(shown.err) == (code == 1)


def test_a_partial_run_gives_3_and_makes_no_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    failed = ("circuit of after on ioi: out of memory",)
    assert _checked((finding(),), (FLIPPED,), failures=failed) == 3
    assert "failed: circuit of after on ioi: out of memory\n" in capsys.readouterr().err
    before = Path("baseline.json").read_text()
    assert main(["check", "after", *BASELINE, "--update"]) == 3
    assert "after is partial, which makes no baseline: circuit of after" in capsys.readouterr().err
    assert Path("baseline.json").read_text() == before


def test_a_run_that_came_to_nothing_is_partial() -> None:
    assert _checked((finding(),), (finding(),), provenance={"too_few": "no pair has two examples"}) == 3


def _spoil(name: str) -> None:
    path = Path("after", name)
    if name == "spec.yaml":
        path.write_text(path.read_text() + "\n# changed\n")
    else:
        path.write_text("{")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("findings.json", "after/findings.json: not a findings document: JSONDecodeError"),
        ("provenance.json", "after/provenance.json: not the provenance of a run"),
        ("spec.yaml", "after: the findings are of another version of spec.yaml; run it again"),
    ],
)
def test_a_run_whose_files_are_damaged_or_stale_gives_3(
    name: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _checked((finding(),), (finding(),)) == 0
    _spoil(name)
    assert main(["check", "after", *BASELINE]) == 3
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["findings.json", "analysis.json", "provenance.json"])
def test_a_run_that_has_not_come_to_an_end_gives_3(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (finding(),)) == 0
    Path("after", name).unlink()
    assert main(["check", "after", *BASELINE]) == 3
    assert f"after: the run has not come to an end (no {name})" in capsys.readouterr().err


WRONG = {
    "no run": (["check", "nowhere", *BASELINE], "nowhere holds no run"),
    "no baseline": (["check", "after", "--baseline", "gone.json"], "gone.json: no such file; `mechshift check RUN"),
    "a folder": (["check", "after", "--baseline", "after"], "after: cannot be read: Is a directory"),
    "a spec for a baseline": (["check", "after", "--baseline", "after/spec.yaml"], "after/spec.yaml: line 1, column 1"),
    "an unknown hypothesis": (
        ["check", "after", *BASELINE, "--fail-on", "lowr"],
        "--fail-on: unknown hypothesis 'lowr' (did you mean 'lower'?)",
    ),
    "no tolerance": (["check", "after", *BASELINE, "--tolerance", "0"], "--tolerance: expected a number > 0, got 0.0"),
    "a file nowhere": (["check", "after", *BASELINE, "--junit", "after/plan.json/x"], "plan.json/x: cannot be written"),
    "binary": (["check", "after", "--baseline", "binary.json"], "binary.json: not UTF-8: the byte 0xff"),
    "too large": (["check", "after", "--baseline", "large.json"], "large.json: larger than 16 MiB"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_command_line_or_baseline_gives_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (finding(),)) == 0
    Path("binary.json").write_bytes(b"\xff\xfe")
    Path("large.json").write_bytes(b" " * (2**24 + 1))
    arguments, message = WRONG[case]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_malformed_baseline_says_where_and_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (finding(),)) == 0
    text = Path("baseline.json").read_text().replace('"supported"', '"suported"')
    Path("baseline.json").write_text(text)
    for options in ([], ["--update"]):
        assert main(["check", "after", *BASELINE, *options]) == 2
        assert capsys.readouterr().err.startswith("baseline.json: findings[0].verdict: expected one of supported, ")
    assert Path("baseline.json").read_text() == text


def test_the_baseline_of_another_study_is_refused_unless_updated(capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (finding(),)) == 0
    write_run(Path("after"), findings(finding(), name="other"))
    assert main(["check", "after", *BASELINE]) == 2
    assert "baseline.json: the baseline is of the study 'made-up', after of 'other'" in capsys.readouterr().err
    assert main(["check", "after", *BASELINE, "--update"]) == 0
    assert main(["check", "after", *BASELINE]) == 0


def test_an_update_makes_the_gate_pass_but_not_what_must_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (FLIPPED,)) == 1
    assert main(["check", "after", *BASELINE, "--update", "--fail-on", "lower"]) == 1
    assert main(["check", "after", *BASELINE]) == 0
    write_run(Path("after"), findings(DOUBT))
    assert main(["check", "after", "--baseline", "new/folder/doubt.json", "--update"]) == 0
    assert capsys.readouterr().out.endswith("wrote new/folder/doubt.json\n")
    assert [path.name for path in Path("new/folder").iterdir()] == ["doubt.json"]


def test_json_has_both_sides(capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (FLIPPED,), "--json") == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["run"], shown["baseline"], shown["exit_code"], shown["updated"]) == (
        "after", "baseline.json", 1, False,
    )  # fmt: skip
    (found,) = shown["findings"]
    assert (found["recorded"]["estimate"], found["found"]["estimate"]) == (-0.4, 0.4)
    assert (found["outcome"], found["difference"], found["tolerance"]) == ("regressed", 0.8, pytest.approx(0.14))


def test_quiet_leaves_only_what_regressed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(), equivalent()), (FLIPPED, equivalent()), "--quiet") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("regressed: lower: the verdict was supported and is refuted; it differs by +0.8")


def test_files_are_written_beside_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--junit", "out/junit.xml", "--markdown", "summary.md", "--fail-on", "kept")
    assert _checked((finding(), equivalent()), (FLIPPED, equivalent(id="new")), *options) == 1
    suite = ElementTree.parse("out/junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert [case.get("name") for case in suite] == ["lower", "new", "kept"]
    assert "| **regressed** | lower |" in Path("summary.md").read_text()


def test_output_may_go_to_a_device(capfd: pytest.CaptureFixture[str]) -> None:
    assert _checked((finding(),), (finding(),), "--markdown", "/dev/stdout") == 0
    assert "### Findings of made-up: passed" in capfd.readouterr().out
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm here")
def test_a_file_in_memory_is_written_whole_each_time() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "summary.md"
        for _ in range(2):
            assert _checked((finding(),), (finding(),), "--markdown", str(path)) == 0
        assert path.read_text().count("### Findings of made-up: passed") == 1


def test_a_link_is_written_through() -> None:
    Path("real").mkdir()
    Path("link.md").symlink_to("real/summary.md")
    assert _checked((finding(),), (finding(),), "--markdown", "link.md") == 0
    assert Path("link.md").is_symlink() and Path("real/summary.md").is_file()


@pytest.mark.long
def test_a_planted_regression_in_a_study_fails_its_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model after is exchanged for the one before: what had been a change is one no more."""
    study = write_study(tmp_path / "study", examples=40)
    run = ["run", str(study), "--quiet"]
    check = ["check", "runs/random-study", "--baseline", "b.json"]
    assert main(run) == 0
    assert main([*check, "--update"]) == 0
    rerun = main(check)
    assert rerun in (0, 4)
    assert "unchanged    kept" in capsys.readouterr().out
    study.write_text(study.read_text().replace("source: after", "source: before"))
    assert main(run) == 0
    assert main(check) == 1
    assert "regressed" in capsys.readouterr().out


SPEC = starter("quickstart").spec
OTHER_SPEC = SPEC.replace("bundled:tiny-s0/mdm", "bundled:tiny-s1/mdm").replace("confidence: 0.95", "confidence: 0.9")


def _two_runs() -> None:
    write_run(
        Path("one"), findings(finding(), equivalent(), estimates=(estimate(), estimate(side="before"))), spec=SPEC
    )
    other = findings(
        FLIPPED, equivalent(), estimates=(estimate(estimate=0.55, low=0.45, high=0.65), estimate(side="before"))
    )
    write_run(Path("two"), other, spec=OTHER_SPEC, provenance={"packages": {"torch": "9.9"}})


def test_a_comparison_shows_only_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    _two_runs()
    assert main(["compare", "one", "two", "--all"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "1 finding, 1 estimate, 2 entries of the spec and 1 entry of the provenance differ.",
        "  models.mdm.source\n    - bundled:tiny-s0/mdm\n    + bundled:tiny-s1/mdm",
        "  statistics.confidence\n    - 0.95\n    + 0.9",
        '  packages\n    - –\n    + {"torch": "9.9"}',
        "    - −0.400 [−0.540, −0.260], supported\n    + 0.400 [0.260, 0.540], refuted",
        "    difference 0.800 [0.605, 0.995], beyond the intervals",
        "    difference −0.050 [−0.191, 0.091], within the intervals",
    ):
        assert line in shown
    assert "kept" not in shown and "(before)" not in shown and "hypotheses" not in shown


def test_a_comparison_begins_with_what_matters_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    _two_runs()
    assert main(["compare", "one", "two"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "first run:  one",
        "second run: two",
        "1 finding, 1 estimate, 2 entries of the spec and 1 entry of the provenance differ.",
        "",
        "findings",
        "  lower",
        "    - −0.400 [−0.540, −0.260], supported",
        "    + 0.400 [0.260, 0.540], refuted",
        "    difference 0.800 [0.605, 0.995], beyond the intervals",
        "",
        "spec",
        *("  models.mdm.source", "    - bundled:tiny-s0/mdm", "    + bundled:tiny-s1/mdm"),
        *("  statistics.confidence", "    - 0.95", "    + 0.9"),
        "",
        "provenance: packages",
        "",
        "the same in both: 1 finding and 1 estimate",
        "not shown (--all does): 1 estimate within the intervals; 1 value of the provenance",
    ]


def test_a_run_and_itself_differ_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    _two_runs()
    assert main(["compare", "one", "one"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing differs."


def test_a_comparison_speaks_json_and_markdown_and_draws_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    _two_runs()
    assert main(["compare", "one", "two", "--json", "--html", "page.html"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [change["path"] for change in shown["spec"]] == ["models.mdm.source", "statistics.confidence"]
    assert [(found["name"], found["beyond"]) for found in shown["findings"]] == [("lower", True)]
    assert [found["beyond"] for found in shown["estimates"]] == [False]
    assert "models.mdm.source" in Path("page.html").read_text()
    assert main(["compare", "one", "two", "--markdown"]) == 0
    assert "| statistics.confidence | 0.95 | 0.9 |" in capsys.readouterr().out
    assert main(["compare", "one", "two", "--markdown", "--json"]) == 2
    assert main(["compare", "one", "nowhere"]) == 2
