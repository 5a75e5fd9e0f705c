"""Loading a model: bundled, of the Hub or from a local folder, whole or not at all, and proven before it is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from mechshift_core.errors import ExecutionError
from mechshift_core.graph import Shape
from mechshift_core.models.adapters import merged
from mechshift_core.models.architectures import ArchitectureView
from mechshift_core.models.checkpoint import weight_files
from mechshift_core.models.checks import check_attention
from mechshift_core.models.gguf_files import origin_of
from mechshift_core.models.hub import HUB
from mechshift_core.models.masks import find_mask_token
from mechshift_core.models.modules import first_line, load_module
from mechshift_core.models.padding import padding
from mechshift_core.models.precision import wide_dtype
from mechshift_core.models.published import Layout, check_reading, layout_of
from mechshift_core.models.sources import (
    SOURCE_FILES,
    TOKENIZER_FILES,
    Dtype,
    Located,
    locate,
    resolve_dtype,
    resolve_tokenizer,
    with_adapter,
)
from mechshift_core.options import checked

if TYPE_CHECKING:
    from nnsight import NNsight
    from transformers import PreTrainedTokenizerBase

Paradigm = Literal["autoregressive", "masked_diffusion"]
Device = Literal["auto", "cpu", "cuda"]


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

    def __repr__(self) -> str:
        shape, weight = self.shape, next(self.module.parameters())
        size = f"{shape.layers} layers x {shape.heads} heads, hidden size {shape.hidden_size}"
        form = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device}"
        return f"Model({self.source!r}, {self.paradigm}, {size}, {form})"

    @property
    def shape(self) -> Shape:
        """Layers, heads and sizes."""
        return self.view.shape

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def logits(self, ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Logits [batch, positions, vocabulary] without gradients; those of padding mean nothing.

        Args:
            ids: Token ids, [batch, positions].
            attention_mask: [batch, positions], 1 where there is a token and 0 where there is padding; None where
                nothing is padded.

        Raises:
            ValueError: for ids that are no tokens of the model, or a mask of another shape.
        """
        embeddings: Any = self.module
        size: int = embeddings.get_input_embeddings().weight.shape[0]
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(f"ids must be whole numbers, [batch, positions]; they are {list(ids.shape)}, {ids.dtype}")
        if attention_mask is not None and attention_mask.shape != ids.shape:
            raise ValueError(f"attention_mask must be {list(ids.shape)}, like ids; it is {list(attention_mask.shape)}")
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise ValueError(
                f"ids must be tokens of {self.source}, 0 to {size - 1}; got {int(ids.min())} to {int(ids.max())}"
            )
        with torch.no_grad():
            output = self.module(input_ids=ids.to(self.device), use_cache=False, **padding(attention_mask, self.device))
        logits: Tensor = output.logits
        return logits


@checked
def load_model(
    source: str | Path,
    *,
    adapter: str | Path | Sequence[str | Path] | None = None,
    paradigm: Paradigm = "autoregressive",
    shifted: bool | None = None,
    mask_token: str | int | None = None,
    tokenizer: str | Path | None = None,
    revision: str | None = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    attention: Literal["sdpa", "eager"] | None = None,
) -> Model:
    """Load a model and prove that it attends as its paradigm says.

    Args:
        source: `bundled:NAME/MODEL`, `hf:ORG/NAME` (the Hub, or its local cache), `gguf:FILE` (dequantised), or a
            local folder with safetensors weights: a Transformers checkpoint, or a published diffusion model (see
            :mod:`.published`).
        adapter: Folder of an adapter in the format of PEFT, or `hf:ORG/NAME`; it is merged into the weights. Of
            several, one after the other.
        paradigm: `masked_diffusion` makes attention bidirectional.
        shifted: Whether token i is read at position i-1. True for autoregressive models; masked diffusion models
            post-trained from one usually are, so True is their default too, unless the checkpoint is known to be read
            otherwise.
        mask_token: The mask token: its text as in the vocabulary, or the id of any token. By default that of the
            checkpoint's configuration, else of its published layout, else the tokenizer's own.
        tokenizer: Folder of the tokenizer, or `hf:ORG/NAME`, where it is not the model's own.
        revision: Commit, branch or tag of a model of the Hub.
        dtype: Number format of the weights. `auto` is float32, but for a checkpoint of more than 10^9 parameters that
            is stored in bfloat16 or float16 and goes on a GPU: that one stays as it is stored.
        device: `auto` (a GPU where there is one), `cpu` or `cuda`.
        attention: Attention kernel of Transformers; by default the one that the architecture needs.

    Raises:
        ValueError: for an option that is not known.
        ExecutionError: if the folder, its weights or its architecture cannot be used, if any weight is missing or
            left over, or if attention is not what the paradigm says.
    """
    from nnsight import NNsight

    if revision is not None and not str(source).startswith(HUB):
        raise ExecutionError(f"{source}: only a model of the Hub ({HUB}ORG/NAME) has a revision")
    if paradigm == "autoregressive" and shifted is False:
        raise ExecutionError(f"{source}: an autoregressive model predicts the next token, so it can't be unshifted")
    located = locate(str(source), revision=revision)
    for one in () if adapter is None else (adapter,) if isinstance(adapter, str | Path) else adapter:
        located = with_adapter(located, str(one))
    folder = located.folder
    weights = weight_files(folder)
    layout = layout_of(folder)
    check_reading(layout, paradigm=paradigm, shifted=shifted, source=source)
    target = _device(device)
    chosen: torch.dtype = getattr(torch, resolve_dtype(folder, dtype, device=target))
    module = load_merged(located, layout, paradigm=paradigm, dtype=chosen, device=target, attention=attention)
    module.requires_grad_(False).eval()
    check_attention(module, bidirectional=paradigm == "masked_diffusion", source=str(source), weights=weights)
    words = load_tokenizer(folder if tokenizer is None else resolve_tokenizer(str(tokenizer)))
    return Model(
        source=str(source),
        paradigm=paradigm,
        shifted=shifted if shifted is not None else layout is None or layout.shifted,
        module=module,
        net=NNsight(module),
        view=ArchitectureView(module),
        tokenizer=words,
        mask_token_id=find_mask_token(
            folder, layout, words, mask_token, source=str(source), needed=paradigm == "masked_diffusion"
        ),
    )


def load_merged(
    located: Located,
    layout: Layout | None,
    *,
    paradigm: Paradigm,
    dtype: torch.dtype,
    device: str,
    attention: Literal["sdpa", "eager"] | None = None,
) -> nn.Module:
    """The Transformers model of a checkpoint with its adapters; see :func:`.load_module`.

    Adapters are merged in float32 at least: in half precision most of a small one would be rounded away.
    """
    wide = wide_dtype(dtype) if located.adapters else dtype
    module = load_module(located.folder, layout, paradigm=paradigm, dtype=wide, attention=attention).to(device)
    for adapter in located.adapters:
        module = merged(module, adapter, source=adapter)
    return module if wide == dtype else module.to(dtype)


def _device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ExecutionError("device 'cuda' was asked for, but PyTorch sees no GPU; use 'auto' or 'cpu'")
    return device


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder; None if it holds none.

    A `tokenizer.json` is taken at its word: `AutoTokenizer` would replace it by the class that belongs to the
    architecture, whatever the file says.

    Raises:
        ExecutionError: if its files can't be read, or it splits words at random.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        origin = origin_of(folder)
        if origin is not None and origin.tokenizer:
            raise ExecutionError(f"no tokenizer from {origin.file}: {origin.tokenizer}; give another as `tokenizer`")
        return None
    loader: Any = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else AutoTokenizer
    try:
        tokenizer: PreTrainedTokenizerBase = loader.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise ExecutionError(f"the tokenizer in {folder} cannot be read: {_why_not(folder, error)}") from error
    model: Any = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    dropout = getattr(model, "dropout", None)
    if dropout:
        raise ExecutionError(
            f"the tokenizer in {folder} splits words at random (dropout {dropout:g} in its tokenizer.json), so that "
            'the same text is other tokens every time; set "dropout": null there'
        )
    return tokenizer


def _why_not(folder: Path, error: Exception) -> str:
    """What is wrong with a tokenizer; where there is no tokenizer.json, what could not be made into one."""
    sources = [name for name in SOURCE_FILES if (folder / name).is_file()]
    if (folder / "tokenizer.json").exists() or not sources:
        return first_line(error)
    return (
        f"no tokenizer.json but {', '.join(sources)}, of which Transformers makes none here (it says: "
        f"{first_line(error)}); SentencePiece files need the packages sentencepiece and protobuf; or where it works, "
        "`AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)` writes tokenizer.json"
    )
