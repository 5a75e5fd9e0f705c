"""`mechshift export`: the folder of a paper, whole or not at all; options that go together; experiment trackers."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from stored_runs import equivalent, finding, findings, undefined, write_run

from mechshift_core.cli.main import main
from mechshift_core.errors import UsageError
from mechshift_core.export import paper as paper_module
from mechshift_core.export import to_mlflow, to_wandb
from mechshift_core.export.logged import flat, logged_of
from reports.export import TEXTS, Files

MADE = {"README.md": b"about", "index.json": b"{}", "figures/overlap.svg": b"<svg/>", "tables/verdicts.csv": b"a\n"}


@pytest.fixture(autouse=True)
def _workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Stands for a run and its figures, so that only the writing is tested."""
    Path("run").mkdir()
    content = dict(MADE)
    files = Files(content=content, figures=1, tables=1, left_out=(("Edges", 300),), broken=(), panels_left_out=30)
    monkeypatch.setattr(paper_module, "report_data_of", lambda run, **_: None)
    monkeypatch.setattr("reports.export.files_of", lambda data, **_: files)
    return content


def held(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_folder_is_made_with_all_of_it(made: dict[str, bytes], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "run", "--to", "deep/paper"]) == 0
    printed = capsys.readouterr().out
    assert "left out: Edges (300 rows; --most-rows)" in printed
    assert "left out: 30 single panels of figures of many; README.md says how to draw them" in printed
    assert "wrote deep/paper: 1 figures, 1 tables, 4 files" in printed
    assert held(Path("deep")) == {f"paper/{name}": content for name, content in MADE.items()}


def test_files_that_are_there_are_replaced_only_when_asked_for(
    made: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"main.tex": b"mine", "figures/own.svg": b"mine", "tables/verdicts.csv": b"mine"}
    for name, content in own.items():
        Path("paper", name).parent.mkdir(parents=True, exist_ok=True)
        Path("paper", name).write_bytes(content)
    assert main(["export", "run", "--to", "paper"]) == 2
    message = capsys.readouterr().err
    assert "paper: tables/verdicts.csv would be replaced; give --force" in message
    assert held(Path("paper")) == own
    assert main(["export", "run", "--to", "paper", "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == list(MADE)
    assert held(Path("paper")) == own | MADE


def test_an_earlier_export_is_seen_before_anything_is_drawn(
    monkeypatch: pytest.MonkeyPatch, made: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "run", "--to", "paper", "--quiet"]) == 0
    monkeypatch.setattr("reports.export.files_of", lambda *_, **__: pytest.fail("drawn in vain"))
    assert main(["export", "run", "--to", "paper"]) == 2
    assert "paper: README.md and 1 more would be replaced" in capsys.readouterr().err
    assert {"README.md", "index.json"} <= set(TEXTS)


@pytest.mark.parametrize("there", [False, True])
def test_a_full_disk_leaves_nothing_half_written(
    made: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    before = {}
    if there:
        Path("paper").mkdir()
        Path("paper", "README.md").write_bytes(b"before")
        before = {"README.md": b"before"}
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "verdicts.csv":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["export", "run", "--to", "paper", "--force"]) == 2
    assert "paper: cannot be written: No space left on device" in capsys.readouterr().err
    assert held(Path()) == {f"paper/{name}": content for name, content in before.items()}
    assert sorted(path.name for path in Path().iterdir()) == [*["paper"] * there, "run"]


@pytest.mark.parametrize(("target", "message"), [("file", "is a file"), ("file/below", "is no folder")])
def test_what_can_be_no_folder_is_refused(target: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("x")
    Path("run").mkdir()
    assert main(["export", "run", "--to", target]) == 2
    assert f"{target}: " in (said := capsys.readouterr().err) and message in said


def test_a_folder_without_rights_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    monkeypatch.setattr(paper_module.os, "access", lambda path, mode: mode == paper_module.os.R_OK)
    assert main(["export", "run", "--to", "paper"]) == 2
    assert "no right to write in" in capsys.readouterr().err


def test_what_is_no_run_or_not_at_its_end_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "nowhere", "--to", "paper"]) == 2
    assert "nowhere holds no run" in capsys.readouterr().err
    run = write_run(Path("run"), findings(finding()))
    assert main(["export", "run", "--to", "paper"]) == 3
    assert "its data sets are not here" in capsys.readouterr().err
    (run / "findings.json").unlink()
    assert main(["export", "run", "--to", "paper"]) == 3
    assert "the run has not come to an end" in capsys.readouterr().err
    assert not Path("paper").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to write; give --to FOLDER, --sqlite FILE, --wandb PROJECT or --mlflow URI"),
        (["b", "--to", "paper"], "--to: is of one run, and 2 are given"),
        (["b", "--mlflow", "file:x"], "--mlflow: is of one run, and 2 are given"),
        (["--sqlite", "x.sqlite", "--force"], "--force: says that files of --to may be replaced"),
        (["--wandb", "project", "--most-rows", "5"], "--most-rows: says which tables --to and --sqlite leave out"),
    ],
)
def test_options_that_go_with_no_other_are_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        Path(name).mkdir()
    assert main(["export", "a", *options]) == 2
    assert message in capsys.readouterr().err


def stored() -> Path:
    run = write_run(Path("run"), findings(finding(p_corrected=float("nan")), equivalent(), undefined()))
    (run / "tables").mkdir()
    pl.DataFrame({"layer": [1]}).write_parquet(run / "tables" / "layers.parquet")
    return run


def test_what_is_logged_are_finite_numbers_and_verdicts() -> None:
    logged = logged_of(stored())
    assert logged.numbers["lower/estimate"] == -0.4 and logged.numbers["kept/high"] == 0.09
    assert "lower/p_corrected" not in logged.numbers and "none/estimate" not in logged.numbers
    assert logged.words["none/verdict"] == "not estimable" and logged.words["lower/claim"] == "It is lower."
    assert logged.config["spec"]["schema"] == "mechshift/v1" and "spec" in logged.config["provenance"]
    assert {"findings.json", "spec.yaml", "provenance.json"} <= {path.name for path in logged.files}
    assert list(flat({"a": {"b:c": [1, 2]}, "d": None})) == [("a.b_c", "[1, 2]"), ("d", "None")]


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_line(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["export", str(stored()), f"--{package}", "x"]) == 2
    said = capsys.readouterr().err
    assert f"--{package}: the package {package} is missing" in said and f"pip install {package}" in said


def test_a_tracker_that_fails_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class RefusedError(Exception):
        pass

    def refuse(*_: Any, **__: Any) -> None:
        raise RefusedError("no key")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Error=RefusedError, init=refuse))  # type: ignore[arg-type]
    monkeypatch.setitem(
        sys.modules,
        "mlflow",
        SimpleNamespace(MlflowException=RefusedError, MlflowClient=refuse),  # type: ignore[arg-type]
    )
    for option in ("--wandb", "--mlflow"):
        assert main(["export", str(stored()) if not Path("run").exists() else "run", option, "there"]) == 3
        assert f"{option} there: no key" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_holds_findings_config_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    where = to_wandb(stored(), "mechshift")
    wandb.teardown()  # what is offline is written by a process of its own, which ends with this
    (record,) = Path("wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    assert Path(where).resolve().is_relative_to(Path("wandb").resolve())
    for expected in (b"lower/estimate", b"kept/verdict", b"supported", b"masked_diffusion", b"layers.parquet"):
        assert expected in content


@pytest.mark.filterwarnings("ignore")
def test_mlflow_holds_findings_settings_and_files(monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    made = to_mlflow(stored(), "sqlite:///tracked.db")
    again = to_mlflow(Path("run"), "sqlite:///tracked.db")  # a second run of the same experiment
    client = mlflow.MlflowClient(tracking_uri="sqlite:///tracked.db")
    found = client.get_run(made)
    assert client.get_run(again).info.experiment_id == found.info.experiment_id and made != again
    assert found.info.status == "FINISHED" and found.info.run_name == "run"
    assert found.data.metrics["lower/estimate"] == -0.4 and found.data.metrics["kept/p"] == pytest.approx(1e-7)
    assert found.data.tags["lower/verdict"] == "supported"
    assert found.data.params["spec.schema"] == "mechshift/v1"
    listed = {one.path for one in (*client.list_artifacts(made), *client.list_artifacts(made, "tables"))}
    assert {"findings.json", "spec.yaml", "tables/layers.parquet"} <= listed


@pytest.mark.filterwarnings("ignore")
def test_mlflow_says_what_it_refuses() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(Exception, match="--mlflow nonsense://x: ") as caught:
        to_mlflow(stored(), "nonsense://x")
    assert not isinstance(caught.value, UsageError)
