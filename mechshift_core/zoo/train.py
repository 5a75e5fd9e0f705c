"""Training a bundled-style pair: pre-train the ARM, then from that one checkpoint the MDM and the ARM trained on.

If the recipe asks for it, an MDM is trained from random weights too: those that the ARM was trained from.

Every step draws its batch from a generator keyed by (seed, phase, step): a run that was interrupted and resumed is the
run that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mechshift_core.errors import UsageError
from mechshift_core.zoo.cards import write_card
from mechshift_core.zoo.corpus import Pool, draw_batch, pool
from mechshift_core.zoo.kept_steps import keep, lacking, save_model
from mechshift_core.zoo.losses import causal_loss, diffusion_loss
from mechshift_core.zoo.recipes import Diffusion, PairRecipe, Phase
from mechshift_core.zoo.states import restore, store, stored_step
from mechshift_core.zoo.storage import EVALUATION, bare_text, read_evaluation, reading, save_text, writing
from mechshift_core.zoo.vocabulary import build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

PHASES = {"arm": 0, "mdm": 1, "arm-continued": 2, "mdm-scratch": 3}
"""Model -> what its draws are keyed by beside seed and step."""
SAVE_EVERY = 200
Progress = Callable[[str, int, int, float], None]


def train_pair(recipe: PairRecipe, out: Path, *, progress: Progress | None = None) -> dict[str, dict[str, float]]:
    """Train what is missing of a pair under `out` and return the accuracy per model and task.

    Args:
        recipe: What to train.
        out: Receives one Transformers folder a model; a phase that is complete there is kept, an interrupted one
            goes on from its last saved step.
        progress: Called with (phase, step, steps, loss).

    Raises:
        UsageError: if `out` holds models of another recipe, or can't be read or written.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # `progress` says how far it is
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    _claim(recipe, out)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(recipe.threads)
    tokenizer = build_tokenizer()
    results = {}
    pools: dict[str, Pool] = {}
    for phase in recipe.phases():
        folder = out / phase
        trained = (folder / EVALUATION).exists()
        if not trained or lacking(out, phase, recipe.phases()[phase]):
            pools = pools or {task: pool(task, recipe.pool, tokenizer, seed=recipe.seed) for task in recipe.batch}
            model = _train_phase(recipe, phase, pools, tokenizer, out, progress, trained=trained)
            if not trained:
                save_model(model, tokenizer, recipe, folder)
        write_card(folder)
        results[phase] = read_evaluation(folder).held_out
    for phase in recipe.phases():
        with writing(_state(out, phase)):
            _state(out, phase).unlink(missing_ok=True)
    return results


def new_model(recipe: PairRecipe, tokenizer: PreTrainedTokenizerFast) -> Qwen2ForCausalLM:
    """The recipe's architecture with random weights drawn from its seed."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = recipe.architecture
    torch.manual_seed(recipe.seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden_size,
            intermediate_size=shape.intermediate_size,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.key_value_heads,
            max_position_embeddings=shape.context,
            tie_word_embeddings=False,
            use_cache=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def _train_phase(
    recipe: PairRecipe,
    phase: str,
    pools: dict[str, Pool],
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    progress: Progress | None,
    *,
    trained: bool,
) -> Qwen2ForCausalLM:
    """Train a model, and keep checkpoints; where it is `trained` already, only as far as these need."""
    settings = recipe.phases()[phase]
    kept = lacking(out, phase, settings)
    model = new_model(recipe, tokenizer) if phase in ("arm", "mdm-scratch") else _load(out / "arm")
    model.config.is_causal = is_causal(phase)
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    state = _state(out, phase)
    if kept and stored_step(state) > kept[0]:  # a checkpoint was asked for since
        with writing(state):
            state.unlink()
    with reading(state, advice="remove it, and this phase begins anew"):
        first, _ = restore(state, model, optimizer)
    for step in range(first, kept[-1] if trained else settings.steps):
        rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, PHASES[phase], step]))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(step, settings)
        losses, weight = [], torch.tensor(0.0)
        for batch in draw_batch(pools, recipe.batch, rng):
            if not model.config.is_causal:
                assert isinstance(settings, Diffusion)
                loss, share = diffusion_loss(
                    model,
                    batch,
                    rng,
                    openness=openness(step, settings),
                    masked_prompts=settings.masked_prompts,
                    mask_id=int(tokenizer.mask_token_id),
                )
            else:
                loss, share = causal_loss(model, batch, prompt_weight=recipe.prompt_weight)
            losses.append(loss)
            weight = weight + share
        mean = torch.stack(losses).sum() / weight
        optimizer.zero_grad(set_to_none=True)
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(phase, step + 1, settings.steps, mean.item())
        if step + 1 in kept:
            keep(model, tokenizer, recipe, phase, step + 1, out)
        if (step + 1) % SAVE_EVERY == 0:
            with writing(state):
                store(state, model.state_dict(), optimizer, step + 1)
    return model


def schedule(step: int, settings: Phase) -> float:
    """The learning rate of a step as a share of the highest: linear warm-up, cosine decay to a tenth."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def openness(step: int, settings: Diffusion) -> float:
    """Probability with which a position sees one to its right in a step: from 0 to 1 while attention opens."""
    if settings.annealing == 0:
        return 1.0
    return min(1.0, step / max(1.0, settings.annealing * settings.steps))


def is_causal(phase: str) -> bool:
    """Whether the model of a phase is autoregressive."""
    return phase in ("arm", "arm-continued")


def _state(out: Path, phase: str) -> Path:
    return out / f"{phase}.state"


def _claim(recipe: PairRecipe, out: Path) -> None:
    """Write the recipe to `out`, or refuse if another one was trained there.

    A recipe to which `scratch` was added, or that keeps other checkpoints, is the same: no other model depends on it.
    """
    path = out / "recipe.json"
    if path.exists():
        with reading(path):
            stored = path.read_text(encoding="utf-8")
        same = recipe.without_kept()
        if bare_text(PairRecipe, stored) not in (same.to_json(), same.model_copy(update={"scratch": None}).to_json()):
            message = f"{out} holds models of another recipe ({path}); train into another folder or remove that one"
            raise UsageError(message)
    save_text(path, recipe.to_json())


def _load(folder: Path) -> Qwen2ForCausalLM:
    from transformers import Qwen2ForCausalLM

    with reading(folder, advice="remove the folder, and it is trained again"):
        return Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
