"""Post-training a pretrained model: by masked diffusion, and as long on the same sentences as it was trained before.

The recipe is that of DiffuLLaMA and Dream (Gong et al. 2024, arXiv 2410.17891; Ye et al. 2025, arXiv 2508.15487):
prediction stays shifted, attention opens during the first steps, a masked token weighs one over the masking rate. Every
step draws its sentences from a generator keyed by (seed, step), the same for the diffusion model and for its control,
so that an interrupted run goes on as the one that was not.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.files import sha256_of
from mechshift_core.models.load import Paradigm
from mechshift_core.zoo.kept_steps import lacking
from mechshift_core.zoo.post_training.base import Base, find_base, with_lora, write_text
from mechshift_core.zoo.post_training.card import write_card
from mechshift_core.zoo.post_training.evaluate import InTraining, answered, held_out_prompts, perplexity
from mechshift_core.zoo.post_training.losses import (
    bucket_loss,
    causal_target,
    diffusion_target,
    narrowest_window,
    openings,
)
from mechshift_core.zoo.post_training.recipe import PostTrainingRecipe
from mechshift_core.zoo.post_training.results import CURVE, Point, evaluate_written, save_curve
from mechshift_core.zoo.post_training.sentences import Sentence, buckets, sentences_of, text_sequences
from mechshift_core.zoo.recipes import Diffusion, Phase, kept_name
from mechshift_core.zoo.states import restore, store, stored_step
from mechshift_core.zoo.storage import (
    EVALUATION,
    INPUTS,
    TRAINING,
    bare_text,
    read_evaluation,
    reading,
    save_text,
    writing,
)
from mechshift_core.zoo.train import openness, schedule

SAVE_EVERY = 25
TEXT = "text.json"
"""What the base model wrote: the same for every phase, also in a run that is resumed."""
HELD_OUT = 10
"""One text sequence in so many is not trained on."""
Progress = Callable[[str, int, int, float], None]


def post_train(
    recipe: PostTrainingRecipe, out: Path, *, progress: Progress | None = None
) -> dict[str, dict[str, float]]:
    """Train what is missing under `out`, and return the share of held-out prompts answered, per model and task.

    Args:
        recipe: What to train, with paths that can be opened from here.
        out: Receives a folder a model; a phase that is complete there is kept, an interrupted one goes on.
        progress: Called with (phase, step, steps, loss).

    Raises:
        UsageError: if `out` holds models of another recipe or can't be written, or the recipe does not fit the base.
        ExecutionError: if the base can't be had, or a loss is not finite.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    base = find_base(recipe)
    _claim(recipe, base, out)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it CUDA's sums are in no fixed order
    # Text is drawn on a GPU by sums in no fixed order: a warning there, since the text is kept.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.set_num_threads(recipe.threads)
    found: dict[str, dict[str, float]] = {}
    corpus: Corpus | None = None
    for phase in recipe.phases():
        folder = out / phase
        trained = (folder / EVALUATION).exists()
        if not trained or lacking(out, phase, recipe.phases()[phase]):
            corpus = corpus or Corpus(recipe, base, out)
            _train(recipe, phase, base, corpus, out, progress, trained=trained)
        write_card(folder)
        found[phase] = read_evaluation(folder).held_out
    for phase in recipe.phases():
        _state(out, phase).unlink(missing_ok=True)
    return found


class Corpus:
    """The sentences of a recipe.

    Attributes:
        pools: Those of each task.
        text: Running text to train on; `held_out` is what is not.
    """

    def __init__(self, recipe: PostTrainingRecipe, base: Base, out: Path) -> None:
        self.pools: Mapping[str, Sequence[Sentence]] = {
            name: sentences_of(name, recipe.pool, base.tokenizer, seed=recipe.seed) for name in recipe.batch
        }
        sequences: list[Sentence] = []
        if recipe.text is not None:
            sequences = text_sequences(recipe.text, base.tokenizer, _written(recipe, base, out))
        self.held_out = sequences[::HELD_OUT]
        self.text = [sentence for number, sentence in enumerate(sequences) if number % HELD_OUT]

    def step(self, recipe: PostTrainingRecipe, rng: np.random.Generator) -> list[Sentence]:
        """The sentences of one step."""
        drawn = [
            pool[int(row)]
            for name, pool in sorted(self.pools.items())
            for row in rng.integers(len(pool), size=recipe.batch[name])
        ]
        if recipe.text is not None:
            drawn += [self.text[int(row)] for row in rng.integers(len(self.text), size=recipe.text.per_batch)]
        return drawn


def _written(recipe: PostTrainingRecipe, base: Base, out: Path) -> list[list[int]]:
    """What the base model writes, once for all phases."""
    assert recipe.text is not None
    if not recipe.text.samples:
        return []
    file = out / TEXT
    if file.is_file():
        with reading(file, advice="remove it, and it is written again"):
            stored: list[list[int]] = json.loads(file.read_text(encoding="utf-8"))
        return stored
    module = base.module("autoregressive", recipe.dtype).eval()
    found = write_text(module, base.tokenizer, recipe.text, seed=recipe.seed, mask=base.mask)
    save_text(file, json.dumps(found) + "\n")
    return found


def _train(
    recipe: PostTrainingRecipe,
    phase: str,
    base: Base,
    corpus: Corpus,
    out: Path,
    progress: Progress | None,
    *,
    trained: bool,
) -> None:
    """Train and write a model, and keep checkpoints; where it is `trained` already, only as far as these need."""
    settings = recipe.phases()[phase]
    kept = lacking(out, phase, settings)
    paradigm: Paradigm = "masked_diffusion" if phase == "mdm" else "autoregressive"
    module: Any = base.module(paradigm, recipe.dtype)
    module = module.requires_grad_(True) if recipe.lora is None else with_lora(module, recipe.lora, seed=recipe.seed)
    module.eval()  # gradients are the same, and nothing is dropped out: a resumed training is the one that was not
    _check_lengths(recipe, corpus, module)
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    optimizer = torch.optim.AdamW(
        weights.values(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    state = _state(out, phase)
    if kept and stored_step(state) > kept[0]:  # a checkpoint was asked for since
        with writing(state):
            state.unlink()
    with reading(state, advice="remove it, and this phase begins anew"):
        first, noted = restore(state, module, optimizer)
    curve = [Point.model_validate(point) for point in json.loads(noted.get(CURVE, "[]"))]
    prompts = held_out_prompts([*recipe.batch], base.tokenizer, count=recipe.evaluation.curve_prompts)
    for step in range(first, kept[-1] if trained else settings.steps):
        if step % recipe.evaluation.every == 0 and (not curve or curve[-1].step < step):
            curve.append(_point(step, module, paradigm, base, prompts, corpus, recipe))
        loss = _step(recipe, settings, step, module, optimizer, corpus, base)
        if progress is not None:
            progress(phase, step + 1, settings.steps, loss)
        if step + 1 in kept:
            now = [*curve, _point(step + 1, module, paradigm, base, prompts, corpus, recipe)]
            folder = out / kept_name(phase, step + 1, settings)
            _finish(recipe, copy.deepcopy(module), base, corpus, now, folder)
            write_card(folder)
        if (step + 1) % SAVE_EVERY == 0 and step + 1 < settings.steps:
            with writing(state):
                notes = {CURVE: json.dumps([point.model_dump() for point in curve])}
                store(state, weights, optimizer, step + 1, notes)
    if trained:
        return
    curve.append(_point(settings.steps, module, paradigm, base, prompts, corpus, recipe))
    _finish(recipe, module, base, corpus, curve, out / phase)


def _finish(
    recipe: PostTrainingRecipe, module: Any, base: Base, corpus: Corpus, curve: Sequence[Point], folder: Path
) -> None:
    """Write a model, which is in float16 then, with what it came out of and how it does."""
    _save(recipe, module, base, folder)
    save_curve(folder, [*curve])
    save_text(folder / TRAINING, recipe.to_json())
    with writing(folder):
        shutil.copy(folder.parent / INPUTS, folder / INPUTS)
    save_text(folder / EVALUATION, evaluate_written(recipe, folder, corpus.held_out).to_json())


def _step(
    recipe: PostTrainingRecipe,
    settings: Phase,
    step: int,
    module: Any,
    optimizer: torch.optim.AdamW,
    corpus: Corpus,
    base: Base,
) -> float:
    """One step of the optimizer; returns the mean loss a token.

    Raises:
        ExecutionError: if it is not finite.
    """
    rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, step]))
    sentences = corpus.step(recipe, rng)
    diffusion = isinstance(settings, Diffusion) and not module.config.is_causal
    targets = [
        diffusion_target(sentence, rng, masked_prompts=settings.masked_prompts, mask=base.mask)
        if diffusion and isinstance(settings, Diffusion)
        else causal_target(sentence, prompt_weight=recipe.prompt_weight)
        for sentence in sentences
    ]
    total = sum(target.total for target in targets)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * schedule(step, settings)
    optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for numbers in buckets(sentences, recipe.tokens_at_once):
        part = [targets[number] for number in numbers]
        share = openness(step, settings) if diffusion and isinstance(settings, Diffusion) else 1.0
        longest = max(len(target.inputs) for target in part)
        seen = openings(len(part), longest, share, rng) if share < 1 else None
        one = bucket_loss(module, [sentences[number] for number in numbers], part, seen=seen) / total
        one.backward()
        loss += one.detach().item()
    if not np.isfinite(loss):
        raise ExecutionError(f"step {step + 1}: the loss is not finite; a smaller learning rate may help")
    torch.nn.utils.clip_grad_norm_([weight for weight in module.parameters() if weight.requires_grad], 1.0)
    optimizer.step()
    return loss


def _check_lengths(recipe: PostTrainingRecipe, corpus: Corpus, module: Any) -> None:
    """Whether the model can read every sentence, and attention can open within its windows.

    Raises:
        UsageError: if not.
    """
    longest = max(len(one.ids) for pool in (*corpus.pools.values(), corpus.text, corpus.held_out) for one in pool)
    positions = getattr(module.config, "max_position_embeddings", None)
    if isinstance(positions, int) and longest > positions:
        raise UsageError(f"the longest sentence has {longest} tokens, but the base reads {positions}; shorten `text`")
    window = narrowest_window(module)
    if recipe.diffusion.annealing and window is not None and longest > window:
        raise UsageError(
            f"the longest sentence has {longest} tokens, more than a sliding window of the base ({window}), within "
            "which attention can't be opened step by step; use annealing: 0"
        )


def _point(
    step: int,
    module: Any,
    paradigm: Paradigm,
    base: Base,
    prompts: Mapping[str, Any],
    corpus: Corpus,
    recipe: PostTrainingRecipe,
) -> Point:
    """Where a training stands: held-out prompts and held-out text."""
    shares = answered(InTraining(module, paradigm, base.mask), prompts)
    text = (
        perplexity(module, corpus.held_out, paradigm=paradigm, mask=base.mask, tokens=recipe.tokens_at_once)
        if corpus.held_out
        else None
    )
    return Point(step=step, metric={name: share.metric for name, share in shares.items()}, perplexity=text)


def _save(recipe: PostTrainingRecipe, module: Any, base: Base, folder: Path) -> None:
    """Write the model in float16: its adapter, or the whole."""
    with writing(folder):
        if recipe.lora is None:
            module.half().save_pretrained(folder)
            base.tokenizer.save_pretrained(folder)
            return
        for weight in module.parameters():
            if weight.requires_grad:
                weight.data = weight.data.half()
        config = module.peft_config["default"]
        config.base_model_name_or_path = recipe.base
        config.target_modules = sorted(config.target_modules)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft looks for a folder of the base's name
            module.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)


def _state(out: Path, phase: str) -> Path:
    return out / f"{phase}.state"


def _claim(recipe: PostTrainingRecipe, base: Base, out: Path) -> None:
    """Write the recipe to `out`, and hashes of what it is made of; or refuse if other models were trained there."""
    files = {}
    for name in () if recipe.text is None else recipe.text.files:
        with reading(Path(name)):
            files[name] = sha256_of(Path(name))
    inputs = json.dumps({"base": base.weights, "tokenizer": base.tokens, "text": files}, indent=2) + "\n"
    bare = recipe.without_kept().to_json()
    claims = {"recipe.json": (recipe.to_json(), "recipe"), INPUTS: (inputs, "base or text")}
    for name, (text, what) in claims.items():
        path = out / name
        if path.exists():
            with reading(path):
                stored = path.read_text(encoding="utf-8")
            same = stored == text if name == INPUTS else bare_text(PostTrainingRecipe, stored) == bare
            if not same:
                raise UsageError(
                    f"{out} holds models of another {what} ({path}); train into another folder or remove that one"
                )
    for name, (text, _) in claims.items():
        save_text(out / name, text)
