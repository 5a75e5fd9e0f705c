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

pytestmark = pytest.mark.long

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


def test_a_changed_role_probes_again_and_attributes_nothing_again(finished: Path) -> None:
    path = finished / "pairs.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"subject"', '"agent"'))
    again = run(finished / "study.yaml", out=finished / "out")
    path.write_text(text)
    assert (again.computed, again.failures) == (4, ())
    assert set(table(finished / "out", "probes")["status"]) == {"fewer than two values that five examples or more have"}


TIME: dict[str, object] = {
    "name": "time", "kind": "probe", "shuffles": 1, "variables": ["denoising_step", "mask_fraction", "answer"]
}  # fmt: skip


def timed(folder: Path, denoising: dict[str, object], probe: dict[str, object] = TIME) -> Path:
    content = {
        "schema": "mechshift/v1",
        "name": "time",
        "seed": 3,
        "models": {
            "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
            "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"},
        },
        "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
        "tasks": [{"name": "countdown", "examples": 30}],
        "select": {"correct": "none"},
        "interventions": [{"name": "circuit", "kind": "edge_attribution", "method": "eap"}, probe],
        "denoising": denoising,
        "measures": {"depth": {}},
        "hypotheses": [],
        "statistics": {"bootstrap": {"replicates": 100}},
        "execution": {"device": "cpu"},
    }
    with (folder / "time.yaml").open("w") as handle:
        YAML().dump(content, handle)
    return folder / "time.yaml"


@pytest.mark.nightly
def test_the_step_is_read_off_every_state_of_an_example(tmp_path: Path) -> None:
    import torch

    from mechshift_core import load_model, load_spec
    from mechshift_core.execution.plan import make_plan
    from mechshift_core.execution.reading import Reading, completed, states_of
    from mechshift_core.execution.scores import task_seed
    from stats.probes import probeable

    path = timed(tmp_path, {"steps": [5, "per_token"]})
    assert run(path, out=tmp_path / "out").failures == ()
    examples = make_plan(load_spec(path)).datasets["countdown"].examples
    rows = table(tmp_path / "out", "probes").filter(pl.col("budget") == "5")
    for side, name, paradigm in (("before", "arm", "autoregressive"), ("after", "mdm", "masked_diffusion")):
        model = load_model(f"bundled:tiny-s0/{name}", paradigm=paradigm, device="cpu")  # type: ignore[arg-type]
        streams, steps, numbers = [], [], []
        for number, one in enumerate(examples):
            (states,) = states_of(model, [one], Reading(steps=5))
            for step, (state, _) in enumerate(states, start=1):
                ids = torch.tensor([completed(one, state, model.mask_token_id)])
                with torch.no_grad():
                    hidden = model.module(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
                streams.append(hidden[2][0, len(one.clean_ids) - 1].numpy())
                steps.append(step)
                numbers.append(number)
        labels, groups = np.array(steps).astype(str), np.array(numbers)
        kept = probeable(labels, groups)
        expected = cross_validated_probe(
            np.stack(streams)[kept], labels[kept], groups=groups[kept], shuffles=1, seed=task_seed(3, "countdown")
        )
        means = [expected.correct[groups[kept] == number].mean() for number in sorted(set(numbers))]
        own = rows.filter((pl.col("side") == side) & (pl.col("layer") == 2))
        found = own.filter(pl.col("variable") == "denoising_step").row(0, named=True)
        assert found["accuracy"] == pytest.approx(np.mean(means), abs=0.02)
        assert found["majority"] == pytest.approx(expected.majority) and found["classes"] == expected.classes > 1
        share = own.filter(pl.col("variable") == "mask_fraction").row(0, named=True)
        # Completions have five tokens, so that step and share are one, but for how the folds are drawn.
        assert (share["majority"], share["classes"]) == (found["majority"], found["classes"])
    single = table(tmp_path / "out", "probes").filter(pl.col("budget") == "per_token")
    left = single.filter(pl.col("variable").is_in(["denoising_step", "mask_fraction"]))
    assert left["accuracy"].null_count() == len(left) == 4
    assert all(status.startswith("no example has two states") for status in left["status"])


@pytest.mark.parametrize(
    ("denoising", "budget"), [({}, "per_token"), ({"steps": 1}, "1"), ({"steps": {"at": 2}}, "step 2")]
)
def test_a_probe_for_what_does_not_vary_is_refused(denoising: dict[str, object], budget: str, tmp_path: Path) -> None:
    from mechshift_core import load_spec
    from mechshift_core.spec import SpecError

    with pytest.raises(SpecError) as error:
        load_spec(timed(tmp_path, denoising))
    message = f"'denoising_step' is the same in all states of an example, since {budget} reads every answer in one"
    assert error.value.problems[0].message.startswith(message)
