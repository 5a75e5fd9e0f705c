"""The base model of a post-training: found, loaded, given adapters, and what it writes by itself."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mechshift_core.errors import UsageError
from mechshift_core.models.adapters import NEEDED, TIED
from mechshift_core.models.load import Paradigm, load_merged, load_tokenizer
from mechshift_core.models.masks import find_mask_token
from mechshift_core.models.published import layout_of
from mechshift_core.models.sources import Located, locate, tokenizer_hash, weights_hash
from mechshift_core.zoo.post_training.recipe import Lora, PostTrainingRecipe, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 64
"""Sequences that are written together."""


@dataclass(frozen=True, slots=True)
class Base:
    """A pretrained model that is post-trained.

    Attributes:
        located: Where its weights are.
        mask: The token that stands for a masked one.
        weights: Hash of its weights and adapters, and `tokens` of its tokenizer.
    """

    located: Located
    tokenizer: PreTrainedTokenizerBase
    mask: int
    weights: str
    tokens: str

    def module(self, paradigm: Paradigm, dtype: str) -> nn.Module:
        """The Transformers model with its adapters merged, on a GPU where there is one; weights frozen."""
        layout, device = layout_of(self.located.folder), "cuda" if torch.cuda.is_available() else "cpu"
        chosen: torch.dtype = getattr(torch, dtype)
        return load_merged(self.located, layout, paradigm=paradigm, dtype=chosen, device=device).requires_grad_(False)


def find_base(recipe: PostTrainingRecipe) -> Base:
    """The base of a recipe.

    Raises:
        ExecutionError: if it can't be had.
        UsageError: if it lacks a tokenizer, or a token that can stand for a masked one.
    """
    located = locate(recipe.base)
    tokenizer = load_tokenizer(located.folder)
    if tokenizer is None:
        raise UsageError(f"{recipe.base} has no tokenizer, so that it can't be trained on text")
    mask = find_mask_token(
        located.folder, layout_of(located.folder), tokenizer, recipe.mask_token, source=recipe.base, needed=True
    )
    if mask is None:
        raise UsageError(
            f"{recipe.base} has no mask token; name one of its tokens that no text has as `mask_token`, e.g. a special "
            "token that is not used"
        )
    weights = weights_hash(located.folder, located.adapters)
    return Base(located, tokenizer, mask, weights, tokenizer_hash(located.folder))


def with_lora(module: Any, settings: Lora, *, seed: int) -> Any:
    """The model with fresh adapters, which alone are trained; the base's name is recorded by whoever saves it."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise UsageError(f"lora: adapters are trained with the package peft: {NEEDED}") from error
    torch.manual_seed(seed)
    doubled = set(settings.targets) & set(TIED) if getattr(module.config, "tie_word_embeddings", False) else set()
    if doubled:
        raise UsageError(
            f"lora: {', '.join(sorted(doubled))}: the base uses one weight for the embedding and for the output, so "
            "that an adapter of one can't be merged; leave it out of `targets`"
        )
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=list(settings.targets) or "all-linear",
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return get_peft_model(module, config)
    except ValueError as error:
        raise UsageError(f"lora: {str(error).splitlines()[0]}") from error


def write_text(
    module: Any, tokenizer: PreTrainedTokenizerBase, settings: Text, *, seed: int, mask: int
) -> list[list[int]]:
    """Sequences that an autoregressive model writes, [samples][length], deterministic in `seed` on one kind of machine.

    Special tokens and the `mask` are never written.

    Raises:
        UsageError: if there is no token to begin with.
    """
    begin = _first_token(tokenizer, settings)
    special = {begin, mask, *tokenizer.all_special_ids}
    found: list[list[int]] = []
    part = 0
    while len(found) < settings.samples:
        torch.manual_seed(int.from_bytes(f"{seed}-{part}".encode()) % 2**63)
        with torch.no_grad():
            first = torch.full((AT_ONCE, 1), begin, device=next(module.parameters()).device)
            written = module.generate(
                input_ids=first,
                attention_mask=torch.ones_like(first),
                do_sample=True,
                top_k=0,
                top_p=settings.top_p,
                max_new_tokens=settings.length,
                min_new_tokens=settings.length,
                pad_token_id=begin,
                suppress_tokens=sorted(special),
            )
        found += written[:, 1:].tolist()
        part += 1
    return found[: settings.samples]


def _first_token(tokenizer: PreTrainedTokenizerBase, settings: Text) -> int:
    if settings.start is not None:
        known = tokenizer.get_vocab()
        if settings.start not in known:
            raise UsageError(f"text: start {settings.start!r} is no token of the base model")
        return int(known[settings.start])
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    raise UsageError("text: the tokenizer has no token that begins or ends a text; name one as `start`")
