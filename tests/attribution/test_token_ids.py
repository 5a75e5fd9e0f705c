"""Token ids that no model has are refused wherever a batch goes in; a token twice in a set counts once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from random_models import write_random_model

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution import edge_score_blocks, patch_nodes
from mechshift_core.components.streams import streams_read
from mechshift_core.interventions.attention.mass import attention_mass
from mechshift_core.interventions.logit_lens.lens import read_lens
from mechshift_core.interventions.neurons.scores import neuron_scores
from mechshift_core.models import Model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_random_model("gpt2", tmp_path_factory.mktemp("gpt2")), device="cpu")


def batch(**changes: Any) -> CounterfactualBatch:
    fields: dict[str, Any] = {
        "clean_ids": [[1, 2, 3], [4, 5, 6]],
        "corrupt_ids": [[1, 7, 3], [4, 8, 6]],
        "answer_ids": [[9, 10], [11, -1]],
        "foil_ids": [12, 13],
    }
    return CounterfactualBatch(**fields | changes)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_ids_may_be_lists_arrays_or_tensors(kind: Callable[[Any], Any]) -> None:
    found = batch(clean_ids=kind([[1, 2, 3], [4, 5, 6]]), foil_ids=kind([12, 13]), position=kind([1, 2]))
    assert found.clean_ids.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found.foil_ids.tolist() == [[12], [13]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean_ids": [[1, 2, 3], [4, -100, 6]]}, r"clean_ids has a number below 0, .* \(example 1\)"),
        ({"corrupt_ids": [[-1, 2, 3], [4, 5, 6]]}, r"corrupt_ids has a number below 0, .* \(example 0\)"),
        ({"answer_ids": [[9, -100], [11, -1]]}, r"answer_ids has a number below 0 other than -1.* \(example 0\)"),
        ({"foil_ids": [12, -2]}, r"foil_ids has a number below 0 other than -1.* \(example 1\)"),
        ({"foil_ids": [12, -1]}, "foil_ids has an example without any token"),
        ({"foil_ids": [[10, 9], [13, 14]]}, r"answer_ids and foil_ids are the same tokens.* \(example 0\)"),
        ({"foil_ids": [[9, 10, 9], [13, 14, 15]]}, r"answer_ids and foil_ids are the same tokens.* \(example 0\)"),
        ({"clean_ids": [[1.5, 2, 3], [4, 5, 6]]}, "clean_ids must be whole numbers"),
        ({"clean_ids": [[True, False, True]] * 2}, "clean_ids must be whole numbers"),
        ({"clean_ids": [[1, 2], [4, 5, 6]]}, "clean_ids must be whole numbers in rows of equal length"),
        ({"clean_ids": [["a", "b", "c"]] * 2}, "clean_ids must be whole numbers in rows of equal length"),
        ({"clean_ids": [[], []], "corrupt_ids": [[], []]}, "hold no tokens"),
        ({"position": 1.5}, "position must be whole numbers"),
        ({"position": [0, 1, 2]}, r"position must be one index, or \[2\], one each; it is \[3\]"),
        ({"position": [0, 3]}, "outside the 3 positions"),
    ],
)
def test_numbers_that_are_no_token_ids_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch(**changes)


def test_a_token_twice_in_a_set_counts_once(model: Model) -> None:
    twice = batch(answer_ids=[[9, 10, 9, 9], [11, 11, -1, 11]], foil_ids=[[12, 12], [13, -1]])
    assert twice.answer_ids.tolist() == [[9, 10, -1, -1], [11, -1, -1, -1]]
    for metric in ("logit_difference", "probability_difference"):
        found = attribute_edges(model, replace(twice, metric=metric), method="eap")
        once = attribute_edges(model, batch(metric=metric), method="eap")
        torch.testing.assert_close(found.values, once.values)
        torch.testing.assert_close(found.clean_metric, once.clean_metric)


def roles(one: CounterfactualBatch) -> torch.Tensor:
    return torch.zeros_like(one.clean_ids)


TAKES_A_BATCH: dict[str, Callable[[Model, CounterfactualBatch], object]] = {
    "attribute_edges": attribute_edges,
    "exact": lambda model, one: attribute_edges(model, one, method="exact"),
    "edge_score_blocks": lambda model, one: list(edge_score_blocks(model, one)),
    "evaluate_circuits": lambda model, one: evaluate_circuits(model, one, [[]]),
    "patch_nodes": lambda model, one: patch_nodes(model, one, [["m0"]]),
    "attention_mass": lambda model, one: attention_mass(model, one, roles(one), count=1),
    "read_lens": read_lens,
    "neuron_scores": neuron_scores,
    "streams_read": streams_read,
}


@pytest.mark.parametrize("name", TAKES_A_BATCH)
def test_ids_beyond_the_vocabulary_and_prompts_beyond_the_context_are_refused(model: Model, name: str) -> None:
    compute = TAKES_A_BATCH[name]
    compute(model, batch())
    for field, value in (
        ("clean_ids", [[1, 2, 3], [4, 40, 6]]),
        ("corrupt_ids", [[1, 7, 3], [4, 5, 900]]),
        ("answer_ids", [[9, 10], [40, -1]]),
        ("foil_ids", [12, 10**6]),
    ):
        with pytest.raises(ValueError, match=rf"{field}: example 1 has the token id .* has 40 tokens \(0 to 39\)"):
            compute(model, batch(**{field: value}))
    long = torch.ones(2, 33, dtype=torch.long)
    with pytest.raises(ValueError, match=r"a prompt has 33 tokens, but .* reads 32"):
        compute(model, batch(clean_ids=long, corrupt_ids=2 * long))


def test_padding_does_not_count_to_the_context(model: Model) -> None:
    wide = torch.ones(2, 40, dtype=torch.long)
    mask = torch.zeros_like(wide)
    mask[:, 8:] = 1
    padded = batch(clean_ids=wide, corrupt_ids=2 * wide, attention_mask=mask)
    assert attribute_edges(model, padded, method="eap").clean_metric.isfinite().all()
