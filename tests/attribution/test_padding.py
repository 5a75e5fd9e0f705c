"""A padded batch gives what its prompts give one by one, whatever is asked of it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import FAMILIES, write_random_model
from torch import Tensor
from torch.nn import functional

from mechshift_core import CounterfactualBatch, attribute_edges, evaluate_circuits, load_model
from mechshift_core.attribution import patch_nodes
from mechshift_core.attribution.edges import Method
from mechshift_core.components.streams import streams_read
from mechshift_core.graph import Graph
from mechshift_core.interventions.attention.mass import attention_mass
from mechshift_core.interventions.logit_lens.lens import read_lens
from mechshift_core.interventions.neurons.scores import neuron_scores
from mechshift_core.models import Model

LENGTHS, WIDTH = (7, 4, 6), 9
PARADIGMS = ("autoregressive", "masked_diffusion")
SIDES = ("left", "right")


EVERY_RUN = ("gpt2-autoregressive", "gpt2-masked_diffusion", "mistral-autoregressive", "gemma3_text-masked_diffusion")
"""Learned positions, sliding windows and both paradigms; the others are behind the marker `nightly`."""

QUICK = (("gpt2", "eager"), ("gemma3_text", "sdpa"))
"""Families and attention kernels of every run."""


def models() -> list[Any]:
    every = [(family, paradigm) for family in FAMILIES for paradigm in PARADIGMS]
    return [
        pytest.param(one, id="-".join(one), marks=() if "-".join(one) in EVERY_RUN else pytest.mark.nightly)
        for one in every
    ]


@pytest.fixture(scope="module", params=models())
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    family, paradigm = request.param
    return load_model(write_random_model(family, tmp_path_factory.mktemp(family)), paradigm=paradigm, device="cpu")


@pytest.fixture(scope="module")
def prompts() -> list[CounterfactualBatch]:
    """Prompts of several lengths, each alone and unpadded; the last but one position is read."""
    draw = torch.Generator().manual_seed(5)
    found = []
    for number, length in enumerate(LENGTHS):
        clean = torch.randint(40, (1, length), generator=draw)
        corrupt = clean.clone()
        corrupt[0, 1] = (clean[0, 1] + 7) % 40
        answers = torch.tensor([number]), torch.tensor([number + 20])
        found.append(
            CounterfactualBatch(
                clean_ids=clean, corrupt_ids=corrupt, answer_ids=answers[0], foil_ids=answers[1], position=length - 2
            )
        )
    return found


def padded(prompts: list[CounterfactualBatch], side: str) -> CounterfactualBatch:
    """One batch of all, with other garbage in the padding of the clean and of the corrupted prompts."""

    def rows(name: str, fill: int) -> Tensor:
        result = torch.full((len(prompts), WIDTH), fill)
        for row, one in zip(result, prompts, strict=True):
            ids = getattr(one, name)[0]
            row[columns(len(ids), side)] = ids
        return result

    mask = torch.zeros(len(prompts), WIDTH, dtype=torch.long)
    lengths = [one.clean_ids.shape[1] for one in prompts]
    for row, length in zip(mask, lengths, strict=True):
        row[columns(length, side)] = 1
    starts = torch.tensor([columns(length, side).start for length in lengths])
    return CounterfactualBatch(
        clean_ids=rows("clean_ids", 3),
        corrupt_ids=rows("corrupt_ids", 39),
        answer_ids=torch.cat([one.answer_ids for one in prompts]),
        foil_ids=torch.cat([one.foil_ids for one in prompts]),
        position=starts + torch.tensor(lengths) - 2,
        attention_mask=mask,
    )


def padded_right(prompts: list[CounterfactualBatch]) -> CounterfactualBatch:
    """One batch as wide as the longest prompt, each read where it is read alone."""
    lengths = [one.clean_ids.shape[1] for one in prompts]
    short = [max(lengths) - length for length in lengths]
    wide = {
        name: torch.cat(
            [functional.pad(getattr(one, name), (0, by), value=7) for one, by in zip(prompts, short, strict=True)]
        )
        for name in ("clean_ids", "corrupt_ids")
    }
    return CounterfactualBatch(
        **wide,
        answer_ids=torch.cat([one.answer_ids for one in prompts]),
        foil_ids=torch.cat([one.foil_ids for one in prompts]),
        position=torch.cat([torch.as_tensor(one.position) for one in prompts]),
        attention_mask=(torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long(),
    )


def columns(length: int, side: str) -> slice:
    return slice(0, length) if side == "right" else slice(WIDTH - length, WIDTH)


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert float((found - expected).abs().max()) <= 2e-5 * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("side", SIDES)
def test_scores_are_those_of_each_prompt_alone(model: Model, prompts: list[CounterfactualBatch], side: str) -> None:
    batch = padded(prompts, side)
    methods: list[tuple[Method, dict[str, Any]]] = [
        ("eap", {}), ("eap-ig", {"steps": 3}), ("clean-corrupted", {}), ("exact", {}),
    ]  # fmt: skip
    for method, options in methods:
        found = attribute_edges(model, batch, method=method, **options)
        alone = [attribute_edges(model, one, method=method, **options) for one in prompts]
        assert_same(found.values, torch.cat([one.values for one in alone]))
        assert_same(found.clean_metric, torch.cat([one.clean_metric for one in alone]))
        assert_same(found.corrupt_metric, torch.cat([one.corrupt_metric for one in alone]))
        assert torch.equal(found.predicted, torch.cat([one.predicted for one in alone]))


@pytest.mark.parametrize("side", SIDES)
def test_patched_runs_are_those_of_each_prompt_alone(
    model: Model, prompts: list[CounterfactualBatch], side: str
) -> None:
    batch, edges = padded(prompts, side), list(Graph.of(model.shape).edges)
    circuits = [edges, edges[::2], edges[:1]]
    for ablation in ("counterfactual", "zero"):
        nodes = [["a0.h1"], ["m0", "a1.h2"], ["x1"], ["input"]]
        found = evaluate_circuits(model, batch, circuits, ablation=ablation)  # type: ignore[arg-type]
        alone = [evaluate_circuits(model, one, circuits, ablation=ablation) for one in prompts]  # type: ignore[arg-type]
        assert_same(found, torch.cat(alone, dim=1))
        found = patch_nodes(model, batch, nodes, ablation=ablation)  # type: ignore[arg-type]
        assert_same(found, torch.cat([patch_nodes(model, one, nodes, ablation=ablation) for one in prompts], dim=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("side", SIDES)
def test_what_components_read_is_that_of_each_prompt_alone(
    model: Model, prompts: list[CounterfactualBatch], side: str
) -> None:
    batch = padded(prompts, side)
    assert_same(streams_read(model, batch), torch.cat([streams_read(model, one) for one in prompts]))
    lens, lenses = read_lens(model, batch), [read_lens(model, one) for one in prompts]
    assert_same(lens.direct, torch.cat([one.direct for one in lenses]))
    assert_same(lens.components.entropy, torch.cat([one.components.entropy for one in lenses]))
    neurons, alone = neuron_scores(model, batch), [neuron_scores(model, one) for one in prompts]
    assert_same(neurons.values, torch.cat([one.values for one in alone]))
    assert_same(neurons.activations, torch.cat([one.activations for one in alone]))
    starts = torch.tensor([columns(length, side).start for length in LENGTHS])[:, None, None]
    assert torch.equal(neurons.positions, torch.cat([one.positions for one in alone]) + starts)


@pytest.mark.parametrize("side", SIDES)
def test_attention_and_scores_by_role_are_those_of_each_prompt_alone(
    model: Model, prompts: list[CounterfactualBatch], side: str
) -> None:
    batch = padded(prompts, side)
    of_prompts = [torch.arange(length)[None] % 3 for length in LENGTHS]
    roles = torch.full((len(LENGTHS), WIDTH), 2)
    for row, own in zip(roles, of_prompts, strict=True):
        row[columns(own.shape[1], side)] = own[0]
    found = attention_mass(model, batch, roles, count=3)
    alone = [attention_mass(model, one, own, count=3) for one, own in zip(prompts, of_prompts, strict=True)]
    for name in ("mass", "uniform", "queries"):
        assert_same(getattr(found, name), torch.cat([getattr(one, name) for one in alone]))
    scores = attribute_edges(model, batch, roles=roles).by_role
    expected = [attribute_edges(model, one, roles=own).by_role for one, own in zip(prompts, of_prompts, strict=True)]
    assert scores is not None
    assert_same(scores, torch.cat([one for one in expected if one is not None]))


@pytest.mark.parametrize("side", SIDES)
def test_logits_are_those_of_each_prompt_alone(model: Model, prompts: list[CounterfactualBatch], side: str) -> None:
    batch = padded(prompts, side)
    found = model.logits(batch.clean_ids, batch.attention_mask)
    for row, one in zip(found, prompts, strict=True):
        length = one.clean_ids.shape[1]
        assert_same(row[columns(length, side)], model.logits(one.clean_ids)[0])


@cache
def in_double(family: str, paradigm: str, attention: str | None) -> Model:
    with tempfile.TemporaryDirectory() as name:
        folder = write_random_model(family, Path(name))
        return load_model(folder, paradigm=paradigm, dtype="float64", attention=attention, device="cpu")


@st.composite
def mixed_prompts(draw: st.DrawFn) -> list[CounterfactualBatch]:
    """One to four prompts alone, of lengths up to the longest that the models know, each read somewhere."""
    found = []
    for length in draw(st.lists(st.integers(2, 9) | st.sampled_from([8, 9, 31]), min_size=1, max_size=4)):
        token = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
        clean, corrupt = torch.randint(40, (2, 1, length), generator=token)
        answer, foil = torch.tensor([[1, 2]]), torch.tensor([[3, -1]])
        at = draw(st.integers(0, length - 1))
        found.append(
            CounterfactualBatch(clean_ids=clean, corrupt_ids=corrupt, answer_ids=answer, foil_ids=foil, position=at)
        )
    return found


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("family", "paradigm", "attention"),
    [
        pytest.param(family, paradigm, kernel, marks=() if (family, kernel) in QUICK else pytest.mark.nightly)
        for family in FAMILIES
        for paradigm in PARADIGMS
        for kernel in ("sdpa", "eager")
        if (family, kernel) != ("gemma2", "sdpa")
    ],
)
@settings(max_examples=6)
@given(prompts=mixed_prompts())
def test_in_float64_nothing_is_off_by_more_than_its_rounding(
    family: str, paradigm: str, attention: str, prompts: list[CounterfactualBatch]
) -> None:
    model = in_double(family, paradigm, attention)
    edges, nodes = list(Graph.of(model.shape).edges), [["a0.h1"], ["m0", "x1"], ["input"]]

    def measured(batch: CounterfactualBatch) -> list[Tensor]:
        """Everything that is asked of a batch, examples first."""
        scores, lens = attribute_edges(model, batch, steps=2), read_lens(model, batch)
        neurons = neuron_scores(model, batch)
        looked = attention_mass(model, batch, torch.zeros_like(batch.clean_ids), count=1)
        found = [scores.values, scores.clean_metric, scores.corrupt_metric, neurons.values, neurons.activations]
        found += [lens.direct, lens.streams.log_prob, lens.components.entropy, streams_read(model, batch)]
        found += [looked.mass, looked.uniform, looked.queries]
        for ablation in ("counterfactual", "zero"):
            found.append(evaluate_circuits(model, batch, [edges[::2], []], ablation=ablation).T)  # type: ignore[arg-type]
            found.append(patch_nodes(model, batch, nodes, ablation=ablation).T)  # type: ignore[arg-type]
        return found

    alone = [torch.cat(parts) for parts in zip(*map(measured, prompts), strict=True)]
    for found, expected in zip(measured(padded_right(prompts)), alone, strict=True):
        assert float((found - expected).abs().max()) <= 1e-9 * max(1.0, float(expected.abs().max()))


@pytest.fixture
def batch(prompts: list[CounterfactualBatch]) -> CounterfactualBatch:
    return padded(prompts, "right")


def test_reading_padding_is_refused_with_what_to_give(batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match=r"read is padding; .*attention_mask\.sum\(1\) - 1.* \(example 0, 1, 2"):
        replace(batch, position=-1)
    with pytest.raises(ValueError, match=r"position read is padding.* \(example 1\)"):
        replace(batch, position=5)


def test_padding_between_tokens_is_refused(batch: CounterfactualBatch) -> None:
    mask = batch.attention_mask.clone() if batch.attention_mask is not None else torch.empty(0)
    mask[2, 1] = 0
    with pytest.raises(ValueError, match=r"padding between tokens.*\(example 2\)"):
        replace(batch, attention_mask=mask)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mask: mask[:, :5], r"attention_mask must be \[3, 9\], like clean_ids; it is \[3, 5\]"),
        (lambda mask: mask * 2, "must be 1 where there is a token and 0"),
        (lambda mask: mask.float() - 0.5, "must be 1 where there is a token and 0"),
        (lambda mask: mask * torch.tensor([[1], [0], [1]]), r"no token at all \(example 1\)"),
    ],
)
def test_a_mask_that_says_nothing_about_padding_is_refused(
    batch: CounterfactualBatch, change: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(batch, attention_mask=change(batch.attention_mask))


def test_padding_may_hold_any_number(batch: CounterfactualBatch) -> None:
    filled = batch.clean_ids.masked_fill(~batch.present, -100)
    assert torch.equal(replace(batch, clean_ids=filled).clean_ids, batch.clean_ids.masked_fill(~batch.present, 0))


@pytest.fixture
def gpt2(tmp_path: Path) -> Model:
    return load_model(write_random_model("gpt2", tmp_path), device="cpu")


def test_resampled_values_need_prompts_that_are_padded_alike(gpt2: Model, batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match="position by position, and these are padded differently"):
        patch_nodes(gpt2, batch, [["m0"]], ablation="resample")
    with pytest.raises(ValueError, match="position by position, and these are padded differently"):
        evaluate_circuits(gpt2, batch, [[]], ablation="resample")


def test_the_mean_of_a_position_that_one_example_has_is_refused(gpt2: Model, batch: CounterfactualBatch) -> None:
    with pytest.raises(ValueError, match="only one has a position 6"):
        patch_nodes(gpt2, batch, [["m0"]], ablation="mean")


def test_means_are_taken_by_position_on_whichever_side_padding_is(
    gpt2: Model, prompts: list[CounterfactualBatch]
) -> None:
    twice = [*prompts, *(replace(one, clean_ids=one.clean_ids.flip(1)) for one in prompts)]
    left, right = (patch_nodes(gpt2, padded(twice, side), [["a0.h1"], ["m1"]], ablation="mean") for side in SIDES)
    assert_same(left, right)
    alone = [patch_nodes(gpt2, one, [["a0.h1"], ["m1"]], ablation="zero") for one in twice]
    assert float((left - torch.cat(alone, dim=1)).abs().max()) > 1e-3
