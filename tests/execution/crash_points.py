"""A process that dies at every single operation on files while it writes a cell or an event: `crash_points.py FOLDER`.

Prints how many moments there were. It imports nothing that has threads, so that it may fork.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mechshift_core.execution.store import RunFolder

WATCHED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree"}


def dies(work: Callable[[], None], *, before: int, within: str = "") -> bool:
    """Whether a process that is killed before its n-th operation on files does not come to the end of its work.

    Args:
        work: What it does.
        before: Number of the operation.
        within: Part of the paths of the files whose operations count.
    """
    if (child := os.fork()) == 0:
        left = [before]

        def watch(event: str, facts: tuple[object, ...]) -> None:
            if event in WATCHED and within in str(facts[0]):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(watch)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def main(folder: RunFolder) -> int:
    """Kill at every moment: what is there afterwards is the old cell, none, or the new one."""
    old, new = np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)
    description = {"model": "m"}

    def write() -> None:
        folder.write_cell("k", description, {"scores": new})
        folder.log("cell", key="k")

    moment = 0
    while True:
        with folder.claim():
            folder.write_cell("k", description, {"scores": old})
        if not dies(write, before=moment):
            return moment
        if folder.has_cell("k"):
            content = folder.cell_file("k").read_bytes()
            assert content.endswith((old.tobytes(), new.tobytes())), moment
        with folder.claim():
            assert not list(folder.path.rglob(".*.tmp")), moment
            folder.write_cell("k", description, {"scores": new})
            folder.log("again")
        assert folder.has_cell("k")
        assert folder.cell_file("k").read_bytes().endswith(new.tobytes())
        for line in (folder.path / "events.jsonl").read_text().splitlines():
            assert json.loads(line)["event"] in ("cell", "again")
        moment += 1


if __name__ == "__main__":
    print(main(RunFolder(Path(sys.argv[1]))))
