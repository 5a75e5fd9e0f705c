"""A run in float64: every kind of intervention, and findings that are those of float32 but for its rounding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from studies import EVERY_KIND, write_study

from mechshift_core import load_spec, run

UNITS = {"predicted", "masks", "states"}


def cells(path: Path) -> dict[tuple[str, ...], dict[str, np.ndarray]]:
    """What each cell holds, by intervention, pair, model and task."""
    found = {}
    for folder in sorted((path / "cells").iterdir()):
        told = json.loads((folder / "cell.json").read_text())
        key = tuple(str(told.get(name)) for name in ("intervention", "pair", "model", "task", "start"))
        found[key] = load_file(folder / "tensors.safetensors")
    return found


@pytest.mark.nightly
def test_every_kind_of_cell_is_computed_in_float64(tmp_path: Path) -> None:
    path = write_study(tmp_path, interventions=EVERY_KIND)
    text = path.read_text()
    assert "device: cpu" in text
    made = {}
    for dtype in ("float32", "float64"):
        path.write_text(text.replace("device: cpu", f"device: cpu\n  dtype: {dtype}"))
        made[dtype] = run(load_spec(path), out=tmp_path / dtype)
        assert not json.loads((tmp_path / dtype / "provenance.json").read_text())["failures"]
    single, double = cells(tmp_path / "float32"), cells(tmp_path / "float64")
    assert single.keys() == double.keys() and {key[0] for key in double} == {one["name"] for one in EVERY_KIND}
    differs = 0
    for key, tensors in double.items():
        for name, values in tensors.items():
            other = single[key][name]
            assert values.dtype == other.dtype and values.shape == other.shape
            if values.dtype == np.float32 and key[0] in ("circuit", "patched", "averaged"):
                assert np.abs(values - other).max() <= 1e-3 * np.abs(other).max()
                differs += int((values != other).sum())
    assert differs > 100
    for one, other in zip(made["float64"].findings.hypotheses, made["float32"].findings.hypotheses, strict=True):
        assert (one.verdict, one.status) == (other.verdict, other.status)
        assert one.estimate == pytest.approx(other.estimate, abs=0.02)
