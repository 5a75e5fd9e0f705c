from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toy_recipe import toy_model
from transformers import PreTrainedTokenizerFast

from mechshift_core.zoo.corpus import Pool, pool
from mechshift_core.zoo.losses import causal_loss, diffusion_loss

MASK = 2


class Draws:
    """A generator whose draws for an example and a position do not depend on how wide the batch is padded."""

    def __init__(self, seed: int, *, chosen: int | None = None) -> None:
        self.seed, self.chosen = seed, chosen

    def random(self, shape: int | tuple[int, ...]) -> Any:
        shape = (shape,) if isinstance(shape, int) else shape
        full = np.random.default_rng([self.seed, len(shape)]).random([8, *(1 if n == 1 else 48 for n in shape[1:])])
        return full[tuple(slice(n) for n in shape)]

    def integers(self, low: int, high: Any) -> Any:
        if self.chosen is not None:
            return np.full(len(high), self.chosen)
        return low + np.floor(np.random.default_rng(self.seed).random(8)[: len(high)] * (high - low)).astype(int)


def batch_of(tokenizer: PreTrainedTokenizerFast, *, padding: int = 0, junk: bool = False) -> Pool:
    """Six examples of different lengths, with `padding` more columns, of the padding token or of words."""
    pools = [pool(task, 2, tokenizer, seed=3) for task in ("ioi", "countdown", "greater_than")]
    lengths = np.concatenate([p.lengths for p in pools])
    ids = np.zeros((6, int(lengths.max()) + padding), dtype=np.int64)
    if junk:
        ids += np.random.default_rng(0).integers(3, 200, ids.shape)
    for row, source in enumerate(ids for p in pools for ids in p.ids):
        ids[row, : lengths[row]] = source[: lengths[row]]
    return Pool(ids, np.concatenate([p.prompt_lengths for p in pools]), lengths)


def slow_diffusion_loss(
    model: torch.nn.Module, batch: Pool, draws: Draws, *, openness: float, masked_prompts: float
) -> tuple[float, int]:
    """Example by example, without padding."""
    loss, total = 0.0, 0
    starts = [1 if u < masked_prompts else int(p) for u, p in zip(draws.random(6), batch.prompt_lengths, strict=True)]
    counts = np.array([int(n) - start for n, start in zip(batch.lengths, starts, strict=True)])
    for row, chosen in enumerate(draws.integers(1, counts + 1)):
        length = int(batch.lengths[row])
        noise = draws.random((6, 48))[row]
        masked = sorted(range(starts[row], length), key=lambda at: noise[at])[:chosen]
        ids = torch.tensor(batch.ids[row, :length])
        shown = ids.clone()
        shown[masked] = MASK
        opened = draws.random((6, 1, 48, 48))[row, 0]
        attend = torch.tensor([[key <= query or openness == 1 or opened[query, key] < openness
                                for key in range(length)] for query in range(length)])  # fmt: skip
        logits = model(input_ids=shown[None], attention_mask=attend[None, None]).logits[0]
        for at in masked:
            loss += -logits[at - 1].log_softmax(-1)[ids[at]].item() * int(counts[row]) / int(chosen)
        total += int(counts[row])
    return loss, total


def test_the_causal_loss_is_the_sum_over_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    model, batch = toy_model(tokenizer), batch_of(tokenizer)
    loss, weight = 0.0, 0.0
    for row in range(6):
        ids = torch.tensor(batch.ids[row, : batch.lengths[row]])
        logits = model(input_ids=ids[None]).logits[0]
        for at in range(1, len(ids)):
            share = 1.0 if at >= batch.prompt_lengths[row] else 0.25
            loss += share * -logits[at - 1].log_softmax(-1)[ids[at]].item()
            weight += share
    fast = causal_loss(model, batch, prompt_weight=0.25)
    assert [value.item() for value in fast] == pytest.approx([loss, weight], rel=1e-5)


@pytest.mark.parametrize("openness", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("masked_prompts", [0.0, 0.5, 1.0])
def test_the_diffusion_loss_is_the_sum_over_masked_tokens(
    openness: float, masked_prompts: float, tokenizer: PreTrainedTokenizerFast
) -> None:
    model, batch = toy_model(tokenizer), batch_of(tokenizer)
    settings = {"openness": openness, "masked_prompts": masked_prompts}
    for seed in range(3):
        fast = diffusion_loss(model, batch, Draws(seed), mask_id=MASK, **settings)  # type: ignore[arg-type]
        slow = slow_diffusion_loss(model, batch, Draws(seed), **settings)
        assert [value.item() for value in fast] == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("junk", [False, True])
@pytest.mark.parametrize("openness", [0.0, 0.4, 1.0])
def test_no_loss_depends_on_the_padding(openness: float, junk: bool, tokenizer: PreTrainedTokenizerFast) -> None:
    model = toy_model(tokenizer)

    def losses(batch: Pool) -> list[float]:
        causal = causal_loss(model, batch, prompt_weight=0.1)
        options: Any = {"openness": openness, "masked_prompts": 0.5, "mask_id": MASK}
        return [v.item() for v in (*causal, *diffusion_loss(model, batch, Draws(0), **options))]  # type: ignore[arg-type]

    assert losses(batch_of(tokenizer, padding=7, junk=junk)) == pytest.approx(losses(batch_of(tokenizer)), rel=1e-5)


@pytest.mark.parametrize("openness", [0.0, 0.4, 1.0])
def test_real_tokens_see_all_before_them_some_after_them_and_no_padding(
    openness: float, tokenizer: PreTrainedTokenizerFast
) -> None:
    seen: list[torch.Tensor] = []

    def model(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        seen.append(attention_mask)
        return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 250))

    batch = batch_of(tokenizer, padding=5)
    rng = np.random.default_rng(0)
    diffusion_loss(model, batch, rng, openness=openness, masked_prompts=0.1, mask_id=MASK)  # type: ignore[arg-type]
    opened = []
    for row, length in enumerate(batch.lengths.tolist()):
        attend = seen[0].expand(6, -1, -1, -1)[row, 0]
        assert attend.dtype == torch.bool
        assert not attend[:length, length:].any()
        assert attend.any(1).all(), "a query that sees nothing has no defined attention"
        assert attend[:length, :length].tril().sum() == length * (length + 1) // 2
        opened += attend[*torch.triu_indices(length, length, offset=1)].tolist()
    assert abs(np.mean(opened) - openness) < 4 * math.sqrt(openness * (1 - openness) / len(opened)) + 1e-9


@pytest.mark.parametrize(("openness", "sees_right"), [(0.0, False), (1.0, True)])
def test_attention_is_causal_when_closed_and_bidirectional_when_open(
    openness: float, sees_right: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = toy_model(tokenizer)
    logits: list[torch.Tensor] = []
    model.register_forward_hook(lambda _, __, output: logits.append(output.logits))
    batch = batch_of(tokenizer)
    changed = Pool(batch.ids.copy(), batch.prompt_lengths, batch.lengths)
    changed.ids[:, 3] = tokenizer.convert_tokens_to_ids("Mary")  # a token of every prompt, so never masked
    for each in (batch, changed):
        diffusion_loss(model, each, Draws(0), openness=openness, masked_prompts=0.0, mask_id=MASK)  # type: ignore[arg-type]
    moved = (logits[0] - logits[1]).abs().amax((0, 2))
    assert bool((moved[:3] > 1e-3).all()) == sees_right
    assert (moved[:3] == 0).all() or sees_right
    assert (moved[3:6] > 1e-3).all()


def test_masking_by_count_has_the_expectation_of_masking_by_rate() -> None:
    """Both by enumeration, for a model whose loss at a token is an arbitrary function of all that is masked."""
    tokens = 3
    subsets = [s for size in range(1, tokens + 1) for s in itertools.combinations(range(tokens), size)]
    losses = {subset: np.random.default_rng([7, *subset]).uniform(0.5, 3, tokens) for subset in subsets}
    prompt, length = 2, 2 + tokens

    def model(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        masked = tuple(at - prompt for at in range(prompt, length) if input_ids[0, at] == MASK)
        logits = torch.zeros(1, length, 2, dtype=torch.float64)
        for at in masked:  # two classes, the first of which is right with probability exp(-loss)
            right = math.exp(-losses[masked][at])
            logits[0, prompt + at - 1] = torch.tensor([math.log(right), math.log(1 - right)])
        return SimpleNamespace(logits=logits)

    class Enumerated:
        def __init__(self, chosen: int, order: tuple[int, ...]) -> None:
            self.chosen, self.order = chosen, order

        def random(self, shape: Any) -> Any:
            if isinstance(shape, int):
                return np.ones(shape)
            return np.array([[0.5] * prompt + [place / tokens for place in self.order]])

        def integers(self, low: int, high: Any) -> Any:
            assert low == 1 and high.tolist() == [tokens + 1]
            return np.array([self.chosen])

    batch = Pool(np.zeros((1, length), dtype=np.int64), np.array([prompt]), np.array([length]))
    by_count = [
        diffusion_loss(model, batch, Enumerated(k, order), openness=1.0, masked_prompts=0.0, mask_id=MASK)  # type: ignore[arg-type]
        for k in range(1, tokens + 1) for order in itertools.permutations(range(tokens))
    ]  # fmt: skip
    expected_by_count = np.mean([(loss / total).item() for loss, total in by_count])

    nodes, node_weights = np.polynomial.legendre.leggauss(8)  # exact: the integrand is a polynomial in t
    rates, shares = (nodes + 1) / 2, node_weights / 2
    by_rate = sum(
        share / t * t ** len(subset) * (1 - t) ** (tokens - len(subset)) * sum(losses[subset][at] for at in subset)
        for t, share in zip(rates, shares, strict=True) for subset in subsets
    )  # fmt: skip
    assert expected_by_count == pytest.approx(by_rate / tokens, rel=1e-6)
