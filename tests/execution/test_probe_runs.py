"""Probes in a run: rare values are left out and said to be, and what a cell depends on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from intervention_study import cells, model_of, table
from ruamel.yaml import YAML
from studies import ATTRIBUTION, write_study

from mechshift_core import run
from stats.probes import cross_validated_probe

READ: dict[str, object] = {"name": "read", "kind": "probe", "shuffles": 2, "variables": ["subject", "template", "verb"]}
EXAMPLES = 24


def write(folder: Path) -> Path:
    """A study of all examples, in which the subject is one of two tokens, and one of them is seen three times only."""
    path = write_study(folder, examples=EXAMPLES, interventions=[ATTRIBUTION, READ], diffusion=True)
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["clean_ids"][0] = 7 if number < 3 else 5 + number % 2
        row["template"] = "t0"
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    content = YAML().load(path.read_text())
    content["select"] = {"correct": "none"}
    with path.open("w") as handle:
        YAML().dump(content, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probes")
    assert run(write(folder), out=folder / "out").failures == ()
    return folder


def test_accuracy_is_that_of_probes_of_hidden_states(finished: Path) -> None:
    import torch

    from mechshift_core.execution.scores import task_seed

    rows = [json.loads(line) for line in (finished / "pairs.jsonl").read_text().splitlines()]
    chosen = [number for number in range(EXAMPLES) if number >= 3]
    states = []
    for number in chosen:
        with torch.no_grad():
            output = model_of(finished / "before").module(
                input_ids=torch.tensor([rows[number]["clean_ids"]]), output_hidden_states=True, use_cache=False
            )
        states.append(torch.stack(output.hidden_states[:2])[:, 0, -1].numpy())
    found = table(finished / "out", "probes").filter(
        (pl.col("pair") == "shift") & (pl.col("side") == "before") & (pl.col("variable") == "subject")
    )
    assert found["n"].to_list() == [len(chosen)] * 3 and found["classes"].to_list() == [2] * 3
    for layer in (0, 1):
        features = np.stack([state[layer] for state in states])
        labels = np.array([str(rows[number]["clean_ids"][0]) for number in chosen])
        probe = cross_validated_probe(features, labels, shuffles=2, seed=task_seed(0, "mine"))
        assert found["accuracy"][layer] == pytest.approx(probe.correct.mean())
        assert found["control"][layer] == pytest.approx(probe.control.mean())
        assert found["majority"][layer] == pytest.approx(probe.majority)


def test_the_shift_is_paired_and_what_can_t_be_probed_for_is_said(finished: Path) -> None:
    rows = table(finished / "out", "probes").filter(pl.col("pair") == "shift")
    subject = rows.filter(pl.col("variable") == "subject")
    by_side = {
        side: subject.filter(pl.col("side") == side)["accuracy"].to_numpy() for side in ("before", "after", "shift")
    }
    np.testing.assert_allclose(by_side["shift"], by_side["after"] - by_side["before"], atol=1e-6)
    left = rows.filter(pl.col("status") != "ok")
    assert set(left["variable"]) == {"template", "verb"} and left["accuracy"].null_count() == len(left)
    (_, tensors), *_ = cells(finished / "out", intervention="read", pair="shift", side="after")
    assert (tensors["correct"][0, :, :3] == -1).all() and set(np.unique(tensors["correct"][0, :, 3:])) <= {0.0, 1.0}
    assert "Not probed for: template and verb." in (finished / "out" / "report.html").read_text()


@pytest.mark.long
def test_a_changed_role_probes_again_and_attributes_nothing_again(finished: Path) -> None:
    path = finished / "pairs.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"subject"', '"agent"'))
    again = run(finished / "study.yaml", out=finished / "out")
    path.write_text(text)
    assert (again.computed, again.failures) == (4, ())
    assert set(table(finished / "out", "probes")["status"]) == {"fewer than two values that five examples or more have"}
