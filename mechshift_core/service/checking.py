"""Checking a spec with its models and data, in a process of its own: `python -m mechshift_core.service.checking`.

The process reads the settings and the folder of a spec from its arguments, and writes JSON. It may take long, or much
memory; the server is spared both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from mechshift_core.errors import MechshiftError
from mechshift_core.service.root import Root
from mechshift_core.service.settings import Settings, read_settings
from mechshift_core.service.submissions import RefusedError, as_json, read_allowed

WAIT = 20.0
"""Seconds for which a check waits for others: it takes a thread of the server meanwhile."""
MOST_RUNS = 200
"""Earlier runs that the expected time is taken from."""


class Checker:
    """Starts such processes, some at once, and ends those that take too long."""

    def __init__(self, root: Root, settings: Settings) -> None:
        self._root = root
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.checks_at_once)
        self._stopped = threading.Event()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def stop(self) -> None:
        """End all checks: a server that ends waits for none."""
        self._stopped.set()
        for process in [*self._processes]:
            _kill(process)

    def check(self, inputs: Path) -> dict[str, Any]:
        """Everything about a spec that needs no GPU: problems, prompts of each task, what it costs.

        Raises:
            RefusedError: if others are being checked, or it took too long.
        """
        if not self._free.acquire(timeout=min(WAIT, self._settings.check_seconds)):
            raise RefusedError("other specs are being checked; try again in a minute")
        try:
            if self._stopped.is_set():
                raise RefusedError("the server ends; try again in a minute")
            command = [sys.executable, "-m", __spec__.name, str(self._root.folder), str(inputs)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=inputs,
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                start_new_session=True,
            )
            self._processes.add(process)
            if self._stopped.is_set():
                _kill(process)
            try:
                output, _ = process.communicate(timeout=self._settings.check_seconds)
            except subprocess.TimeoutExpired:
                _kill(process)
                process.wait()
                raise RefusedError(
                    f"checking took longer than {self._settings.check_seconds:g} s; submit it unchecked"
                ) from None
            finally:
                self._processes.discard(process)
        finally:
            self._free.release()
        try:
            content: dict[str, Any] = json.loads(output)
        except ValueError:
            code = process.returncode
            raise RefusedError(f"checking ended without an answer (exit code {code}); submit it unchecked") from None
        return content


def check(root: Root, inputs: Path) -> dict[str, Any]:
    """The check itself; see :class:`Checker`."""
    from mechshift_core.execution.cell_store import open_store
    from mechshift_core.execution.cost import cost
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.prompts import accounts, cautions
    from mechshift_core.execution.timing import expect
    from mechshift_core.spec import SpecError, load_spec

    settings = read_settings(root)
    nothing: dict[str, Any] = {"tasks": [], "warnings": [], "cost": None}
    try:
        read_allowed(inputs, settings)
        plan = make_plan(load_spec(inputs / "spec.yaml"), headers_only=True)
    except SpecError as error:
        shown = as_json(error)
        for problem in shown:
            problem["message"] = problem["message"].replace(f"{inputs}/", "")
        return {"ok": False, "problems": shown, **nothing}
    except MechshiftError as error:
        problem = {"line": 0, "column": 0, "message": str(error).replace(f"{inputs}/", ""), "source_line": ""}
        return {"ok": False, "problems": [problem], **nothing}
    store = open_store(settings.cells, device=plan.spec.execution.device)
    cells = {cell.key: (own, cell) for own, cell in plan.every_cell}
    missing = [one for key, one in cells.items() if store is None or not store.has(key)]
    names = sorted(root.names(), key=lambda name: -_changed(root.run(name)))[:MOST_RUNS]
    timing = expect(plan, missing, [root.run(name) for name in names])
    return {
        "ok": True,
        "problems": [],
        "tasks": [account.to_json() for account in accounts(plan)],
        "warnings": [*cautions(plan)],
        "cost": {
            "cells": len(cells),
            "missing": len(missing),
            "passes": str(cost(missing)),
            "seconds": timing.seconds,
            "timed": timing.timed,
            "text": str(timing) if missing else "everything is in the store",
        },
    }


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


if __name__ == "__main__":
    sys.stdout.write(json.dumps(check(Root(Path(sys.argv[1])), Path(sys.argv[2]))))
