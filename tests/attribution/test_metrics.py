"""Every metric against its formula in plain Python, and what is attributed by it against finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from random_models import write_random_model
from slow_attribution import SlowModel, written
from torch import Tensor

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.errors import ExecutionError
from mechshift_core.extending import MetricKind, TokenSet
from mechshift_core.graph import Graph
from mechshift_core.metrics import METRICS, try_metric
from mechshift_core.models import Model
from mechshift_core.registry import KindError

ANSWERS = [[1, 2], [3], [4, 5, 6]]
FOILS = [[20], [21, 22], [23]]
Row = Sequence[float]


def probability(logits: Row, tokens: Sequence[int]) -> float:
    total = math.fsum(math.exp(one) for one in logits)
    return math.fsum(math.exp(logits[token]) / total for token in tokens)


def mean(logits: Row, tokens: Sequence[int]) -> float:
    return math.fsum(logits[token] for token in tokens) / len(tokens)


FORMULAS: dict[str, Callable[[Row, Sequence[int], Sequence[int]], float]] = {
    "logit_difference": lambda logits, answers, foils: mean(logits, answers) - mean(logits, foils),
    "probability_difference": lambda logits, answers, foils: probability(logits, answers) - probability(logits, foils),
    "log_probability": lambda logits, answers, foils: math.log(probability(logits, answers)),
}


def by_hand(name: str, logits: Tensor) -> Tensor:
    rows = zip(logits.tolist(), ANSWERS, FOILS, strict=True)
    return torch.tensor([FORMULAS[name](*row) for row in rows], dtype=torch.float64)


def batch(metric: str | MetricKind) -> CounterfactualBatch:
    draw = torch.Generator().manual_seed(3)
    clean, corrupt = (torch.randint(40, (3, 6), generator=draw) for _ in range(2))
    return CounterfactualBatch(
        clean_ids=clean, corrupt_ids=corrupt, answer_ids=TokenSet.of(ANSWERS).ids, foil_ids=TokenSet.of(FOILS).ids,
        position=torch.tensor([5, 4, 3]), metric=metric,
    )  # fmt: skip


def test_every_metric_is_held_against_a_formula() -> None:
    assert [*METRICS] == [*FORMULAS]


@pytest.mark.parametrize("name", FORMULAS)
def test_a_metric_is_its_formula(name: str) -> None:
    logits = 5 * torch.randn(2, 3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = batch(name).measure(logits.flatten(0, 1))  # two copies of the examples
    torch.testing.assert_close(found, torch.cat([by_hand(name, one) for one in logits]), rtol=1e-12, atol=1e-12)
    assert batch(name).measure(logits[0].bfloat16()).dtype == torch.float32
    torch.testing.assert_close(
        batch(name).measure(logits[0].bfloat16()), by_hand(name, logits[0].bfloat16()).float(), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", FORMULAS)
def test_tokens_that_a_model_rules_out_do_no_harm(name: str) -> None:
    """Token 0, which stands where sets are padded, has a logit of minus infinity."""
    logits = torch.randn(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    logits[:, 0] = float("-inf")
    logits.requires_grad_(True)
    found = batch(name).measure(logits)
    torch.testing.assert_close(found.detach(), by_hand(name, logits.detach()), rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    assert bool(slope.isfinite().all())


def test_only_one_whose_zero_means_neither_says_so() -> None:
    """With answers and foils of the same logits, a metric that says so is 0; exchanged, it changes its sign."""
    logits = torch.randn(3, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    answers, foils = TokenSet.of([[1], [2], [3]]), TokenSet.of([[4], [5], [6]])
    alike = logits.clone()
    alike[:, 4:7] = alike[:, 1:4]
    for kind in METRICS.values():
        exchanged = torch.allclose(kind.values(logits, answers, foils), -kind.values(logits, foils, answers))
        neither = bool((kind.values(alike, answers, foils) == 0).all())
        assert exchanged == neither == kind.indifferent_at_zero, kind.name


@dataclass(frozen=True)
class Moved:
    """Logits where one edge at a time carries a little of what it carries on the corrupted prompt, or the opposite.

    Attributes:
        columns: Numbers of the edges.
        up: Logits, [edges, examples, vocabulary]; `down` of the opposite.
    """

    model: Model
    slow: SlowModel
    columns: list[int]
    up: Tensor
    down: Tensor


STEP = 1e-5
READERS = ("m0", "m1", "logits")


@pytest.fixture(scope="module", params=["autoregressive", "masked_diffusion"])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Moved:
    folder = write_random_model("gpt2", tmp_path_factory.mktemp("gpt2"))
    model = load_model(folder, paradigm=request.param, dtype="float64", device="cpu")
    slow = SlowModel(folder, bidirectional=request.param == "masked_diffusion")
    given = batch("logit_difference")
    (clean, _), (corrupt, _) = (written(slow, ids) for ids in (given.clean_ids, given.corrupt_ids))
    graph, columns, ups, downs, column = Graph.of(slow.shape), [], [], [], 0
    for receiver in graph.receivers:
        if receiver.name in READERS:
            sources = [source.name for source in graph.sources[: receiver.sources]]
            columns += range(column, column + len(sources))
            change = STEP * torch.stack([corrupt[name] - clean[name] for name in sources])
            for sign, found in ((1, ups), (-1, downs)):
                found.append(slow_logits(slow, given.clean_ids, receiver.name, sign * change))
        column += receiver.sources
    return Moved(model, slow, columns, torch.cat(ups), torch.cat(downs))


def slow_logits(slow: SlowModel, ids: Tensor, receiver: str, change: Tensor) -> Tensor:
    """Logits where the batch is read, with a change of what a reader reads, [copies, examples, vocabulary]."""
    declared, copies = slow.declared, len(change)
    read = slow.at(declared.final_norm) if receiver == "logits" else slow.at(declared.mlp_norm, int(receiver[1:]))
    handle = read.register_forward_pre_hook(lambda module, inputs: (inputs[0] + change.flatten(0, 1),))
    try:
        with torch.no_grad():
            found = slow.logits(ids.repeat(copies, 1), torch.tensor([5, 4, 3] * copies))
    finally:
        handle.remove()
    return found.unflatten(0, (copies, len(ids)))


def plain_logits(slow: SlowModel, ids: Tensor) -> Tensor:
    return slow_logits(slow, ids, "m0", torch.zeros(1, *ids.shape, slow.shape.hidden_size))[0]


@pytest.mark.parametrize("name", FORMULAS)
def test_scores_are_finite_differences_of_the_formula(moved: Moved, name: str) -> None:
    """Edges to both MLPs and to the head: minus the change of the metric, over the step."""
    scores = attribute_edges(moved.model, batch(name), method="eap")
    clean = by_hand(name, plain_logits(moved.slow, batch(name).clean_ids))
    torch.testing.assert_close(scores.clean_metric, clean, rtol=1e-10, atol=1e-10)
    pairs = zip(moved.up, moved.down, strict=True)
    expected = torch.stack([-(by_hand(name, up) - by_hand(name, down)) / (2 * STEP) for up, down in pairs], dim=1)
    assert expected.shape == (3, 5 + 10 + 11) and float(expected.abs().max()) > 1e-3
    assert float((scores.values[:, moved.columns] - expected).abs().max()) <= 1e-7 * float(expected.abs().max())


def test_whole_and_empty_circuit_have_the_metric_of_both_prompts(moved: Moved) -> None:
    model, slow = moved.model, moved.slow
    given = batch("log_probability")
    found = evaluate_circuits(model, given, [list(Graph.of(model.shape).edges), []])
    for values, ids in zip(found, (given.clean_ids, given.corrupt_ids), strict=True):
        torch.testing.assert_close(values, by_hand("log_probability", plain_logits(slow, ids)), rtol=1e-9, atol=1e-9)


def own(measure: Any) -> MetricKind:
    return MetricKind(name="own", summary="a number", measure=measure, indifferent_at_zero=True)


def _mixed(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    return answers.sum(logits) - answers.sum(logits).mean()


def _log_of_zero(logits: Tensor, answers: TokenSet, foils: TokenSet) -> Tensor:
    return (0 * answers.sum(logits.softmax(1))).log()


WRONG: dict[str, tuple[Any, str]] = {
    "shape": (lambda logits, answers, foils: logits, r"is to give 3 numbers, .*; it gave a tensor of shape \[3, 40\]"),
    "mean": (lambda logits, answers, foils: logits.mean(), r"is to give 3 numbers, .*; it gave a tensor of shape \[\]"),
    "no tensor": (lambda logits, answers, foils: 1.0, "is to give 3 numbers, .*; it gave a float"),
    "whole numbers": (lambda logits, answers, foils: logits.argmax(1), "is to give 3 numbers, .*; it gave int64 num"),
    "not a number": (lambda logits, answers, foils: math.nan * answers.sum(logits), "is nan where all logits are fini"),
    "minus infinity": (_log_of_zero, "is -inf where all logits are finite"),
    "detached": (lambda logits, answers, foils: answers.sum(logits.detach()), "does not depend on the logits in a way"),
    "constant": (lambda logits, answers, foils: 0 * answers.sum(logits), "does not depend on the logits: all its der"),
    "mixed": (_mixed, "mixes prompts: the value of a row"),
    "no slope": (lambda logits, answers, foils: (0 * answers.sum(logits)).sqrt(), "has a gradient that is not finite"),
    "fails": (lambda logits, answers, foils: logits[:, 50], "fails: IndexError: index 50 is out of bounds"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_metric_that_is_none_is_refused_by_name(name: str) -> None:
    measure, message = WRONG[name]
    with pytest.raises(ExecutionError, match=f"the metric 'own' {message}"):
        try_metric(own(measure), TokenSet.of(ANSWERS), TokenSet.of(FOILS), vocabulary=40)


@pytest.mark.parametrize("name", ["shape", "whole numbers", "not a number", "detached"])
def test_it_is_refused_where_it_is_used_too(moved: Moved, name: str) -> None:
    measure, message = WRONG[name]
    with pytest.raises(ExecutionError, match=f"the metric 'own' {message}"):
        attribute_edges(moved.model, batch(own(measure)), method="eap")


def test_a_single_prompt_is_enough_to_try_a_metric() -> None:
    answers, foils = TokenSet.of([[1, 2]]), TokenSet.of([[3]])
    for kind in METRICS.values():
        try_metric(kind, answers, foils, vocabulary=40)
    with pytest.raises(ExecutionError, match="mixes prompts"):
        try_metric(own(_mixed), answers, foils, vocabulary=40)


def test_a_mask_holds_the_tokens_of_a_set() -> None:
    found = TokenSet.of(ANSWERS).mask(7)
    assert [row.nonzero()[:, 0].tolist() for row in found] == ANSWERS and found.shape == (3, 7)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"summary": ""}, "it has no `summary`"),
        ({"measure": 5}, "its `measure` is to be a function of logits, answers and foils, got 5"),
        ({"indifferent_at_zero": None}, "its `indifferent_at_zero` is to be True or False, got None"),
        ({"name": "Own one"}, "expected a name of lower-case letters"),
        ({"name": "logit_difference"}, "there is one of that name already, from mechshift"),
    ],
)
def test_an_inconsistent_metric_is_not_registered(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(KindError, match=message):
        METRICS.add(replace(own(_mixed), **changed), origin="here")


def test_in_python_a_metric_need_not_be_registered(moved: Moved) -> None:
    summed = own(lambda logits, answers, foils: answers.sum(logits) - foils.sum(logits))
    single = replace(batch(summed), answer_ids=torch.tensor([1, 3, 4]), foil_ids=torch.tensor([20, 21, 23]))
    expected = attribute_edges(moved.model, replace(single, metric="logit_difference"), method="eap-ig", steps=2)
    torch.testing.assert_close(attribute_edges(moved.model, single, method="eap-ig", steps=2).values, expected.values)
