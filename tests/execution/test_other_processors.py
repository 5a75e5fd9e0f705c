"""Findings of the quickstart are the same to 1e-6 with other kernels and numbers of threads.

Those of haswell; with MECHSHIFT_ALL_KERNELS set, all that this machine can run. CI runs the whole quickstart under the
oldest ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernels import available, environment, without_kernels
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
KERNELS = [name for name in available() if name == "haswell" or "MECHSHIFT_ALL_KERNELS" in os.environ]
CLOSE = 1e-6
RUN = "import sys; from mechshift_core.cli.main import main; sys.exit(main(sys.argv[1:]))"


def mechshift(variables: dict[str, str], *arguments: str) -> str:
    """What a command prints in a process of its own, under these variables alone."""
    call = [sys.executable, "-c", RUN, *arguments]
    ran = subprocess.run(
        call, cwd=ROOT, env=without_kernels(os.environ) | variables, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of a JSON document, with where it stands."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, f"{where}.{key}")
    else:
        yield where, value


def apart(found: Any, expected: Any) -> bool:
    """Whether two values differ: numbers by more than 1e-6, of numbers above one as a share of them."""
    if isinstance(expected, float) and isinstance(found, float):
        return abs(found - expected) > CLOSE * max(1.0, abs(expected))
    return bool(found != expected)


def findings(run: Path) -> dict[str, Any]:
    return dict(leaves(json.loads((run / "findings.json").read_text())))


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart on a third of its prompts; the whole of it is run under the oldest kernels by CI."""
    content = YAML().load((ROOT / "specs" / "quickstart.yaml").read_text())
    for task in content["tasks"]:
        task["examples"] = 40
    content["statistics"]["bootstrap"]["replicates"] = 500
    path = tmp_path_factory.mktemp("spec") / "quickstart.yaml"
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


@pytest.fixture(scope="module")
def here(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Findings as this machine computes them when it is left alone."""
    out = tmp_path_factory.mktemp("runs") / "here"
    mechshift({}, "run", str(spec), "--out", str(out), "--quiet")
    return findings(out)


@pytest.mark.nightly
@pytest.mark.parametrize("kernel", KERNELS)
def test_findings_of_the_quickstart_do_not_depend_on_the_processor(
    spec: Path, here: dict[str, Any], kernel: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mechshift(environment(kernel), "run", str(spec), "--out", str(out), "--quiet")
    found = findings(out)
    assert found.keys() == here.keys() and len(found) > 500
    assert {key: (found[key], here[key]) for key in here if apart(found[key], here[key])} == {}


def test_a_difference_is_seen() -> None:
    one = {"estimates": [{"estimate": 0.5, "df": 119.0, "n": 3, "status": "ok", "se": None}]}
    key = ".estimates.0."
    assert dict(leaves(one)) == {
        key + "estimate": 0.5, key + "df": 119.0, key + "n": 3, key + "status": "ok", key + "se": None,
    }  # fmt: skip
    assert apart(0.5 + 2e-6, 0.5) and not apart(0.5 + 9e-7, 0.5)
    assert apart(119.0 + 2e-4, 119.0) and not apart(119.0 + 1e-4, 119.0)
    assert apart("refuted", "supported") and apart(0.5, None) and apart(4, 3) and not apart(None, None)
