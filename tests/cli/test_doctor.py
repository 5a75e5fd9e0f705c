from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mechshift_core import machine
from mechshift_core.cli.main import main
from mechshift_core.machine import hub_state, main_memory, this_machine, unmet_requirements


def test_the_hub_is_not_waited_for_where_nobody_answers() -> None:
    with socket.socket() as silent:  # accepts connections and never says anything
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        state = hub_state(f"http://127.0.0.1:{silent.getsockname()[1]}", offline=False, seconds=0.2)
        assert time.monotonic() - start < 30  # on a busy machine; without a limit it would wait for ever
    assert state == "no answer within 0.2 s" or state.startswith("not reachable (")


def test_a_hub_that_refuses_or_is_not_to_be_asked_is_named_so() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    assert "refused" in hub_state(f"http://127.0.0.1:{port}", offline=False)
    assert hub_state("http://127.0.0.1:1", offline=True) == "not asked: HF_HUB_OFFLINE is set"
    assert hub_state("no address", offline=False).startswith("not reachable (unknown url type")


def test_every_answer_of_the_hub_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_ask", lambda endpoint, seconds: "reachable")
    assert hub_state("http://hub", offline=False) == "reachable"


def test_requirements_that_are_not_met_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=999", "no-such-package>1", "numpy>=1", "torch>=999; extra == 'x'"]
    monkeypatch.setattr(machine, "requires", lambda package: wanted)
    old, missing = unmet_requirements("mechshift")
    assert old.startswith("numpy ") and old.endswith("is installed, but numpy>=999 is needed")
    assert missing == "no-such-package is not installed (needed: no-such-package>1)"


def test_memory_is_of_this_machine() -> None:
    total, free = main_memory()
    assert total is not None and total > 0.1
    assert free is None or 0 < free <= total


def test_doctor_answers_in_words_and_as_json_and_fails_for_what_every_run_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "hub_state", lambda endpoint, offline: "reachable")
    monkeypatch.chdir(tmp_path)
    found = this_machine()
    monkeypatch.setattr(machine, "this_machine", lambda: replace(found, problems=(), memory_free=16.0, gpu=None))
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "largest model:   about 2.1 x 10^9 parameters in float32" in shown
    for heading in ("processors", "memory", "GPU", "disk", "browser", "Hub", "bundled models", "packages"):
        assert f"\n{heading}:" in f"\n{shown}"
    monkeypatch.setattr(machine, "this_machine", lambda: replace(found, problems=("numpy 1 is too old",)))
    assert main(["doctor", "--json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"] == ["numpy 1 is too old"]
    assert captured.err == "problem: numpy 1 is too old\n"
