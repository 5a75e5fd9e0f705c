"""Profiles say how to run; what contradicts itself is refused, with where and what instead."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from studies import write_study

from mechshift_core import run
from mechshift_core.cli.main import main
from mechshift_core.errors import UsageError
from mechshift_core.execution.profiles import Profile, chosen_profile, load_profile, profile_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of profiles."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("MECHSHIFT_PROFILE", raising=False)
    profile_folder().mkdir(parents=True)
    return profile_folder()


def test_a_profile_is_found_by_name_by_file_and_by_environment(folder: Path, tmp_path: Path) -> None:
    (folder / "lab.yaml").write_text("cluster: slurm\nworkers: 8\noptions: {queue: gpu, cores: 4, memory: 32GB}\n")
    found = load_profile("lab")
    assert (found.cluster, found.workers, found.options["queue"]) == ("slurm", 8, "gpu")
    (tmp_path / "mine.yaml").write_text("workers: 3\n")
    assert load_profile(str(tmp_path / "mine.yaml")) == Profile(workers=3)
    assert chosen_profile(environment={"MECHSHIFT_PROFILE": "lab"}) == found
    assert chosen_profile("lab", environment={"MECHSHIFT_PROFILE": "other"}) == found
    assert chosen_profile(environment={}) is None


def test_options_go_before_the_profile(folder: Path) -> None:
    (folder / "lab.yaml").write_text("cluster: slurm\nworkers: 8\noptions: {queue: gpu}\n")
    assert chosen_profile("lab", workers=2) == Profile(cluster="slurm", workers=2, options={"queue": "gpu"})
    assert chosen_profile("lab", scheduler="tls://host:8786") == Profile(scheduler="tls://host:8786")
    assert chosen_profile("lab", cluster="pbs") == Profile(cluster="pbs", workers=8)  # another manager's options
    (folder / "joined.yaml").write_text("scheduler: tls://host:8786\n")
    assert chosen_profile("joined", workers=2) == Profile(workers=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers: 0\n", r"lab.yaml:1:10: expected a number not below 1, got 0"),
        ("worker: 2\n", r"lab.yaml:1:1: unknown key 'worker' \(did you mean 'workers'\?\)"),
        ("cluster: slrum\n", r"lab.yaml:1:10: .*'slurm'"),
        ("scheduler: host:8786\n", r"expected tls://HOST:PORT or tcp://HOST:PORT"),
        ("scheduler: tls://host:1\nworkers: 2\n", r"a running scheduler has its workers; leave out `workers`"),
        ("scheduler: tls://host:1\ncluster: slurm\n", r"leave out `cluster`"),
        ("options: {queue: gpu}\n", r"give `cluster`, too"),
        ("tls: {ca: a, key: b}\n", r"lab.yaml:1:6: .*certificate"),
    ],
)
def test_a_wrong_profile_is_refused_with_its_place(folder: Path, text: str, said: str) -> None:
    (folder / "lab.yaml").write_text(text)
    with pytest.raises(UsageError, match=said):
        load_profile("lab")


def test_an_unknown_profile_names_those_that_there_are(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no profile 'lab': .*lab.yaml is no file \(there are none\)"):
        load_profile("lab")
    (folder / "lab.yaml").write_text("workers: 2\n")
    with pytest.raises(UsageError, match=r"no profile 'lba' \(did you mean 'lab'\?\): .* \(there are 'lab'\)"):
        load_profile("lba")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--workers", "2", "--scheduler", "tls://host:1"], "a running scheduler has its workers"),
        (["--cluster", "slurmy"], "--cluster: expected 'slurm', 'pbs', "),
        (["--scheduler", "host"], "expected tls://HOST:PORT"),
        (["--profile", "none"], "no profile 'none'"),
    ],
)
def test_the_command_line_refuses_before_anything_is_read(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    del tmp_path
    assert main(["run", "no-such-spec.yaml", *options]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("profile", "alone", "here"),
    [
        (Profile(), True, True),
        (Profile(workers=1), True, True),
        (Profile(workers=2), False, True),
        (Profile(scheduler="tls://host:1"), False, False),
        (Profile(cluster="slurm", workers=1), False, False),
    ],
)
def test_what_needs_an_engine(profile: Profile, alone: bool, here: bool) -> None:
    assert (profile.alone, profile.here) == (alone, here)


@pytest.mark.long
def test_without_the_extra_a_spec_s_processes_become_one_and_an_option_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path)
    study.write_text(study.read_text().replace("device: cpu", "device: cpu\n  workers: 2"))
    monkeypatch.setitem(sys.modules, "distributed", None)  # an import fails
    said: list[str] = []
    made = run(study, out=tmp_path / "out", progress=lambda what, *_: said.append(what))
    assert made.failures == ()
    assert "one process: several need pip install distributed dask-jobqueue cryptography" in said
    with pytest.raises(
        UsageError, match="need the package distributed: pip install distributed dask-jobqueue cryptography"
    ):
        run(study, out=tmp_path / "other", profile=Profile(workers=2))
