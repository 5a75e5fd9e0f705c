"""The models of a spec and the checkpoints behind them; no weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Shape
from mechshift_core.models import sources
from mechshift_core.models.checkpoint import read_json, stored_tensors
from mechshift_core.models.gguf_files import GGUF, origin_of
from mechshift_core.models.hub import HUB, commit_of
from mechshift_core.models.masks import find_mask_token
from mechshift_core.models.published import check_reading, layout_of
from mechshift_core.spec.models import ModelSpec
from mechshift_core.spec.placed import placed
from mechshift_core.spec.schema import Spec
from mechshift_core.tasks.encoding import begin_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A declared model and the checkpoint behind it.

    Attributes:
        weights: Hash of the checkpoint's configuration and weights; empty where only their headers were read.
        adapters: Folders of the adapters that are merged into its weights.
        origin: What the weights were converted from, in a clause; empty where they are those of a checkpoint.
        tokenizer: Hash of the tokenizer's files; empty where there is none.
        tokenizer_folder: Where they are: the model's own folder unless the spec gives another.
        vocabulary: Number of token ids.
        dtype: Number format that the weights are loaded in.
        revision: Commit of a model of the Hub.
        begin: Tokens before every prompt that is text: a beginning-of-sequence token, where there is one.
    """

    name: str
    declared: ModelSpec
    folder: Path
    weights: str
    tokenizer: str
    tokenizer_folder: Path
    vocabulary: int
    context: int | None
    shape: Shape
    dtype: sources.Dtype
    revision: str | None
    begin: tuple[int, ...] = ()
    adapters: tuple[Path, ...] = ()
    origin: str = ""


def model_facts(spec: Spec, name: str, *, headers_only: bool = False) -> ModelFacts:
    """Find a declared model's checkpoint, check that it is declared as what it is, and hash it.

    Args:
        spec: The spec.
        name: The model.
        headers_only: Neither fetch nor hash weights: only their headers are read.

    Raises:
        NotHadError: if it is a model of the Hub that can't be had here.
        PlacedError: if it can't be used as it is declared, with the key that says so.
    """
    declared = spec.models[name]
    with placed("models", name, "source"):
        source = _resolved(spec, declared.source)
        located = sources.locate(source, revision=declared.revision, headers_only=headers_only)
        folder = located.folder
        config = sources.read_config(folder)
        layout, origin = layout_of(folder), origin_of(folder)
        dtype = spec.execution.dtype if declared.dtype == "auto" else declared.dtype
        stored_tensors(folder)
        vocabulary, context = sources.vocabulary(folder), sources.context_length(folder)
        shape = sources.graph_shape(config, source=folder)
    with placed("models", name, "adapter"):
        if declared.adapter is not None:
            located = sources.with_adapter(located, _resolved(spec, declared.adapter))
        weights = "" if headers_only else sources.weights_hash(folder, located.adapters)
    with placed("models", name, "shifted" if "shifted" in declared.model_fields_set else "paradigm"):
        check_reading(layout, paradigm=declared.paradigm, shifted=declared.shifted, source=declared.source)
    with placed("models", name, "mask_token"):
        sources.check_mask_token(declared.mask_token, config, source=declared.source)
    given = declared.tokenizer
    with placed("models", name, "tokenizer"):
        tokenizer = folder if given is None else sources.resolve_tokenizer(_resolved(spec, given))
    return ModelFacts(
        name=name,
        declared=declared,
        folder=folder,
        weights=weights,
        tokenizer=sources.tokenizer_hash(tokenizer),
        tokenizer_folder=tokenizer,
        vocabulary=vocabulary,
        context=context,
        shape=shape,
        dtype=sources.resolve_dtype(folder, dtype, device=spec.execution.device),
        revision=commit_of(folder) if declared.origin == "hf" else None,
        adapters=located.adapters,
        origin="" if origin is None else origin.description,
    )


def _resolved(spec: Spec, source: str) -> str:
    """A source with its folder or file, if it is one, as seen from the spec's."""
    if source.startswith(GGUF):
        return f"{GGUF}{spec.resolve(source.removeprefix(GGUF))}"
    return source if source.startswith((sources.BUNDLED, HUB)) else str(spec.resolve(source))


def load_facts_tokenizer(facts: ModelFacts) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a declared model, None if it has none."""
    from mechshift_core.models.load import load_tokenizer

    return load_tokenizer(facts.tokenizer_folder)


def with_beginning(facts: ModelFacts, tokenizer: PreTrainedTokenizerBase | None) -> ModelFacts:
    """A model with the tokens that go before its prompts.

    Raises:
        ExecutionError: if the spec asks for a token that there is not.
    """
    wanted, source = facts.declared.add_bos_token, facts.declared.source
    with placed("models", facts.name, "add_bos_token"):
        if tokenizer is None:
            if wanted:
                raise ExecutionError(f"{source}: add_bos_token is true, but there is no tokenizer; leave it out")
            return facts
        begin = beginning_of(
            tokenizer, wanted, folder=facts.tokenizer_folder, vocabulary=facts.vocabulary, source=source
        )
        return replace(facts, begin=begin)


def beginning_of(
    tokenizer: PreTrainedTokenizerBase, wanted: bool | None, *, folder: Path, vocabulary: int, source: str
) -> tuple[int, ...]:
    """The tokens before every text that a model reads.

    Args:
        tokenizer: Its tokenizer, and `folder` where that was read from.
        wanted: Whether texts begin with a beginning-of-sequence token; None: what the tokenizer does itself.
        vocabulary: Number of token ids that the model knows.
        source: What the model is called in messages.

    Raises:
        ExecutionError: if the token is none of the model's, or it can't be told what the tokenizer does.
    """
    begin = begin_ids(tokenizer, wanted, source=source)
    stated = _stated(folder) if wanted is None else None
    if stated is not None and stated != bool(begin):
        raise ExecutionError(
            f"{source}: its tokenizer_config.json says add_bos_token: {str(stated).lower()}, but its "
            f"tokenizer.json puts {'a token' if begin else 'nothing'} before a text, and versions of "
            "Transformers differ in which counts; say `add_bos_token: true` or `false` of the model, as it was "
            "trained"
        )
    beyond = [token for token in begin if token >= vocabulary]
    if beyond:
        raise ExecutionError(
            f"{source}: its tokenizer begins texts with the token {beyond[0]}, but the model has "
            f"{vocabulary} tokens (0 to {vocabulary - 1}); say `add_bos_token: false` if it was "
            "trained without, or give its own tokenizer"
        )
    return begin


def _stated(folder: Path) -> bool | None:
    """Whether texts begin with a token by the settings beside a tokenizer.json; None where they don't say."""
    file = folder / "tokenizer_config.json"
    if not (folder / "tokenizer.json").is_file() or not file.is_file():
        return None
    stated = read_json(file).get("add_bos_token")
    return stated if isinstance(stated, bool) else None


def hole_of(facts: ModelFacts, tokenizer: PreTrainedTokenizerBase | None) -> int | None:
    """The token that is a hole to a masked diffusion model, wherever it stands; None for other models."""
    if facts.declared.paradigm != "masked_diffusion":
        return None
    declared, source = facts.declared.mask_token, facts.declared.source
    with placed("models", facts.name, "mask_token"):
        return find_mask_token(facts.folder, layout_of(facts.folder), tokenizer, declared, source=source)
