"""How far bfloat16 is from float32 on a real model: scores and circuits by a study of the model with itself, and time.

mechshift models fetch smollm2-135m
python benchmarks/number_formats.py --prompts 40
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from shapes import machine

from mechshift_core import load_spec, run

SPEC = """schema: mechshift/v1
name: number-formats
models:
  exact: {{source: "{source}", paradigm: autoregressive, dtype: float32}}
  half:  {{source: "{source}", paradigm: autoregressive, dtype: bfloat16}}
pairs: [{{name: formats, before: exact, after: half, role: control}}]
tasks: [{{name: ioi, examples: {prompts}}}, {{name: infilling, examples: {prompts}}}]
select: {{correct: none}}
interventions: [{{name: circuit, kind: edge_attribution, method: eap-ig, steps: 5, quadrature: midpoint}}]
measures: {{overlap: {{top_k: [100, 400, 1000], splits: 10, permutations: 100}}, depth: {{}}, specialization: {{}}}}
execution: {{device: {device}}}
"""


def main() -> None:
    """Run the study, and print time and distance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="bundled:smollm2/arm")
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    print(machine(options.device))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "formats.yaml"
        path.write_text(SPEC.format(source=options.source, prompts=options.prompts, device=options.device))
        made = run(load_spec(path), out=Path(folder) / "out")
        events = map(json.loads, (made.path / "events.jsonl").read_text().splitlines())
        took = [event for event in events if event["event"] == "cell timed"]
        for dtype in ("float32", "bfloat16"):
            seconds = sum(event["seconds"] for event in took if event["dtype"] == dtype)
            print(f"{dtype}: EAP-IG of {2 * options.prompts} prompts {seconds:.1f} s")
        edges = pl.read_parquet(made.path / "tables/edges.parquet")
        for (task,), rows in edges.group_by("task", maintain_order=True):
            sides = [rows.filter(pl.col("model") == model).sort("source", "target") for model in ("exact", "half")]
            one, other = (side["score"].to_numpy() for side in sides)
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            off = np.abs(one - other).max() / np.abs(one).max()
            kept = {
                k: len(set(np.argsort(-abs(one))[:k]) & set(np.argsort(-abs(other))[:k])) / k for k in (100, 400, 1000)
            }
            shares = ", ".join(f"{share:.1%} of the top {k}" for k, share in kept.items())
            print(f"{task}: cosine of mean scores {cosine:.5f}, largest difference {off:.2%} of the largest; {shares}")
        for one in made.findings.estimates:
            if one.measure in ("similarity", "retention", "depth_slope") and one.estimate is not None:
                print(f"{one.task}: {one.measure} ({one.side}) {one.estimate:.4f} [{one.low}, {one.high}]")


if __name__ == "__main__":
    main()
