"""A run whose stored cells are read as if fewer prompts had been selected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from studies import EVERY_KIND, write_study

from mechshift_core.analysis import Analysis, analyse, samples, statistic
from mechshift_core.execution.plan import Plan
from mechshift_core.execution.scores import Stored
from mechshift_core.execution.store import RunFolder
from mechshift_core.pipeline import Run, run, stored_plan

PROMPTS = 12
MEASURES = {
    "overlap": {"top_k": [5, 10], "splits": 6, "permutations": 40},
    "depth": {},
    "specialization": {},
    "integration": {"index": "interaction_share"},
    "alignment": {},
}
COMPARED = ("residual_shift", "representation_similarity", "prediction_shift")
JOINT = {"name": "together", "kind": "ablation", "pairwise": 3, "shapley": {"components": 3}}


def hypothesis(measure: str) -> dict[str, object]:
    where, test = {"role": "treatment"}, {"kind": "difference"}
    if measure.endswith("retention") or measure in COMPARED:  # not against 0
        test = {"kind": "bound", "bound": 1, "alternative": "less"}
    return {"id": measure, "claim": "x", "measure": measure, "where": where, "test": test}


TESTED = (
    "overlap", "retention", "node_overlap", "node_retention", "depth_slope", "early_share", "specialization",
    "integration", "alignment", "transfer", "faithfulness", "targeted", *COMPARED,
)  # fmt: skip
"""Measures that a pair of random autoregressive models can be asked about."""


def write_everything(folder: Path, **changes: Any) -> Path:
    """A spec with every kind of intervention and measure, on prompts that are all selected."""
    path = write_study(folder, examples=PROMPTS, interventions=[*EVERY_KIND, JOINT])
    yaml = YAML()
    spec = yaml.load(path.read_text())
    spec["measures"] = MEASURES
    spec["select"] = {"correct": "none"}
    spec["pairs"] = spec["pairs"][:1]
    del spec["models"]["continued"]
    spec["hypotheses"] = [hypothesis(measure) for measure in TESTED]
    spec["statistics"] |= {"mixed_model": {"formula": "shift ~ depth", "random": ["0 + depth | prompt"]}}
    spec |= changes
    with path.open("w") as handle:
        yaml.dump(spec, handle)
    return path


def executed(folder: Path) -> Run:
    return run(write_everything(folder), out=folder / "out")


def analysed(finished: Run, monkeypatch: pytest.MonkeyPatch, *, prompts: int, templates: int, random: bool) -> Analysis:
    """What the stored cells of a run come to if only so many prompts, of so many templates, had been selected."""
    plan, folder = stored_plan(finished.path), RunFolder(finished.path)
    datasets = {
        name: replace(one, examples=tuple(replace(e, template=f"t{i % templates}") for i, e in enumerate(one.examples)))
        for name, one in plan.datasets.items()
    }
    units = plan.spec.statistics.units.model_copy(update={"template": "random" if random else "fixed"})
    statistics = plan.spec.statistics.model_copy(update={"units": units})
    few: Plan = replace(
        plan, datasets=datasets, spec=plan.spec.model_copy(update={"statistics": statistics}), alternatives=()
    )
    read = statistic.read_results

    def cut(*args: Any) -> dict[str, Stored | str]:
        return {side: _cut(one, prompts) if isinstance(one, Stored) else one for side, one in read(*args).items()}

    monkeypatch.setattr(samples, "selected_examples", lambda *_: np.arange(prompts))
    monkeypatch.setattr(statistic, "read_results", cut)
    return analyse(few, folder, {})


def _cut(stored: Stored, prompts: int) -> Stored:
    """Second-stage cells hold the selected prompts alone: the first of them, and no circuit with fewer than four."""
    if "examples" not in stored.tensors:
        return stored
    nothing = {name: [] for name in ("circuits", "groups") if name in stored.description and prompts < 4}
    tensors = {name: values[..., :prompts] for name, values in stored.tensors.items()}
    return Stored({**stored.description, **nothing}, tensors)


def unsound(found: Analysis) -> Iterator[str]:
    """What of an analysis is neither a finite number nor a named status."""
    for name, table in found.tables.items():
        for column in table.select(pl.selectors.float()):
            bad = column.len() - column.null_count() - column.drop_nulls().is_finite().sum()
            if bad:
                yield f"{name}.{column.name}: {bad} not finite"
    json.loads(found.findings.to_json())
    for one in (*found.findings.hypotheses, *found.findings.estimates):
        numbers = [getattr(one, key, None) for key in ("estimate", "low", "high", "se", "p")]
        label = getattr(one, "id", one.measure)
        if not all(value is None or np.isfinite(value) for value in numbers):
            yield f"{label}: {numbers}"
        if one.status not in ("ok", "points only", "undefined", "failed"):
            yield f"{label}: {one.status}"
        if one.status != "ok" and not one.message:
            yield f"{label}: {one.status} without a reason"
        if one.status == "failed":
            yield f"{label}: {one.message}"
        if one.status == "ok" and one.low is None and "exact" not in one.method:
            yield f"{label}: ok without an interval"
