"""A pair of which one model is read before the answer and the other at its place: what is compared, and what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from intervention_study import table
from ruamel.yaml import YAML

from mechshift_core import load_spec, run
from mechshift_core.pipeline import Run
from mechshift_core.spec import SpecError
from mechshift_core.spec.models import ModelSpec

pytestmark = pytest.mark.long

STUDY: dict[str, Any] = {
    "schema": "mechshift/v1",
    "name": "apart",
    "seed": 3,
    "models": {
        "arm": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"},
        "mdm": {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion", "shifted": False},
    },
    "pairs": [{"name": "diffusion", "before": "arm", "after": "mdm", "role": "treatment", "seed": 0}],
    "tasks": [{"name": "countdown", "examples": 12}],
    "select": {"correct": "none"},
    "interventions": [
        {"name": "circuit", "kind": "edge_attribution", "method": "eap"},
        {"name": "looks", "kind": "attention", "completion": True},
        {"name": "moved", "kind": "movement"},
        {"name": "probed", "kind": "probe"},
    ],
    "denoising": {"steps": [5]},
    "measures": {"depth": {}},
    "hypotheses": [
        {
            "id": "said",
            "measure": "prediction_shift",
            "test": {"kind": "bound", "bound": 0.01, "alternative": "greater"},
        }
    ],
    "statistics": {"bootstrap": {"replicates": 100}},
    "execution": {"device": "cpu"},
}


def write(folder: Path, **changes: object) -> Path:
    with (folder / "apart.yaml").open("w") as handle:
        YAML().dump({**STUDY, **changes}, handle)
    return folder / "apart.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("apart")
    made = run(write(folder), out=folder / "out")
    assert made.failures == ()
    return made


def test_only_an_unshifted_model_is_read_at_the_answer_s_own_place() -> None:
    models = {name: ModelSpec(**one) for name, one in STUDY["models"].items()}
    shifted = ModelSpec(source="x", paradigm="masked_diffusion")
    assert (models["arm"].reads_before, models["mdm"].reads_before, shifted.reads_before) == (True, False, True)


@pytest.mark.parametrize("measure", ["residual_shift", "representation_similarity"])
def test_streams_are_compared_at_the_same_tokens_alone(finished: Run, measure: str) -> None:
    rows = table(finished.path, measure)
    (read,) = rows.filter(pl.col("token_role") == "(read)").rows(named=True)
    assert read["status"].startswith("the models are read at different tokens: 'arm' at the token before the answer, ")
    assert (read["layer"], read["low"], read["n"]) == (None, None, 0 if measure == "residual_shift" else 12)
    others = rows.filter(pl.col("token_role") != "(read)", pl.col("status") == "ok")
    assert others.height > 0
    assert not [one for one in finished.findings.estimates if one.measure == measure and one.estimate is not None]


def test_predictions_are_of_the_same_token(finished: Run) -> None:
    (row,) = table(finished.path, "prediction_shift").rows(named=True)
    assert row["status"] == "ok" and row["kl"] > 0
    assert finished.findings.hypotheses[0].status == "ok"


def test_what_is_looked_at_from_the_position_read_stands_for_each_model_alone(finished: Run) -> None:
    assert set(table(finished.path, "attention_parts")["side"]) == {"before", "after"}
    looked = table(finished.path, "attention")
    assert set(looked.filter(pl.col("from_role") == "(read)")["side"]) == {"before", "after"}
    assert "shift" in set(looked["side"])  # from the tokens of the prompt, which are the same
    probes = table(finished.path, "probes").filter(pl.col("side") == "shift")
    assert probes["accuracy"].to_list() == [None] and "different tokens" in probes["status"].item()


@pytest.mark.parametrize("measure", ["residual_shift", "representation_similarity", "revealed_share"])
def test_a_claim_on_what_is_at_the_position_read_is_refused_by_name(measure: str, tmp_path: Path) -> None:
    test = {"kind": "bound", "bound": 0.1, "alternative": "greater"}
    path = write(tmp_path, hypotheses=[{"id": "x", "measure": measure, "test": test}])
    with pytest.raises(SpecError) as error:
        load_spec(path)
    (problem,) = error.value.problems
    assert problem.message == (
        f"measure '{measure}' would compare different tokens in 'diffusion': one model is read at the token before the "
        "answer, the other (`shifted: false`) at the answer's own place; leave such pairs out by `where`"
    )
    models = {**STUDY["models"], "mdm": {**STUDY["models"]["mdm"], "shifted": True}}
    load_spec(write(tmp_path, models=models, hypotheses=[{"id": "x", "measure": measure, "test": test}]))
