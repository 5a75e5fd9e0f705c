"""One of several processes that share the same cells at once: `store_racer.py STORE RUN PROCESSES`.

It computes and puts what the store does not have, takes the rest, and has the store made small again and again. It
prints what it found wrong.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from mechshift_core.execution.cell_store import CellStore
from mechshift_core.execution.store import RunFolder
from mechshift_core.execution.store_room import make_room

CELLS, ROUNDS = 5, 20


def main(place: Path, run: RunFolder, processes: int) -> list[str]:
    wrong = []
    store = CellStore(place, device="cpu", most=10**9)
    with run.claim():
        (place.parent / f"ready-{run.path.name}").touch()
        while len(list(place.parent.glob("ready-*"))) < processes:
            time.sleep(0.001)
        for number in range(ROUNDS):
            for cell in range(CELLS):
                key, values = f"{cell:032x}", np.full((2, 3), cell, np.float32)
                if store.take(key, run):
                    if not run.cell_file(key).read_bytes().endswith(values.tobytes()):
                        wrong.append(f"{key} has other numbers")
                    if not run.has_cell(key):
                        wrong.append(f"{key} is damaged")
                else:
                    run.write_cell(key, {"model": run.path.name}, {"scores": values})
                    store.put(key, run)
            if number % 2:
                make_room(place, 0, keep=())
    return [*wrong, *([store.notice] if store.notice else [])]


if __name__ == "__main__":
    print(*main(Path(sys.argv[1]), RunFolder(Path(sys.argv[2])), int(sys.argv[3])), sep="\n", end="")
