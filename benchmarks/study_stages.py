"""Where the time and the memory of a study go: loading, cells, statistics, report, each by what it is about.

python benchmarks/study_stages.py specs/smollm2.yaml --out /tmp/stages
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections import defaultdict
from pathlib import Path

from shapes import machine

from mechshift_core import load_spec, run


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Watch:
    """Seconds and peak memory of every stage that the run names."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.peak: dict[str, int] = defaultdict(int)
        self._now, self._since = "planning", time.monotonic()
        threading.Thread(target=self._look, daemon=True).start()

    def __call__(self, what: str, done: int, total: int) -> None:
        """The run's progress."""
        self.next(what)

    def next(self, what: str) -> None:
        """Another stage begins."""
        now = time.monotonic()
        self.seconds[stage(self._now)] += now - self._since
        self._now, self._since = what, now

    def _look(self) -> None:
        while True:
            name = stage(self._now)
            self.peak[name] = max(self.peak[name], resident())
            time.sleep(0.05)


def stage(what: str) -> str:
    """What is done, without of which pair and task; cells keep their task."""
    what = re.sub(r"^(statistics: hypotheses under \S+).*", r"\1", what)
    return re.sub(r"^(statistics: \S+) of .*", r"\1", what)


def main() -> None:
    """Run a spec in this process, and print a line for each stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    spec = load_spec(options.spec)
    spec = spec.model_copy(update={"execution": spec.execution.model_copy(update={"workers": 1})})
    print(machine("cpu"))
    watch = Watch()
    made = run(spec, out=options.out, progress=watch)
    watch.next("end")
    total = sum(watch.seconds.values())
    print(f"{options.spec.name}: {made.computed} cells, {total / 60:.1f} min, {len(made.failures)} failures")
    for name, seconds in sorted(watch.seconds.items(), key=lambda one: -one[1]):
        print(f"  {name:55s} {seconds:8.1f} s {seconds / total:6.1%}  peak {watch.peak[name] / 2**20:7.0f} MiB")
    sizes = {name: (made.path / name).stat().st_size for name in ("report.html", "findings.json")}
    print(json.dumps({**sizes, "cells": sum(file.stat().st_size for file in made.path.glob("cells/*/*"))}))


if __name__ == "__main__":
    main()
