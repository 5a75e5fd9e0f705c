from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toy_recipe import TOY, toy_model, toy_recipe
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from mechshift_core.models.load import load_tokenizer
from mechshift_core.tasks import TASKS
from mechshift_core.zoo import train
from mechshift_core.zoo.corpus import Pool, draw_batch, exercises, pool
from mechshift_core.zoo.recipes import PairRecipe
from mechshift_core.zoo.train import causal_loss, diffusion_loss, train_pair

MODELS = ("arm", "mdm", "arm-continued")
MASK = 2


class PowerCutError(Exception):
    """The power is cut."""


def weights(folder: Path) -> list[bytes]:
    return [(folder / model / "model.safetensors").read_bytes() for model in MODELS]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy pair, trained without interruption."""
    folder = tmp_path_factory.mktemp("trained")
    train_pair(toy_recipe(), folder)
    return folder


# Training as a whole


def test_training_is_determined_by_the_seed(trained: Path, tmp_path: Path) -> None:
    train_pair(toy_recipe(), tmp_path / "again")
    assert weights(tmp_path / "again") == weights(trained)
    train_pair(toy_recipe(seed=1), tmp_path / "other")
    assert not set(weights(tmp_path / "other")) & set(weights(trained))
    assert len(set(weights(trained))) == 3, "three different models"


@pytest.mark.parametrize(("phase", "at"), [("arm", 1), ("arm", 3), ("mdm", 4), ("arm-continued", 5)])
def test_an_interrupted_training_ends_with_the_same_bits(
    phase: str, at: int, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)

    def cut(now: str, step: int, steps: int, loss: float) -> None:
        if (now, step) == (phase, at):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        train_pair(toy_recipe(), tmp_path, progress=cut)
    seen: list[tuple[str, int]] = []
    train_pair(toy_recipe(), tmp_path, progress=lambda now, step, steps, loss: seen.append((now, step)))
    assert weights(tmp_path) == weights(trained)
    rest = [(phase, step) for step in range((at - 1) // 2 * 2 + 1, 6)]
    assert seen[: len(rest)] == rest, "it goes on after the last saved step"
    assert {name for name, _ in seen} == set(MODELS[MODELS.index(phase) :])


def test_an_interruption_while_a_state_is_written_loses_only_that_state(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 2)
    write = Path.replace
    moved: list[str] = []

    def replace(self: Path, target: Path) -> Path:
        moved.append(self.name)
        if len(moved) == 2:
            self.write_bytes(b"half")
            raise PowerCutError
        return write(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PowerCutError):
        train_pair(toy_recipe(), tmp_path)
    train_pair(toy_recipe(), tmp_path)
    assert weights(tmp_path) == weights(trained)


def test_an_interruption_before_the_evaluation_repeats_no_more_than_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "SAVE_EVERY", 5)

    def fail(*arguments: object, **options: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(train, "accuracies", fail)
        with pytest.raises(PowerCutError):
            train_pair(toy_recipe(), tmp_path)
    seen = []
    train_pair(toy_recipe(), tmp_path, progress=lambda now, *_: seen.append(now))
    assert weights(tmp_path) == weights(trained) and "arm" not in seen


def test_a_pair_that_is_complete_is_not_trained_again(trained: Path) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it trains")

    before = weights(trained)
    assert set(train_pair(toy_recipe(), trained, progress=fail)) == set(MODELS)
    assert weights(trained) == before


def test_a_folder_of_another_recipe_is_refused_and_left_alone(trained: Path) -> None:
    before = weights(trained)
    with pytest.raises(ValueError, match=r"holds models of another recipe \(.*recipe\.json\); train into another"):
        train_pair(toy_recipe(pool=51), trained)
    assert weights(trained) == before
    train_pair(toy_recipe(), trained)


def test_both_continuations_start_from_the_stored_arm(tmp_path: Path) -> None:
    still = {"steps": 1, "warmup": 0, "learning_rate": 1e-12, "weight_decay": 0.0}
    train_pair(toy_recipe(diffusion=still), tmp_path)
    arm, mdm, continued = weights(tmp_path)
    assert arm == mdm == continued


def test_the_control_is_trained_on_from_the_arm_and_knows_nothing_of_the_mdm(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "PHASES", {name: at for name, at in train.PHASES.items() if name != "mdm"})
    train_pair(toy_recipe(), tmp_path)
    for model in ("arm", "arm-continued"):
        assert (tmp_path / model / "model.safetensors").read_bytes() == weights(trained)[MODELS.index(model)]


def test_every_step_of_every_phase_has_its_own_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def spy(*arguments: Any) -> list[Pool]:
        drawn = draw_batch(*arguments)
        seen.append(b"".join(group.ids.tobytes() for group in drawn))
        return drawn

    monkeypatch.setattr(train, "draw_batch", spy)
    train_pair(toy_recipe(), tmp_path)
    assert len(seen) == len(set(seen)) == 15


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_folder_is_whole_and_in_half_precision(model: str, trained: Path) -> None:
    folder = trained / model
    assert {path.name for path in folder.iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json",
        "evaluation.json",
    }  # fmt: skip
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert json.loads((folder / "config.json").read_text())["is_causal"] == (model != "mdm")
    assert PairRecipe.model_validate_json((folder / "training.json").read_text()) == toy_recipe()
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert (evaluation["model"], evaluation["prompts_per_task"]) == (model, TOY["evaluation"])
    assert evaluation["held_out"].keys() == evaluation["seen"].keys() == TOY["batch"].keys()
    AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    assert tokenizer is not None and tokenizer.mask_token_id == MASK


def test_what_is_evaluated_is_what_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[dict[str, torch.Tensor], bool, bool, int]] = []

    def spy(model: Any, *_: object, count: int, seed: int, held_out: bool) -> dict[str, float]:
        calls.append((model.state_dict(), model.training, held_out, count))
        return {"ioi": len(calls) / 10}

    monkeypatch.setattr(train, "accuracies", spy)
    results = train_pair(toy_recipe(), tmp_path)
    assert [call[1:] for call in calls] == [(False, held_out, 3) for _ in MODELS for held_out in (True, False)]
    assert results == {"arm": {"ioi": 0.1}, "mdm": {"ioi": 0.3}, "arm-continued": {"ioi": 0.5}}
    for model, (state, *_) in zip(MODELS, calls[::2], strict=True):
        stored = load_file(tmp_path / model / "model.safetensors")
        assert state.keys() == stored.keys()
        assert all(torch.equal(state[name], stored[name].float()) for name in stored)


def test_attention_opens_over_the_annealed_share_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def spy(*arguments: Any, openness: float, **options: Any) -> Any:
        seen.append(openness)
        return diffusion_loss(*arguments, openness=openness, **options)

    monkeypatch.setattr(train, "diffusion_loss", spy)
    train_pair(toy_recipe(batch={"ioi": 2}), tmp_path)
    assert seen == [0.0, 0.5, 1.0, 1.0, 1.0]


def test_the_learning_rate_rises_linearly_and_falls_to_a_tenth() -> None:
    rates = [train._schedule(step, toy_recipe().pretrain.model_copy(update={"steps": 102})) for step in range(102)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[52] == pytest.approx(0.55) and rates[101] == pytest.approx(0.1, abs=1e-3)
    assert rates[2:] == sorted(rates[2:], reverse=True)


# The corpus


def test_a_pool_holds_prompts_and_completions_padded_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    for task in TASKS:
        drawn = exercises(task, 20, seed=5, held_out=False)
        stored = pool(task, 20, tokenizer, seed=5)
        for row, exercise in enumerate(drawn):
            prompt, length = int(stored.prompt_lengths[row]), int(stored.lengths[row])
            assert stored.ids[row, :prompt].tolist() == tokenizer(exercise.prompt)["input_ids"]
            assert stored.ids[row, prompt:length].tolist() == tokenizer(exercise.completion)["input_ids"]
            assert (stored.ids[row, length:] == tokenizer.pad_token_id).all()


def test_a_step_draws_as_many_examples_of_a_task_as_the_recipe_says(tokenizer: PreTrainedTokenizerFast) -> None:
    pools = {task: pool(task, 30, tokenizer, seed=0) for task in TASKS}
    sizes = {"ioi": 3, "greater_than": 2, "countdown": 5, "infilling": 1, "sudoku": 4}
    groups = draw_batch(pools, sizes, np.random.default_rng(0))
    assert len(groups) == 2
    origins = {
        tuple(source.ids[row, : source.lengths[row]].tolist()): task
        for task, source in pools.items() for row in range(30)
    }  # fmt: skip
    found = [
        origins[tuple(group.ids[row, : group.lengths[row]].tolist())]
        for group in groups for row in range(len(group.ids))
    ]  # fmt: skip
    assert {task: found.count(task) for task in sizes} == sizes
    for seed in range(30):
        for group in draw_batch(pools, {"ioi": 1, "infilling": 1, "sudoku": 1}, np.random.default_rng(seed)):
            assert group.ids.shape[1] == group.lengths.max()


# The losses


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
