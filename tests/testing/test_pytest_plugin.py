"""The pytest plugin and the snapshots of findings, in sessions of their own."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from stored_runs import equivalent, estimate, finding, findings, write_run

# A session within a session forgets what it imported: what is slow, or can't be imported twice, is imported here.
import mechshift_core.analysis
import mechshift_core.cli.spec_commands
import mechshift_core.gate.formats
import mechshift_core.pipeline
import mechshift_core.testing.spec_items
import mechshift_core.testing.studies
from mechshift_core.spec.starters import starter
from stats.baseline import Baseline
from stats.findings import Finding, Findings

pytest_plugins = ["pytester"]

# `no:mechshift` is for where the package is installed, so that its entry point names the same plugin; the plugin of
# hypothesis imports all of it in every session.
PLUGIN = ("-p", "no:mechshift", "-p", "mechshift_core.testing.plugin")
PLUGIN += ("-p", "no:hypothesispytest", "-p", "no:anyio", "-p", "no:cacheprovider")
SPEC = starter("quickstart").spec
IDS = ["local-retained", "global-rewired", "early-shift", "less-specialized"]
DOUBT = {"verdict": "inconclusive", "estimate": -0.1, "low": -0.24, "high": 0.04}
FLIPPED = {"verdict": "refuted", "estimate": 0.4, "low": 0.26, "high": 0.54}


@pytest.fixture
def specs(pytester: pytest.Pytester) -> Path:
    """A folder with a valid spec, a broken one in a folder below, and YAML that is no spec."""
    folder = pytester.mkdir("specs")
    (folder / "quickstart.yaml").write_text(SPEC)
    (folder / "other.yaml").write_text("services: {}\nschema: mechshift/v1\n")
    (folder / "empty.yml").write_text("")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "broken.yaml").write_text("# a study\n---\nschema: 'mechshift/v1'\nnam: x\n")
    return folder


def collected(pytester: pytest.Pytester, *arguments: str) -> list[str]:
    result = pytester.runpytest_inprocess(*PLUGIN, "--collect-only", "-q", *arguments)
    return [line for line in result.outlines if "::" in line]


@pytest.mark.long
@pytest.mark.usefixtures("specs")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["."], []),
        (["specs"], ["specs/quickstart.yaml::validate"]),
        (["specs/"], ["specs/quickstart.yaml::validate"]),
        (["specs/quickstart.yaml"], ["specs/quickstart.yaml::validate"]),
        (["specs/deeper"], ["specs/deeper/broken.yaml::validate"]),
        (["specs/other.yaml"], []),
        (
            ["-o", "mechshift_specs=specs/*.yaml"],
            ["specs/deeper/broken.yaml::validate", "specs/quickstart.yaml::validate"],
        ),
        (["-o", "mechshift_specs=specs/q*.yaml", "."], ["specs/quickstart.yaml::validate"]),
        (["-o", "testpaths=specs"], []),
        (
            ["specs/quickstart.yaml", "--mechshift-run"],
            [f"specs/quickstart.yaml::{name}" for name in ("validate", "run", *IDS)],
        ),
        (["specs/deeper", "--mechshift-run"], ["specs/deeper/broken.yaml::validate"]),
        (["specs/quickstart.yaml::early-shift", "--mechshift-run"], ["specs/quickstart.yaml::early-shift"]),
    ],
)
def test_specs_are_collected_where_they_are_asked_for(
    arguments: list[str], expected: list[str], pytester: pytest.Pytester
) -> None:
    assert collected(pytester, *arguments) == expected


def test_this_project_s_own_tests_collect_no_specs() -> None:
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *PLUGIN,
        "--collect-only",
        "-q",
        "--noconftest",
        "--ignore-glob=*.py",
        "tests",
    ]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert ".yaml" not in result.stdout


@pytest.mark.usefixtures("specs")
def test_a_spec_is_validated_and_its_problems_are_shown_without_a_traceback(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--mechshift-no-files", "specs", "specs/deeper", "-m", "mechshift")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*broken.yaml:4:1: unknown key 'nam' (did you mean 'name'?)*"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*raise SpecError*")


@pytest.mark.usefixtures("specs")
def test_validation_looks_up_models_as_the_command_does(pytester: pytest.Pytester) -> None:
    path = pytester.path / "specs" / "quickstart.yaml"
    path.write_text(SPEC.replace('"bundled:tiny-s0/mdm"', "./nowhere"))
    pytester.runpytest_inprocess(*PLUGIN, "specs").assert_outcomes(failed=1)
    pytester.runpytest_inprocess(*PLUGIN, "specs", "--mechshift-no-files").assert_outcomes(passed=1)


@pytest.mark.usefixtures("specs")
def test_a_spec_whose_models_can_not_be_had_is_skipped_with_the_reason(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(pytester.path / "hub"))
    path = pytester.path / "specs" / "quickstart.yaml"
    path.write_text(SPEC.replace('"bundled:tiny-s0/mdm"', '"hf:org/gone"'))
    result = pytester.runpytest_inprocess(*PLUGIN, "specs", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*hf:org/gone is not in the local cache*HF_HUB_OFFLINE is set*"])
    result = pytester.runpytest_inprocess(*PLUGIN, "specs", "--mechshift-run")
    result.assert_outcomes(skipped=2 + len(IDS))
    path.write_text(path.read_text().replace("tiny-s0/arm-continued", "nobody"))
    pytester.runpytest_inprocess(*PLUGIN, "specs").assert_outcomes(failed=1)  # something is wrong besides


@pytest.fixture
def run_that_finds(specs: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every run of a spec find what is given for its hypotheses; counts the runs."""
    made: dict[str, Any] = {"found": {}, "failures": (), "runs": 0}

    def hypotheses(changes: dict[str, dict[str, Any]]) -> tuple[Finding, ...]:
        return tuple(finding(id=name, **changes.get(name, {})) for name in IDS)

    def run(path: Path, **options: Any) -> SimpleNamespace:
        made["runs"] += 1
        found = findings(*hypotheses(made["found"]), name="quickstart")
        return SimpleNamespace(path=write_run(pytester.path / "runs/x", found, failures=made["failures"], spec=SPEC))

    def record(changes: dict[str, dict[str, Any]], *more: Finding) -> None:
        (specs / "baselines").mkdir()
        recorded = findings(*hypotheses(changes), *more, name="quickstart")
        (specs / "baselines" / "quickstart.json").write_text(Baseline.of(recorded).to_json())

    monkeypatch.setattr(mechshift_core.pipeline, "run", run)
    return SimpleNamespace(made=made, record=record)


def _run(pytester: pytest.Pytester) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*PLUGIN, "specs", "--mechshift-run", "--mechshift-no-files", "-v", "-rs")


def test_without_a_baseline_a_hypothesis_passes_where_its_claim_is_supported(
    pytester: pytest.Pytester, run_that_finds: Any
) -> None:
    run_that_finds.made["found"] = {"early-shift": FLIPPED, "less-specialized": DOUBT}
    result = _run(pytester)
    result.assert_outcomes(passed=4, failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*early-shift FAILED*", "*less-specialized SKIPPED*"])
    result.stdout.fnmatch_lines(["early-shift: 0.400 *0.260, 0.540*, refuted"])
    assert run_that_finds.made["runs"] == 1


def test_with_a_baseline_it_fails_where_it_has_regressed(pytester: pytest.Pytester, run_that_finds: Any) -> None:
    run_that_finds.record({"early-shift": FLIPPED, "less-specialized": DOUBT})
    run_that_finds.made["found"] = {"early-shift": FLIPPED, "less-specialized": DOUBT, "global-rewired": FLIPPED}
    result = _run(pytester)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*global-rewired FAILED*"])
    result.stdout.fnmatch_lines(
        [
            "  baseline*supported",
            "  run *refuted",
            "  difference*held against*",
            "*the verdict was supported and is ref*",
        ]
    )


def test_a_finding_that_the_spec_has_no_more_fails_the_run(pytester: pytest.Pytester, run_that_finds: Any) -> None:
    run_that_finds.record({}, finding(id="dropped"))
    result = _run(pytester)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["*::run FAILED*", "in the baseline, but not in the spec any more: dropped"])


def test_a_partial_run_fails_once_and_skips_its_hypotheses(pytester: pytest.Pytester, run_that_finds: Any) -> None:
    run_that_finds.made["failures"] = ("circuit of mdm on ioi: out of memory",)
    result = _run(pytester)
    result.assert_outcomes(passed=1, failed=1, skipped=4)
    result.stdout.fnmatch_lines(["circuit of mdm on ioi: out of memory"])
    assert run_that_finds.made["runs"] == 1


def test_the_fixture_reads_runs_and_runs_specs(pytester: pytest.Pytester, run_that_finds: Any) -> None:
    write_run(pytester.path / "runs/done", findings(finding()))
    pytester.makepyfile(
        """
        def test_read(mechshift_findings):
            assert mechshift_findings("runs/done").hypotheses[0].verdict == "supported"
        def test_run(mechshift_findings):
            assert len(mechshift_findings("specs/quickstart.yaml").hypotheses) == 4
            assert mechshift_findings("specs/quickstart.yaml") is mechshift_findings("specs/../specs/quickstart.yaml")
        def test_wrong(mechshift_findings):
            mechshift_findings("specs")
        """
    )
    result = pytester.runpytest_inprocess(*PLUGIN)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*UsageError: specs holds no run*"])
    assert run_that_finds.made["runs"] == 1


SNAPSHOT_TEST = """
    from mechshift_core.testing.snapshots import FindingsSnapshotExtension

    def test_findings(mechshift_findings, mechshift_snapshot):
        assert mechshift_findings("runs/done") == mechshift_snapshot

    def test_strictly(mechshift_findings, snapshot):
        extension = FindingsSnapshotExtension.with_tolerance(0.01)
        assert mechshift_findings("runs/done") == snapshot.use_extension(extension)
"""


def _snapshot_session(pytester: pytest.Pytester, found: Findings, *options: str) -> pytest.RunResult:
    write_run(pytester.path / "runs/done", found)
    return pytester.runpytest_inprocess(*PLUGIN, *options)


def test_snapshots_hold_within_their_tolerances_and_show_what_regressed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SNAPSHOT_TEST)
    _snapshot_session(pytester, findings(finding(), equivalent())).assert_outcomes(failed=2)
    _snapshot_session(pytester, findings(finding(), equivalent()), "--snapshot-update").assert_outcomes(passed=2)
    stored = sorted(pytester.path.rglob("__snapshots__/**/*.json"))
    assert [path.name for path in stored] == ["test_findings.json", "test_strictly.json"]
    recorded = stored[0].read_text()
    assert Baseline.from_json(recorded) == Baseline.of(findings(finding(), equivalent()))
    moved = finding(estimate=-0.45, low=-0.59, high=-0.31)
    result = _snapshot_session(pytester, findings(moved, equivalent()))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*regressed    lower", "*baseline   *0.400*", "*run  *0.450*", "*held against ±0.010, given tolerance"]
    )
    result = _snapshot_session(pytester, findings(finding(**FLIPPED), equivalent()), "-k", "test_findings")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the verdict was supported and is refuted", "*more than 0.14 (half of the recorded*"])
    result.stdout.no_fnmatch_line("*kept*")
    assert stored[0].read_text() == recorded


def test_a_snapshot_that_is_no_baseline_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SNAPSHOT_TEST)
    _snapshot_session(pytester, findings(), "--snapshot-update").assert_outcomes(passed=2)
    next(pytester.path.rglob("test_findings.json")).write_text('{"schema": "other"}')
    result = _snapshot_session(pytester, findings(), "-k", "test_findings")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ValueError: name: expected, but not there*"])


def test_a_snapshot_is_of_findings_only(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(mechshift_snapshot):\n    assert {'a': 1} == mechshift_snapshot\n")
    result = pytester.runpytest_inprocess(*PLUGIN, "--snapshot-update")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*expected stats.findings.Findings, got dict*"])


def test_without_syrupy_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    true_import = builtins.__import__

    def without_syrupy(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("syrupy"):
            raise ModuleNotFoundError(name)
        return true_import(name, *arguments, **options)

    monkeypatch.delitem(sys.modules, "mechshift_core.testing.snapshots", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_syrupy)
    with pytest.raises(ImportError, match=r"snapshots of findings need syrupy: pip install 'syrupy>=4.9'"):
        import mechshift_core.testing.snapshots  # noqa: F401


def test_the_plugin_imports_nothing_that_pytest_does_not_need() -> None:
    code = "import sys, pytest; before = {*sys.modules}; import mechshift_core.testing.plugin; "
    code += "print(*{*sys.modules} - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {"mechshift_core", "mechshift_core.testing", "mechshift_core.testing.plugin"}
    assert ours <= set(loaded)
    assert {
        name for name in loaded if name not in ours and name.partition(".")[0] not in sys.stdlib_module_names
    } == set()


def test_estimates_are_no_part_of_a_baseline() -> None:
    assert Baseline.of(findings(finding(), estimates=(estimate(),))) == Baseline.of(findings(finding()))
