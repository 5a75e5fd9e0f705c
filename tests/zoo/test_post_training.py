"""Post-training a pretrained model: what is learnt, that it can be interrupted, and what it leaves behind."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import FAMILIES, write_random_model
from torch.nn import functional

from mechshift_core import load_model
from mechshift_core.cli.main import main
from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.models.modules import load_module
from mechshift_core.spec import SpecError
from mechshift_core.zoo.post_training import train as training
from mechshift_core.zoo.post_training.evaluate import InTraining, perplexity
from mechshift_core.zoo.post_training.losses import Target, bucket_loss, causal_target, diffusion_target, openings
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe, Text, load_any_recipe
from mechshift_core.zoo.post_training.results import read_curve
from mechshift_core.zoo.post_training.sentences import Sentence, buckets, sentences_of, text_sequences
from mechshift_core.zoo.post_training.train import post_train
from mechshift_core.zoo.storage import read_evaluation

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

RECIPE = """\
schema: mechshift-pair/v1
name: toy
base: base
mask_token: "<|mask|>"
lora: {rank: 2}
batch: {ioi: 2, infilling/at_blank: 1}
text: {per_batch: 1, length: 12, samples: 12}
pool: 6
diffusion: {steps: 6, warmup: 1, annealing: 0.5, masked_prompts: 0.5}
evaluation: {prompts: 3, every: 3, curve_prompts: 2}
threads: 1
"""


@cache
def tokenizer_text() -> str:
    """A byte-level BPE in which most words of the natural banks are one token, and one that nothing is written with."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    from mechshift_core.tasks import TASKS
    from mechshift_core.tasks.banks import NATURAL, banks_of

    rng = np.random.default_rng(0)
    drawn = [banks_of(TASKS[name])[NATURAL].exercise(rng) for name in ("ioi", "infilling") for _ in range(300)]
    banks = [banks_of(TASKS[name])[NATURAL].bank for name in ("ioi", "infilling")]
    listed = [f" {word}" for bank in banks for words in bank.lists.values() for word in words]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]+|\s+"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<|end|>", "<|mask|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator([*(f"{one.prompt} {one.completion}" for one in drawn), *listed * 3], trainer)
    return str(backend.to_str())


def write_base(folder: Path) -> Path:
    """A random Llama that has words for the natural tasks."""
    from tokenizers import Tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer.from_str(tokenizer_text())
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=backend.get_vocab_size(), hidden_size=16, intermediate_size=24, num_attention_heads=2,
        num_key_value_heads=1, num_hidden_layers=1, max_position_embeddings=400, initializer_range=0.2,
        bos_token_id=None, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>").save_pretrained(folder)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> PostTrainingRecipe:
    write_base(tmp_path / "base")
    return read(tmp_path, RECIPE)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def read(folder: Path, text: str) -> PostTrainingRecipe:
    (folder / "toy.yaml").write_text(text)
    found = load_any_recipe(folder / "toy.yaml")
    assert isinstance(found, PostTrainingRecipe)
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(next(iter(folder.glob("*.safetensors"))))


def test_it_leaves_adapters_that_load_beside_their_base(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    found = post_train(recipe, tmp_path / "out")
    assert found.keys() == {"mdm", "arm-continued"} and "infilling/at_blank" not in found["arm-continued"]
    base = load_model(tmp_path / "base", device="cpu")
    ids = torch.arange(1, 21)[None]
    for name, paradigm in (("mdm", "masked_diffusion"), ("arm-continued", "autoregressive")):
        folder = tmp_path / "out" / name
        options: dict[str, Any] = {"mask_token": "<|mask|>"} if name == "mdm" else {}
        model = load_model(tmp_path / "base", adapter=folder, paradigm=paradigm, device="cpu", **options)  # type: ignore[arg-type]
        assert not torch.allclose(model.logits(ids), base.logits(ids), atol=1e-4)
        assert {tensor.dtype for tensor in weights(folder).values()} == {torch.float16}
        settings = json.loads((folder / "adapter_config.json").read_text())
        assert settings["base_model_name_or_path"] == recipe.base
        evaluation = read_evaluation(folder)
        assert evaluation.held_out == found[name] and evaluation.prompts_per_task == 3
        assert [point.step for point in read_curve(folder)] == [0, 3, 6]
        card = (folder / "README.md").read_text()
        assert f"# toy/{name}" in card and "LoRA of rank 2" in card and "| 3 |" in card
    assert not list((tmp_path / "out").glob("*.state"))


def test_a_second_call_trains_nothing(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    first = post_train(recipe, tmp_path / "out")
    assert post_train(recipe, tmp_path / "out", progress=lambda *_: pytest.fail("trained again")) == first


def test_an_interrupted_training_is_the_one_that_was_not(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    post_train(recipe, tmp_path / "whole")

    def cut(phase: str, step: int, steps: int, loss: float) -> None:
        if (phase, step) == ("mdm", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        post_train(recipe, tmp_path / "cut", progress=cut)
    seen: list[tuple[str, int]] = []
    post_train(recipe, tmp_path / "cut", progress=lambda phase, step, steps, loss: seen.append((phase, step)))
    assert seen[0] == ("mdm", 5)  # after the last stored step
    for phase in ("mdm", "arm-continued"):
        whole, resumed = weights(tmp_path / "whole" / phase), weights(tmp_path / "cut" / phase)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
        assert (tmp_path / "whole" / phase / "curve.json").read_text() == (
            tmp_path / "cut" / phase / "curve.json"
        ).read_text()


def test_checkpoints_are_kept_on_the_way_and_change_nothing(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    post_train(recipe, tmp_path / "out")
    before = {name: weights(tmp_path / "out" / name) for name in ("mdm", "arm-continued")}
    keeping = recipe.model_copy(update={"diffusion": recipe.diffusion.model_copy(update={"keep": (4,)})})
    seen: list[tuple[str, int]] = []
    post_train(keeping, tmp_path / "out", progress=lambda phase, step, *_: seen.append((phase, step)))
    assert seen == [(phase, step) for phase in ("mdm", "arm-continued") for step in range(1, 5)]
    for name, own in before.items():
        after, kept = weights(tmp_path / "out" / name), weights(tmp_path / "out" / f"{name}-step-4")
        assert all(torch.equal(own[key], after[key]) for key in own)
        assert own.keys() == kept.keys() and not all(torch.equal(own[key], kept[key]) for key in own)
        assert {tensor.dtype for tensor in kept.values()} == {torch.float16}
        folder = tmp_path / "out" / f"{name}-step-4"
        assert [point.step for point in read_curve(folder)] == [0, 3, 4]
        assert f"on the way to `{name}`, after 4 steps" in (folder / "README.md").read_text()
        assert read_evaluation(folder).model == folder.name


def test_the_control_learns_from_the_same_sentences(
    recipe: PostTrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[Sentence]] = []
    step = training.Corpus.step

    def noted(self: Any, *arguments: Any) -> list[Sentence]:
        drawn.append(step(self, *arguments))
        return drawn[-1]

    monkeypatch.setattr(training.Corpus, "step", noted)
    post_train(recipe, tmp_path / "out")
    assert len(drawn) == 12 and drawn[:6] == drawn[6:]


def test_all_weights_can_be_trained(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    recipe = read(tmp_path, RECIPE.replace("lora: {rank: 2}\n", ""))
    post_train(recipe, tmp_path / "out")
    model = load_model(tmp_path / "out/mdm", paradigm="masked_diffusion", mask_token="<|mask|>", device="cpu")
    base = load_model(tmp_path / "base", device="cpu")
    moved = [not torch.equal(own, model.module.get_parameter(name)) for name, own in base.module.named_parameters()]
    assert all(moved)


def test_bfloat16_leaves_the_adapters_in_float32_while_they_are_trained(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    found = post_train(read(tmp_path, RECIPE + "dtype: bfloat16\n"), tmp_path / "out")
    assert all(0 <= share <= 1 for shares in found.values() for share in shares.values())


def test_no_held_out_combination_is_trained_on(tmp_path: Path) -> None:
    from mechshift_core.models.load import load_tokenizer
    from mechshift_core.tasks.counterfactual import generated_dataset
    from mechshift_core.tasks.encoding import Encoder
    from mechshift_core.zoo.post_training.sentences import task_named

    tokenizer = load_tokenizer(write_base(tmp_path / "base"))
    assert tokenizer is not None
    for name in ("ioi", "infilling"):
        trained = {sentence.ids[: sentence.start] for sentence in sentences_of(name, 200, tokenizer, seed=0)}
        encoder = Encoder.of(tokenizer)
        held_out = generated_dataset(task_named(name, encoder), encoder, examples=50, seed=1)
        assert trained.isdisjoint({example.clean_ids for example in held_out.examples})


def test_a_sentence_holds_the_answer_where_it_says(tmp_path: Path) -> None:
    from mechshift_core.models.load import load_tokenizer

    tokenizer = load_tokenizer(write_base(tmp_path / "base"))
    assert tokenizer is not None
    for sentence in sentences_of("ioi", 20, tokenizer, seed=0):
        text, answer = tokenizer.decode(sentence.ids), tokenizer.decode(sentence.ids[sentence.start : sentence.stop])
        assert sentence.stop == len(sentence.ids)
        assert text.endswith(answer) and text.count(answer.strip()) == 2  # the name that is not repeated, once before
    for sentence in sentences_of("infilling/at_blank", 20, tokenizer, seed=0):
        assert 0 < sentence.start < sentence.stop < len(sentence.ids)


# --- losses ---------------------------------------------------------------------------------------------------------

lengths = st.lists(st.integers(4, 14), min_size=1, max_size=6)


def random_sentences(sizes: list[int]) -> list[Sentence]:
    rng = np.random.default_rng(len(sizes))
    return [
        Sentence(tuple(rng.integers(1, 300, size).tolist()), size - 2, size, text=bool(number % 2))
        for number, size in enumerate(sizes)
    ]


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(write_base(tmp_path_factory.mktemp("base"))).double().eval()


@given(sizes=lengths, at_once=st.integers(5, 60))
def test_the_causal_loss_is_that_of_each_sentence_alone(module: Any, sizes: list[int], at_once: int) -> None:
    sentences = random_sentences(sizes)
    targets = [causal_target(sentence, prompt_weight=0.25) for sentence in sentences]
    expected = 0.0
    with torch.no_grad():
        for sentence in sentences:
            logits = module(input_ids=torch.tensor([sentence.ids])).logits[0]
            for place in range(1, len(sentence.ids)):
                weight = 1.0 if sentence.start <= place < sentence.stop else 0.25
                expected -= weight * float(logits[place - 1].log_softmax(-1)[sentence.ids[place]])
        found = sum(
            float(bucket_loss(module, [sentences[n] for n in part], [targets[n] for n in part], seen=None))
            for part in buckets(sentences, at_once)
        )
    assert found == pytest.approx(expected, rel=1e-5)


@given(sizes=lengths, seed=st.integers(0, 1000))
def test_the_diffusion_loss_is_that_of_each_sentence_alone(module: Any, sizes: list[int], seed: int) -> None:
    sentences = random_sentences(sizes)
    rng = np.random.default_rng(seed)
    targets = [diffusion_target(sentence, rng, masked_prompts=0.5, mask=311) for sentence in sentences]
    expected = 0.0
    with torch.no_grad():
        for sentence, target in zip(sentences, targets, strict=True):
            size = len(sentence.ids)
            logits = module(
                input_ids=torch.tensor(target.inputs)[None],
                attention_mask=torch.ones(1, 1, size, size, dtype=torch.bool),
            ).logits[0]
            for place, weight in zip(target.places.tolist(), target.weights.tolist(), strict=True):
                one = functional.cross_entropy(logits[place - 1][None], torch.tensor([sentence.ids[place]]))
                expected += weight * float(one)
        longest = max(sizes)
        seen = openings(len(sizes), longest, 1.0, rng)
        found = float(bucket_loss(module, sentences, targets, seen=seen))
    assert found == pytest.approx(expected, rel=1e-5)


@given(size=st.integers(3, 20), seed=st.integers(0, 10_000), whole=st.booleans())
def test_what_is_masked_is_predicted_and_weighs_as_all_of_it(size: int, seed: int, whole: bool) -> None:
    sentence = Sentence(tuple(range(1, size + 1)), size - 2, size, text=whole)
    target = diffusion_target(sentence, np.random.default_rng(seed), masked_prompts=0.0, mask=999)
    first = 1 if whole else size - 2
    assert target.total == size - first and target.weights.sum() == pytest.approx(target.total)
    assert {place for place in range(size) if target.inputs[place] == 999} == set(target.places.tolist())
    assert all(first <= place < size for place in target.places) and all(a < b for a, b in pairwise(target.places))


def test_attention_opens_from_causal_to_both_directions() -> None:
    rng = np.random.default_rng(0)
    closed, half, wide = (openings(50, 8, share, rng) for share in (0.0, 0.5, 1.0))
    causal = np.tri(8, dtype=bool)
    assert (closed == causal).all() and wide.all()
    assert half[:, causal].all() and 0.45 < half[:, ~causal].mean() < 0.55


def test_perplexity_is_exp_of_the_mean_loss_and_the_bound_averages_to_the_evidence_bound(
    module: Any, tmp_path: Path
) -> None:
    base = write_base(tmp_path / "base")
    bidirectional = load_module(base, None, paradigm="masked_diffusion", dtype=torch.float64, attention=None)
    text = [Sentence((5, 9, 200), 1, 3, text=True)]
    ids = torch.tensor([text[0].ids])
    with torch.no_grad():
        logits = module(input_ids=ids).logits[0].log_softmax(-1)
        plain = -float(logits[0, 9] + logits[1, 200]) / 2
        assert perplexity(module, text, paradigm="autoregressive", mask=311, tokens=100) == pytest.approx(
            math.exp(plain), rel=1e-5
        )

        def masked(places: list[int]) -> float:
            inputs = ids.clone()
            inputs[0, places] = 311
            found = bidirectional(input_ids=inputs).logits[0].log_softmax(-1)
            return -sum(float(found[place - 1, ids[0, place]]) for place in places)

        # k = 1: either place, weight 2; k = 2: both, weight 1
        expected = (0.5 * (2 * masked([1]) + 2 * masked([2])) + masked([1, 2])) / 2 / 2
        drawn = [
            math.log(perplexity(bidirectional, text, paradigm="masked_diffusion", mask=311, tokens=100, seed=seed))
            for seed in range(400)
        ]
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * np.std(drawn) / 20)


def test_buckets_hold_every_sentence_once_within_the_tokens() -> None:
    sentences = random_sentences([9, 4, 14, 4, 5, 12, 8])
    for tokens in (1, 14, 30, 1000):
        found = buckets(sentences, tokens)
        assert sorted(number for part in found for number in part) == list(range(7))
        assert all(len(part) == 1 or len(part) * max(len(sentences[n].ids) for n in part) <= tokens for part in found)


# --- what is wrong --------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown task": (lambda r: r.replace("ioi", "io"), r"6:9: expected a task: "),
    "no text": (lambda r: r.replace(", samples: 12", ""), r"expected files, or samples above 0"),
    "bfloat16 without lora": (
        lambda r: r.replace("lora: {rank: 2}", "dtype: bfloat16"), r"without lora all weights are trained",
    ),
    "unknown key": (lambda r: r + "pretrain: {steps: 2}\n", r"unknown key 'pretrain'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_recipe_that_is_wrong_is_refused_where_it_is(case: str, tmp_path: Path) -> None:
    change, message = WRONG[case]
    with pytest.raises(SpecError, match=message):
        read(tmp_path, change(RECIPE))


def test_a_training_of_another_base_or_text_is_not_gone_on_with(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    (tmp_path / "book.txt").write_text("It was a dark and stormy night; the rain fell in torrents. " * 10)
    recipe = read(tmp_path, RECIPE.replace("samples: 12", "files: [book.txt]"))

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        post_train(recipe, tmp_path / "out", progress=cut)
    (tmp_path / "book.txt").write_text("Call me Ishmael. " * 40)
    with pytest.raises(UsageError, match=r"holds models of another base or text \(.*inputs\.json\)"):
        post_train(recipe, tmp_path / "out")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
def test_every_architecture_is_trained_as_it_is_read(family: str, paradigm: Any, tmp_path: Path) -> None:
    """Its own attention, with sliding windows of 4 and caps, padding unseen: each row as the model reads it alone."""
    options: dict[str, Any] = {"mask_token": 39} if paradigm == "masked_diffusion" else {}
    model = load_model(write_random_model(family, tmp_path / "m"), paradigm=paradigm, device="cpu", **options)
    ids = torch.arange(24).reshape(2, 12) % 38
    in_training = InTraining(model.module, paradigm, 39)
    torch.testing.assert_close(in_training.logits(ids), model.logits(ids))
    rng = np.random.default_rng(0)
    sentences = [Sentence(tuple(rng.integers(0, 38, size).tolist()), size - 2, size, text=True) for size in (12, 7, 9)]
    targets = [
        causal_target(sentence, prompt_weight=1.0)
        if paradigm == "autoregressive"
        else diffusion_target(sentence, rng, masked_prompts=1.0, mask=39)
        for sentence in sentences
    ]
    with torch.no_grad():
        together = float(bucket_loss(model.module, sentences, targets, seen=None))
    expected = 0.0
    for sentence, target in zip(sentences, targets, strict=True):
        logits = model.logits(torch.tensor(target.inputs)[None])[0].log_softmax(-1)
        for place, weight in zip(target.places.tolist(), target.weights.tolist(), strict=True):
            expected -= weight * float(logits[place - 1, sentence.ids[place]])
    assert together == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_attention_that_is_not_open_yet_hides_what_is_behind(family: str, tmp_path: Path) -> None:
    """Eager kernels add their mask, others apply it: both have to hide."""
    model = load_model(
        write_random_model(family, tmp_path / "m"), paradigm="masked_diffusion", mask_token=39, device="cpu"
    )
    first = Sentence((5, 9, 20, 7), 1, 2)
    other = Sentence((5, 9, 31, 8), 1, 2)
    losses = []
    for sentence in (first, other):
        target = Target(np.array(sentence.ids), np.array([1]), np.ones(1), 1.0)
        with torch.no_grad():
            losses.append(float(bucket_loss(model.module, [sentence], [target], seen=np.tri(4, dtype=bool)[None])))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_base_with_dropout_is_resumed_as_it_would_have_gone_on(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    backend = Tokenizer.from_str(tokenizer_text())
    config = GPT2Config(vocab_size=backend.get_vocab_size(), n_embd=16, n_layer=1, n_head=2, n_positions=400)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "base")
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>").save_pretrained(tmp_path / "base")
    recipe = read(tmp_path, RECIPE)
    post_train(recipe, tmp_path / "whole")

    def cut(phase: str, step: int, steps: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        post_train(recipe, tmp_path / "cut", progress=cut)
    post_train(recipe, tmp_path / "cut")
    whole, resumed = weights(tmp_path / "whole/mdm"), weights(tmp_path / "cut/mdm")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_running_text_begins_as_every_text_does() -> None:
    from tokenizers import Tokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(tokenizer_text())
    backend.post_processor = processors.TemplateProcessing(single="<|end|> $A", special_tokens=[("<|end|>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|end|>")
    text = text_sequences(Text(per_batch=1, length=3, samples=2), tokenizer, [[5, 6, 7], [8, 9, 10]])
    assert [sentence.ids for sentence in text] == [(0, 5, 6, 7), (0, 8, 9, 10)]
    rng = np.random.default_rng(0)
    for sentence in (*text, *sentences_of("ioi", 5, tokenizer, seed=0)):
        assert sentence.ids[0] == 0 and sentence.first == 1
        for _ in range(20):
            target = diffusion_target(sentence, rng, masked_prompts=1.0, mask=1)
            assert target.inputs[0] == 0 and target.places.min() >= 1


def test_the_base_writes_no_special_token_and_no_mask(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    post_train(recipe, tmp_path / "out")
    written = json.loads((tmp_path / "out/text.json").read_text())
    assert len(written) == 12 and all(len(ids) == 12 for ids in written)
    assert not {0, 1} & {token for ids in written for token in ids}


UNUSABLE: dict[str, tuple[Callable[[str], str], type[Exception], str]] = {
    "no base": (lambda r: r.replace("base: base", "base: nowhere"), ExecutionError, r"nowhere does not exist"),
    "no mask token": (lambda r: r.replace('mask_token: "<|mask|>"\n', ""), UsageError, r"has no mask token; name one"),
    "unknown mask token": (lambda r: r.replace("<|mask|>", "<m>"), ExecutionError, r"'<m>' is not in the vocabulary"),
    "unknown modules": (lambda r: r.replace("rank: 2", "rank: 2, targets: [wq]"), UsageError, r"lora: Target modules"),
    "sentences that are too long": (
        lambda r: r.replace("length: 12", "length: 500"), UsageError, r"the longest sentence has 500 tokens, but .*400",
    ),
    "unknown start": (lambda r: r.replace("samples: 12", "samples: 12, start: q!"), UsageError, r"start 'q!' is no"),
    "file that is not there": (
        lambda r: r.replace("samples: 12", "files: [book.txt]"), UsageError, r"cannot read .*book\.txt: No such file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_recipe_that_does_not_fit_its_base_is_refused(case: str, tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    change, kind, message = UNUSABLE[case]
    with pytest.raises(kind, match=message):
        post_train(read(tmp_path, change(RECIPE)), tmp_path / "out")


def test_text_can_come_from_files(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    (tmp_path / "book.txt").write_text("It was a dark and stormy night; the rain fell in torrents. " * 10)
    recipe = read(tmp_path, RECIPE.replace("samples: 12", "files: [book.txt]"))
    post_train(recipe, tmp_path / "out")
    evaluation = read_evaluation(tmp_path / "out/mdm")
    assert getattr(evaluation, "perplexity", 0) > 1


def test_a_folder_of_another_recipe_is_left_alone(recipe: PostTrainingRecipe, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/recipe.json").write_text("{}")
    with pytest.raises(UsageError, match="holds models of another recipe"):
        post_train(recipe, tmp_path / "out")


def test_the_command_trains_it(recipe: PostTrainingRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pairs", "train", str(tmp_path / "toy.yaml"), "--out", str(tmp_path / "out")]) == 0
    assert f"{tmp_path / 'out/mdm'}: ioi " in capsys.readouterr().out


@pytest.mark.parametrize("paradigm", ["autoregressive", "masked_diffusion"])
@pytest.mark.parametrize("name", ["ioi", "infilling", "infilling/at_blank"])
def test_what_a_model_answers_is_what_a_study_of_it_finds(name: str, paradigm: Any, tmp_path: Path) -> None:
    from mechshift_core.execution.batches import to_batch
    from mechshift_core.zoo.post_training.evaluate import answered, held_out_prompts

    if name.endswith("at_blank") and paradigm == "autoregressive":
        return
    options: dict[str, Any] = {"mask_token": "<|mask|>"} if paradigm == "masked_diffusion" else {}
    model = load_model(write_base(tmp_path / "base"), paradigm=paradigm, device="cpu", **options)
    assert model.tokenizer is not None
    datasets = held_out_prompts([name], model.tokenizer, count=20)
    preferred = right = 0
    for example in datasets[name].examples:
        batch = to_batch(model, datasets[name], [example])
        logits = batch.rows_read(model.logits(batch.clean_ids))[:, 0]
        preferred += int(batch.measure(logits) > 0)
        right += int(logits.argmax(-1) in batch.answer_ids)
    found = answered(model, datasets)[name]
    assert (found.metric, found.argmax, found.prompts) == (preferred / 20, right / 20, 20)
