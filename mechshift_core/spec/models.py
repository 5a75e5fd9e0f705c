"""The section of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechshift_core.spec.base import Dtype, NonEmpty, Section

TokenId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class ModelSpec(Section):
    """A model to read."""

    source: NonEmpty
    """`bundled:NAME/MODEL` (shipped with the package, or fetched), `hf:ORG/NAME` (the Hub), `gguf:FILE` (llama.cpp), or
    a local folder; a relative path is looked up from the folder of the spec file."""
    adapter: NonEmpty | None = None
    """Adapter in the format of PEFT (LoRA and its kin) that is merged into the weights: a folder, looked up as `source`
    is, or `hf:ORG/NAME`."""
    paradigm: Literal["autoregressive", "masked_diffusion"]
    """How the model predicts: the next token from those before, or masked tokens from all others."""
    mask_token: NonEmpty | TokenId | None = None
    """The mask token (masked diffusion only): its text as in the vocabulary, or, where an ordinary token serves as the
    mask, that token's id; the checkpoint's own unless given."""
    shifted: bool = Field(default_factory=lambda data: data.get("paradigm") == "masked_diffusion")
    """Whether token i is predicted at position i-1 (masked diffusion only; true unless given)."""
    revision: NonEmpty | None = None
    """Commit (or branch, or tag) of a Hub repository."""
    dtype: Dtype = "auto"
    """Number format of the weights; `auto` follows `execution.dtype`."""
    tokenizer: NonEmpty | None = None
    """Folder of the tokenizer, or `hf:ORG/NAME`, where it is not the model's own; looked up as `source` is."""
    add_bos_token: bool | None = None
    """Whether prompts begin with the tokenizer's beginning-of-sequence token; as the tokenizer writes texts unless
    given. A text that begins with it gets no second one, and data sets of token ids are read as they are."""

    @property
    def reads_before(self) -> bool:
        """Whether a token is predicted at the position before it, and not at its own."""
        return self.paradigm == "autoregressive" or self.shifted

    @property
    def origin(self) -> Literal["bundled", "hf", "gguf", "local"]:
        """Where the model comes from."""
        for origin in ("bundled", "hf", "gguf"):
            if self.source.startswith(f"{origin}:"):
                return origin
        return "local"

    @property
    def location(self) -> str:
        """`source` without its prefix: a bundled model's key, a repository, a file, or a folder."""
        return self.source if self.origin == "local" else self.source.partition(":")[2]
