"""Training a bundled-style pair: pre-train the ARM, then from that one checkpoint the MDM and the ARM trained on.

Diffusion post-training follows the DiffuLLaMA/Dream recipe: shifted prediction, bidirectional attention that opens
during the first steps, the loss of a masked token divided by the masking rate. The rate is drawn as a count: of an
example's n maskable tokens k ~ U{1..n} are masked and each counts 1/k, which has the same expectation as t ~ U(0, 1)
with weight 1/t and masking by coin flips (Ou et al. 2024, arXiv 2406.03736, "any-order" form), without examples that
mask nothing.

Every step draws its batch from a generator keyed by (seed, phase, step): a run that was interrupted and resumed is the
run that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from mechshift_core.files import replace_file, save_tensors, write_text
from mechshift_core.zoo.corpus import Pool, draw_batch, pool
from mechshift_core.zoo.evaluate import accuracies
from mechshift_core.zoo.recipes import Diffusion, PairRecipe, Phase
from mechshift_core.zoo.vocabulary import build_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

PHASES = {"arm": 0, "mdm": 1, "arm-continued": 2}
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
        ValueError: if `out` holds models of another recipe.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # `progress` says how far it is
    out.mkdir(parents=True, exist_ok=True)
    _claim(recipe, out)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(recipe.threads)
    tokenizer = build_tokenizer()
    results = {}
    pools: dict[str, Pool] = {}
    for phase in PHASES:
        folder = out / phase
        if not (folder / "evaluation.json").exists():
            pools = pools or {task: pool(task, recipe.pool, tokenizer, seed=recipe.seed) for task in recipe.batch}
            model = _train_phase(recipe, phase, pools, tokenizer, out, progress)
            _save(model, tokenizer, recipe, phase, folder)
        results[phase] = json.loads((folder / "evaluation.json").read_text())["held_out"]
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


def causal_loss(model: torch.nn.Module, batch: Pool, *, prompt_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Next-token loss as (weighted sum, sum of weights); answer tokens weigh 1, prompt tokens `prompt_weight`."""
    ids = torch.from_numpy(batch.ids)
    position = torch.arange(1, ids.shape[1])
    weights = torch.where(position >= torch.from_numpy(batch.prompt_lengths)[:, None], 1.0, prompt_weight)
    weights = weights * (position < torch.from_numpy(batch.lengths)[:, None])
    logits = model(input_ids=ids).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights.flatten()).sum(), weights.sum()


def diffusion_loss(
    model: torch.nn.Module,
    batch: Pool,
    rng: np.random.Generator,
    *,
    openness: float,
    masked_prompts: float,
    mask_id: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Masked-diffusion loss as (sum over examples of n/k x CE over the k masked of n tokens, sum of n).

    Args:
        openness: Probability that a query sees a key to its right; 1 is bidirectional. Padding is never seen.
        masked_prompts: Share of the examples in which prompt tokens are masked like answer tokens.
    """
    count, width = batch.ids.shape
    position = np.arange(width)
    whole = rng.random(count) < masked_prompts
    start = np.where(whole, 1, batch.prompt_lengths)  # token 0 has no position to its left that could predict it
    maskable = (position >= start[:, None]) & (position < batch.lengths[:, None])
    total = maskable.sum(1)
    chosen = rng.integers(1, total + 1)
    order = np.where(maskable, rng.random((count, width)), 2.0).argsort(1).argsort(1)
    masked = order < chosen[:, None]

    ids = torch.from_numpy(batch.ids)
    hidden = torch.from_numpy(masked)
    real = torch.from_numpy(position < batch.lengths[:, None])
    seen = torch.ones(width, width, dtype=torch.bool).tril()
    if openness < 1:
        seen = seen | torch.from_numpy(rng.random((count, 1, width, width)) < openness)
    else:
        seen = torch.ones_like(seen)
    attend = (seen & real[:, None, None, :]) | torch.eye(width, dtype=torch.bool)
    logits = model(input_ids=ids.masked_fill(hidden, mask_id), attention_mask=attend).logits[:, :-1]
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    weights = torch.from_numpy(total / chosen)[:, None] * hidden[:, 1:]
    return (losses * weights.flatten().float()).sum(), torch.tensor(float(total.sum()))


def _train_phase(
    recipe: PairRecipe,
    phase: str,
    pools: dict[str, Pool],
    tokenizer: PreTrainedTokenizerFast,
    out: Path,
    progress: Progress | None,
) -> Qwen2ForCausalLM:
    settings: Phase = recipe.pretrain if phase == "arm" else recipe.diffusion
    if phase == "arm":
        model = new_model(recipe, tokenizer)
    else:
        from transformers import Qwen2ForCausalLM

        model = Qwen2ForCausalLM.from_pretrained(out / "arm", dtype=torch.float32)
    model.config.is_causal = phase != "mdm"
    model.train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    state = out / f"{phase}.state"
    first = _restore(state, model, optimizer)
    for step in range(first, settings.steps):
        rng = np.random.default_rng(np.random.SeedSequence([recipe.seed, PHASES[phase], step]))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        losses, weight = [], torch.tensor(0.0)
        for batch in draw_batch(pools, recipe.batch, rng):
            if phase == "mdm":
                assert isinstance(settings, Diffusion)
                opened = step / max(1.0, settings.annealing * settings.steps)
                loss, share = diffusion_loss(
                    model,
                    batch,
                    rng,
                    openness=min(1.0, opened),
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
        if (step + 1) % SAVE_EVERY == 0:
            _store(state, model, optimizer, step + 1)
    return model


def _schedule(step: int, settings: Phase) -> float:
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def _claim(recipe: PairRecipe, out: Path) -> None:
    """Write the recipe to `out`, or refuse if another one was trained there."""
    text = recipe.model_dump_json(by_alias=True, indent=2) + "\n"
    path = out / "recipe.json"
    if path.exists() and path.read_text() != text:
        raise ValueError(f"{out} holds models of another recipe ({path}); train into another folder or remove that one")
    write_text(path, text)


def _store(path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW, step: int) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, entry in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in entry.items()}
    with replace_file(path) as temporary:
        save_tensors(tensors, temporary, metadata={"step": str(step)})


def _restore(path: Path, model: torch.nn.Module, optimizer: torch.optim.AdamW) -> int:
    """Load a stored state; returns the number of steps it has seen, 0 if there is none."""
    from safetensors import safe_open

    if not path.exists():
        return 0
    entries: dict[int, dict[str, torch.Tensor]] = {}
    weights = {}
    with safe_open(path, framework="pt") as stored:
        for key in stored.keys():  # noqa: SIM118 (not a mapping)
            part, rest = key.split(".", 1)
            if part == "model":
                weights[rest] = stored.get_tensor(key)
            else:
                index, name = rest.split(".", 1)
                entries.setdefault(int(index), {})[name] = stored.get_tensor(key)
        step = int(stored.metadata()["step"])
    model.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    return step


def _save(
    model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: PairRecipe, phase: str, folder: Path
) -> None:
    """Write the checkpoint in float16, then evaluate exactly what was written."""
    from transformers import Qwen2ForCausalLM

    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_text(folder / "training.json", recipe.model_dump_json(by_alias=True, indent=2) + "\n")
    stored = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    evaluation: dict[str, Any] = {"model": phase, "prompts_per_task": recipe.evaluation, "reveal": "left_to_right"}
    for name, held_out in (("held_out", True), ("seen", False)):
        evaluation[name] = accuracies(
            stored, tokenizer, sorted(recipe.batch), count=recipe.evaluation, seed=1, held_out=held_out
        )
    write_text(folder / "evaluation.json", json.dumps(evaluation, indent=2) + "\n")
