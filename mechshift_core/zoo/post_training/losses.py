"""The two losses of post-training, of a step's sentences in buckets; see :mod:`mechshift_core.zoo.losses`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from mechshift_core.zoo.post_training.sentences import Sentence


@dataclass(frozen=True, slots=True)
class Target:
    """What is learnt of one sentence.

    Attributes:
        inputs: Its tokens, the masked ones replaced.
        places: Tokens that are predicted, each at the position before it.
        weights: Their weights; the step's loss is divided by `total` of all its sentences.
        total: Its share of that.
    """

    inputs: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]
    total: float


def causal_target(sentence: Sentence, *, prompt_weight: float) -> Target:
    """Every token that can be is predicted; answers and running text weigh 1, prompts `prompt_weight`."""
    places = np.arange(sentence.first, len(sentence.ids))
    weights = np.where((places >= sentence.start) & (places < sentence.stop), 1.0, prompt_weight)
    return Target(np.array(sentence.ids), places, weights, float(weights.sum()))


def diffusion_target(sentence: Sentence, rng: np.random.Generator, *, masked_prompts: float, mask: int) -> Target:
    """Of n tokens that can be masked, k ~ U{1..n} are, and each weighs n / k.

    Those of the answer can; those of the whole sentence in running text and in a share `masked_prompts` of the others.
    """
    whole = sentence.text or rng.random() < masked_prompts
    first, last = (sentence.first, len(sentence.ids)) if whole else (max(1, sentence.start), sentence.stop)
    count = int(rng.integers(1, last - first + 1))
    places = np.sort(first + rng.permutation(last - first)[:count])
    inputs = np.array(sentence.ids)
    inputs[places] = mask
    return Target(inputs, places, np.full(count, (last - first) / count), float(last - first))


def bucket_loss(
    module: nn.Module, sentences: Sequence[Sentence], targets: Sequence[Target], *, seen: npt.NDArray[np.bool_] | None
) -> Tensor:
    """Weighted sum of the cross-entropies of the tokens to predict; only their logits are computed.

    Args:
        module: The Transformers model.
        sentences: As many as `targets`.
        targets: What is learnt of each.
        seen: Which position sees which while attention opens, [rows, longest, longest]; None is as the model attends,
            with its sliding windows. Padding is never seen.
    """
    device = next(module.parameters()).device
    longest = max(len(target.inputs) for target in targets)
    ids = np.zeros((len(targets), longest), dtype=np.int64)
    present = np.zeros((len(targets), longest), dtype=bool)
    for row, target in enumerate(targets):
        ids[row, : len(target.inputs)], present[row, : len(target.inputs)] = target.inputs, True
    rows = np.concatenate([np.full(len(target.places), row) for row, target in enumerate(targets)])
    columns = np.concatenate([target.places for target in targets])
    wanted = np.array([sentences[row].ids[column] for row, column in zip(rows.tolist(), columns.tolist(), strict=True)])
    mask = torch.from_numpy(present).long() if seen is None else _additive(module, seen, present)
    logits = logits_at(module, torch.from_numpy(ids).to(device), mask.to(device), rows, columns - 1)
    losses = functional.cross_entropy(logits.float(), torch.from_numpy(wanted).to(device), reduction="none")
    weights = torch.from_numpy(np.concatenate([target.weights for target in targets])).float().to(device)
    return (losses * weights).sum()


def _additive(module: nn.Module, seen: npt.NDArray[np.bool_], present: npt.NDArray[np.bool_]) -> Tensor:
    """What is added to attention scores, [rows, 1, longest, longest]: eager kernels add a mask whatever its type."""
    dtype = next(module.parameters()).dtype
    visible = (seen & present[:, None, :]) | np.eye(seen.shape[1], dtype=bool)[None]
    hidden = torch.from_numpy(~visible[:, None])
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)


def narrowest_window(module: Any) -> int | None:
    """The shortest sliding window of a model's layers, in tokens; None where all see everything."""
    config = module.config
    types, window = getattr(config, "layer_types", None), getattr(config, "sliding_window", None)
    if not isinstance(window, int) or getattr(config, "use_sliding_window", True) is False:
        return None
    return window if types is None or "sliding_attention" in types else None


def logits_at(
    module: Any, ids: Tensor, attend: Tensor, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> Tensor:
    """Logits at some positions, [positions, vocabulary]: the output matrix is applied to these alone."""
    hidden = module.get_decoder()(input_ids=ids, attention_mask=attend, use_cache=False).last_hidden_state
    read = hidden[torch.from_numpy(rows).to(hidden.device), torch.from_numpy(columns).to(hidden.device)]
    logits: Tensor = module.get_output_embeddings()(read)
    cap = getattr(module.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def openings(count: int, longest: int, openness: float, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Which position sees which, [rows, longest, longest]: those before it, and a share `openness` of those behind."""
    if openness >= 1:
        return np.ones((count, longest, longest), dtype=bool)
    return np.tri(longest, dtype=bool)[None] | (rng.random((count, longest, longest)) < openness)
