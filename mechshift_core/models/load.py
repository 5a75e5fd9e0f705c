"""Loading a model: bundled or from a local folder, whole or not at all, and what is proven before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Shape
from mechshift_core.models.architectures import ArchitectureView, declaration_of
from mechshift_core.models.checks import check_attention
from mechshift_core.models.sources import TOKENIZER_FILES, read_config, resolve_source, weight_files

if TYPE_CHECKING:
    from nnsight import NNsight
    from transformers import PreTrainedTokenizerBase

Paradigm = Literal["autoregressive", "masked_diffusion"]


@dataclass(frozen=True, eq=False, slots=True)
class Model:
    """A loaded model, ready to be recorded and patched.

    Attributes:
        source: What it was loaded from.
        paradigm: `autoregressive` (causal) or `masked_diffusion` (bidirectional).
        shifted: Whether token i is predicted from position i-1 (always for autoregressive models).
        module: The Transformers model, weights frozen; `net` is its nnsight wrapper.
        view: The architecture's modules and weights by role.
        tokenizer: None where the source has none; token ids still work.
        mask_token_id: Id of the token that stands for a masked position; None for autoregressive models without one.
    """

    source: str
    paradigm: Paradigm
    shifted: bool
    module: nn.Module
    net: NNsight
    view: ArchitectureView
    tokenizer: PreTrainedTokenizerBase | None
    mask_token_id: int | None

    @property
    def shape(self) -> Shape:
        """Layers, heads and sizes."""
        return self.view.shape

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def logits(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits [batch, positions, vocabulary] without gradients."""
        with torch.no_grad():
            output = self.module(input_ids=ids.to(self.device), attention_mask=attention_mask, use_cache=False)
        logits: Tensor = output.logits
        return logits


def load_model(
    source: str | Path,
    *,
    paradigm: Paradigm = "autoregressive",
    shifted: bool | None = None,
    mask_token: str | None = None,
    tokenizer: str | Path | None = None,
    device: str = "auto",
    attention: Literal["sdpa", "eager"] = "sdpa",
) -> Model:
    """Load a model and prove that it attends as its paradigm says.

    Args:
        source: `bundled:NAME/MODEL` or a local Transformers folder with safetensors weights.
        paradigm: `masked_diffusion` makes attention bidirectional.
        shifted: Whether token i is read at position i-1. True for autoregressive models; masked diffusion models
            post-trained from one usually are, so True is their default too.
        mask_token: The mask token's text; by default the tokenizer's own.
        tokenizer: Folder of the tokenizer, where it is not the model's own.
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        attention: Attention kernel of Transformers.

    Raises:
        ExecutionError: if the folder, its weights or its architecture cannot be used, if any weight is missing or
            left over, or if attention is not what the paradigm says.
    """
    from nnsight import NNsight

    folder = resolve_source(str(source))
    if paradigm == "autoregressive" and shifted is False:
        raise ExecutionError(f"{source}: an autoregressive model predicts the next token, so it can't be unshifted")
    module = _load_module(folder, paradigm, attention).to(_device(device))
    module.requires_grad_(False).eval()
    check_attention(module, bidirectional=paradigm == "masked_diffusion", source=str(source))
    words = load_tokenizer(folder if tokenizer is None else Path(tokenizer))
    return Model(
        source=str(source),
        paradigm=paradigm,
        shifted=True if shifted is None else shifted,
        module=module,
        net=NNsight(module),
        view=ArchitectureView(module),
        tokenizer=words,
        mask_token_id=_mask_token_id(words, mask_token, source=str(source)),
    )


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ExecutionError("device 'cuda' was asked for, but PyTorch sees no GPU; use 'auto' or 'cpu'")
    return device


def _load_module(folder: Path, paradigm: Paradigm, attention: str) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    weight_files(folder)
    try:
        declared = read_config(folder)
        declaration_of(declared.get("model_type"))
        if paradigm == "autoregressive" and declared.get("is_causal") is False:
            raise ExecutionError(
                f"{folder} is bidirectional (is_causal is false in its config.json) but is declared autoregressive"
            )
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        config.is_causal = paradigm == "autoregressive"
        logging.disable_progress_bar()
        loader: Any = AutoModelForCausalLM
        module, info = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except ExecutionError:
        raise
    except Exception as error:  # every way in which a file can be broken, from JSON to safetensors
        raise ExecutionError(f"the checkpoint in {folder} cannot be read: {_first_line(error)}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info.get(kind):
            names = ", ".join(sorted(map(str, info[kind]))[:8])
            raise ExecutionError(f"the checkpoint in {folder} does not fit its config.json: {kind}: {names}")
    loaded: nn.Module = module
    return loaded


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder; None if it holds none.

    A `tokenizer.json` is taken at its word: `AutoTokenizer` would replace it by the class that belongs to the
    architecture, whatever the file says.

    Raises:
        ExecutionError: if its files can't be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        return None
    loader: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else AutoTokenizer
    try:
        tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise ExecutionError(f"the tokenizer in {folder} cannot be read: {_first_line(error)}") from error
    return tokenizer


def _mask_token_id(tokenizer: PreTrainedTokenizerBase | None, mask_token: str | None, *, source: str) -> int | None:
    if tokenizer is None:
        if mask_token is not None:
            raise ExecutionError(f"{source}: mask_token {mask_token!r} is given, but the model has no tokenizer")
        return None
    if mask_token is None:
        return None if tokenizer.mask_token_id is None else int(tokenizer.mask_token_id)
    known = tokenizer.get_vocab()
    if mask_token not in known:
        raise ExecutionError(f"{source}: mask_token {mask_token!r} is not in the vocabulary")
    return int(known[mask_token])
