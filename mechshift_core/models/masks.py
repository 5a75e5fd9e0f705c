"""Which token is a model's mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.models.published import Layout
from mechshift_core.models.sources import check_mask_token, read_config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def find_mask_token(
    folder: Path,
    layout: Layout | None,
    tokenizer: PreTrainedTokenizerBase | None,
    mask_token: str | int | None,
    *,
    source: str,
    needed: bool = True,
) -> int | None:
    """The id of the mask token; None if there is none.

    Args:
        folder: The checkpoint.
        layout: Its published layout, if it has one.
        tokenizer: Its tokenizer, if it has one.
        mask_token: What is declared: a token's text or id. Else that of the checkpoint's configuration, of its layout,
            or of the tokenizer.
        source: What the model is called in messages.
        needed: Whether the model is read with masks. Where it is not, a tokenizer that it shares with a model of more
            tokens may have one that it does not know.

    Raises:
        ExecutionError: if the token is not one of the model's.
    """
    if isinstance(mask_token, str):
        if tokenizer is None:
            raise ExecutionError(
                f"{source}: mask_token {mask_token!r} is given, but the model has no tokenizer; give the token's id"
            )
        known = tokenizer.get_vocab()
        if mask_token not in known:
            raise ExecutionError(f"{source}: mask_token {mask_token!r} is not in the vocabulary")
        found: int | None = int(known[mask_token])
    else:
        found = _recorded(folder, layout) if mask_token is None else mask_token
        if found is None and tokenizer is not None:
            return _of_tokenizer(tokenizer, read_config(folder).get("vocab_size"), source=source, needed=needed)
    check_mask_token(found, read_config(folder), source=source)
    return found


def _of_tokenizer(tokenizer: PreTrainedTokenizerBase, size: object, *, source: str, needed: bool) -> int | None:
    """The tokenizer's own mask token, if the model has it."""
    found: int | None = tokenizer.mask_token_id
    if found is None or not isinstance(size, int) or found < size:
        return found
    if needed:
        raise ExecutionError(
            f"{source}: the mask token of its tokenizer, {tokenizer.mask_token!r}, has the id {found}, which is not "
            f"one of the model's tokens, 0 to {size - 1}; give the one that it was trained with as `mask_token`"
        )
    return None


def _recorded(folder: Path, layout: Layout | None) -> int | None:
    """The id in the checkpoint's configuration, else that of its published layout."""
    config = read_config(folder)
    found: int | None = config.get("mask_token_id")
    return layout.mask_tokens.get(config["vocab_size"]) if found is None and layout is not None else found
