"""Infilling asked at the blank: what a masked diffusion model reads, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from ruamel.yaml import YAML
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from mechshift_core import run
from mechshift_core.execution.batches import row_groups, to_batch
from mechshift_core.execution.plan import make_plan
from mechshift_core.execution.reading import Reading
from mechshift_core.models.load import load_model
from mechshift_core.spec import SpecError, load_spec
from mechshift_core.tasks import TASKS
from mechshift_core.tasks.blanks import asking
from mechshift_core.tasks.counterfactual import Dataset, Example, generated_dataset
from mechshift_core.zoo import bundled_models
from mechshift_core.zoo.vocabulary import MASK, build_tokenizer

pytestmark = pytest.mark.long

INTERVENTIONS = [
    {"name": "circuit", "kind": "edge_attribution", "method": "eap", "by_role": True},
    {"name": "zeros", "kind": "ablation", "components": ["mlps"], "ablation": "zero"},
    {"name": "lens", "kind": "logit_lens"},
    {"name": "read", "kind": "probe"},
    {"name": "looked", "kind": "attention"},
]
MODELS = {"scratch": "tiny-s0/mdm-scratch", "mdm": "tiny-s0/mdm"}


def write(folder: Path, **changes: Any) -> Path:
    spec = {
        "schema": "mechshift/v1",
        "name": "blanks",
        "models": {n: {"source": f"bundled:{of}", "paradigm": "masked_diffusion"} for n, of in MODELS.items()},
        "pairs": [{"name": "pair", "before": "scratch", "after": "mdm", "role": "treatment"}],
        "tasks": [{"name": "infilling", "examples": 12, "ask": "at_blank"}],
        "select": {"correct": "none"},
        "interventions": INTERVENTIONS,
        "measures": {"overlap": {"top_k": [5], "splits": 4, "permutations": 40}, "depth": {}},
        "statistics": {"bootstrap": {"replicates": 100}},
        "execution": {"device": "cpu"},
        **changes,
    }
    path = folder / "blanks.yaml"
    with path.open("w") as handle:
        YAML().dump(spec, handle)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of several kinds of interventions."""
    folder = tmp_path_factory.mktemp("blanks")
    assert run(write(folder), out=folder / "out").failures == ()
    return folder / "out"


@pytest.fixture(scope="module")
def dataset(tokenizer: PreTrainedTokenizerFast) -> Dataset:
    return generated_dataset(asking(TASKS["infilling"], "at_blank"), tokenizer, examples=60, seed=0)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


def whole(example: Example, word: str, *, corrupted: bool = False) -> str:
    """The sentence with a word in its blank."""
    return (example.corrupt if corrupted else example.clean).replace("___", word)


def test_the_word_stands_between_what_is_before_and_behind_it(
    dataset: Dataset, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert dataset.dropped == {} and dataset.words == "bundled"
    for example in dataset.examples:
        for ids, word, behind, corrupted in (
            (example.clean_ids, example.answer_ids, example.clean_behind_ids, False),
            (example.corrupt_ids, example.foil_ids, example.corrupt_behind_ids, True),
        ):
            text = whole(example, example.foil if corrupted else example.answer, corrupted=corrupted)
            assert [*ids, *word, *behind] == tokenizer(text)["input_ids"]
            assert ":" not in text
        assert example.clean_ids == example.corrupt_ids, "they differ behind the blank"
        assert example.clean_behind_ids != example.corrupt_behind_ids
        assert (example.masks, example.revealed) == (1, 0)
    assert len({example.prompt_ids for example in dataset.examples}) == 60


def test_roles_go_on_behind_the_blank(dataset: Dataset, tokenizer: PreTrainedTokenizerFast) -> None:
    for example in dataset.examples:
        words = tokenizer.convert_ids_to_tokens(list(example.prompt_ids))
        named = dict(zip(example.prompt_roles, words, strict=True))
        assert example.roles[-1] == "end" and set(example.roles[:-1]) <= {"left_context"}
        assert named["action"] in ("sings", "swims", "runs", "sleeps")
        assert named["place"] in ("forest", "house", "river", "field")
        roles = example.position_roles((False,))
        assert roles == (*example.roles, "mask", *example.behind_roles)
        assert example.behind_roles.count("action") == example.behind_roles.count("place") == 1


@pytest.mark.parametrize("shifted", [True, False])
def test_a_batch_has_a_mask_in_the_blank_and_is_read_there(dataset: Dataset, shifted: bool) -> None:
    model = load_model(bundled_models()[MODELS["mdm"]], paradigm="masked_diffusion", shifted=shifted)
    mask = build_tokenizer().convert_tokens_to_ids(MASK)
    groups = row_groups(model, dataset.examples, Reading())
    assert sorted(number for group in groups for number in group.numbers) == list(range(60))
    for group in groups:
        examples = [dataset.examples[number] for number in group.numbers]
        batch = to_batch(model, dataset, examples, group.states)
        for row, example in enumerate(examples):
            assert batch.clean_ids[row].tolist() == [*example.clean_ids, mask, *example.clean_behind_ids]
            assert batch.corrupt_ids[row].tolist() == [*example.corrupt_ids, mask, *example.corrupt_behind_ids]
            assert int(torch.as_tensor(batch.position)[row]) == len(example.clean_ids) - shifted


def test_the_numbers_of_a_run_are_the_models_own_at_the_blank(finished: Path) -> None:
    tokenizer = build_tokenizer()
    table = pl.read_parquet(finished / "tables/examples.parquet").unique(["model", "example"])
    assert len(table) == 2 * 12
    models = {
        name: AutoModelForCausalLM.from_pretrained(bundled_models()[of], dtype=torch.float32)
        for name, of in MODELS.items()
    }
    for row in table.to_dicts():
        for side in ("clean", "corrupt"):
            ids = tokenizer(row[side].replace("___", MASK))["input_ids"]
            at = ids.index(tokenizer.mask_token_id)
            everything = torch.zeros(1, 1, len(ids), len(ids))  # nothing is hidden from any token
            with torch.no_grad():
                logits = models[row["model"]](torch.tensor([ids]), attention_mask=everything).logits[0, at - 1]
            answer, foil = (tokenizer.convert_tokens_to_ids(row[key]) for key in ("answer", "foil"))
            assert row[f"{side}_metric"] == pytest.approx(float(logits[answer] - logits[foil]), abs=1e-4)


def test_every_kind_of_result_knows_what_stands_behind_the_blank(finished: Path) -> None:
    stored = json.loads((finished / "provenance.json").read_text())["data"]["infilling"]
    assert (stored["words"], stored["examples"]) == ("bundled", 12) and stored["templates"] in (2, 3, 4)
    roles = set(pl.read_parquet(finished / "tables/attention.parquet")["from_role"])
    assert {"left_context", "mask", "right_context", "action", "place"} <= roles


def test_an_autoregressive_model_is_refused_at_its_place_in_the_spec(tmp_path: Path) -> None:
    models = {"scratch": {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"}}
    models["mdm"] = {"source": "bundled:tiny-s0/mdm", "paradigm": "masked_diffusion"}
    path = write(tmp_path, models=models)
    with pytest.raises(SpecError) as error:
        load_spec(path)
    (problem,) = error.value.problems
    assert problem.message == (
        "at_blank is for pairs of masked diffusion models: 'scratch' is autoregressive and does not see what stands "
        "behind the blank; use ask: afterwards"
    )
    assert problem.source_line.strip() == "ask: at_blank"
    models["scratch"] = {"source": "bundled:tiny-s0/mdm-scratch", "paradigm": "masked_diffusion"}
    models["unused"] = {"source": "bundled:tiny-s0/arm", "paradigm": "autoregressive"}
    assert make_plan(load_spec(write(tmp_path, models=models)), headers_only=True)


def test_examples_of_other_lengths_before_and_behind_the_blank_are_read_as_alone(dataset: Dataset) -> None:
    model = load_model(bundled_models()["tiny-s0/mdm"], paradigm="masked_diffusion", device="cpu")
    examples = dataset.examples[:20]
    assert len({(len(one.clean_ids), len(one.clean_behind_ids)) for one in examples}) > 2
    (together,) = [
        group for group in row_groups(model, examples, Reading(), common=frozenset()) if len(group.numbers) > 9
    ]
    batch = to_batch(model, dataset, [examples[number] for number in together.numbers], together.states)
    assert batch.padded
    logits = batch.rows_read(model.logits(batch.clean_ids, batch.attention_mask))[:, 0]
    for row, number in enumerate(together.numbers):
        alone = to_batch(model, dataset, [examples[number]])
        expected = alone.rows_read(model.logits(alone.clean_ids))[0, 0]
        torch.testing.assert_close(logits[row], expected, rtol=1e-5, atol=1e-5)
