"""What a model is, from its files alone: its size and its vocabulary; nothing is loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.models.sources import BUNDLED, graph_shape, locate, read_config
from mechshift_core.zoo import bundled_models

TOKENIZER = "tokenizer.json"
WHOLE_WORDS = "WordLevel"
"""What `tokenizer.json` calls a vocabulary of whole words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model as its files have it.

    Attributes:
        source: What a spec calls it.
        folder: Its checkpoint, `adapters` those that are merged into it.
        kind: Its type in `config.json`.
        layers: Number of layers; `heads` of each, `hidden` the width between them.
        vocabulary: Number of token ids; None where the configuration does not say.
        tokens: What its tokens are, as `tokenizer.json` calls it (`WordLevel`, `BPE`, ...); None without that file.
        words: The words that it knows, in alphabetical order; None where its tokens are no whole words.
    """

    source: str
    folder: Path
    adapters: tuple[Path, ...]
    kind: str
    layers: int
    heads: int
    hidden: int
    vocabulary: int | None
    tokens: str | None
    words: tuple[str, ...] | None

    def known_words(self) -> tuple[str, ...]:
        """The words that it knows.

        Raises:
            UsageError: if its tokens are no whole words.
        """
        if self.words is not None:
            return self.words
        if self.tokens is None:
            raise UsageError(f"{self.source}: its folder holds no {TOKENIZER}, so that its words are not known")
        raise UsageError(
            f"{self.source}: its tokens are pieces of words ({self.tokens}), of which any word can be made; only a "
            "model of whole words, such as bundled:tiny-s0/arm, has a list of them"
        )

    def lines(self) -> dict[str, str]:
        """What it is, for people."""
        if self.words is not None:
            known = f"{len(self.words)} whole words, beside the special tokens (--words lists them)"
        else:
            known = "unknown" if self.tokens is None else f"pieces of words ({self.tokens})"
        return {
            "model": self.source,
            "folder": str(self.folder),
            **({"adapters": ", ".join(map(str, self.adapters))} if self.adapters else {}),
            "kind": f"{self.kind}, {self.layers} layers, {self.heads} heads, hidden size {self.hidden}",
            "vocabulary": f"{'unknown' if self.vocabulary is None else self.vocabulary} token ids",
            "tokens": known,
        }

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            **{name: getattr(self, name) for name in ("source", "kind", "layers", "heads", "hidden", "vocabulary")},
            "folder": str(self.folder),
            "adapters": [str(one) for one in self.adapters],
            "tokens": self.tokens,
            "words": None if self.words is None else len(self.words),
        }


def described(name: str) -> Described:
    """A model of a source, or a bundled one by its name alone.

    Args:
        name: `bundled:NAME/MODEL`, `NAME/MODEL`, `hf:ORG/NAME`, `gguf:FILE` or a folder.

    Raises:
        UsageError: if a bundled model is meant that there is not.
        ExecutionError: if there is no such model, or its files can't be read.
    """
    source = _source(name)
    located = locate(source, headers_only=True)
    config = read_config(located.folder)
    shape = graph_shape(config, source=source)
    size = config.get("vocab_size")
    tokens, words = _tokens(located.folder)
    return Described(
        source=source,
        folder=located.folder,
        adapters=located.adapters,
        kind=str(config.get("model_type", "unknown")),
        layers=shape.layers,
        heads=shape.heads,
        hidden=shape.hidden_size,
        vocabulary=size if isinstance(size, int) else None,
        tokens=tokens,
        words=words,
    )


def _source(name: str) -> str:
    from mechshift_core.options import listing, suggestion

    known = bundled_models()
    bare = name.removeprefix(BUNDLED)
    if bare in known and (name != bare or not Path(name).is_dir()):
        return f"{BUNDLED}{bare}"
    if not bare or name != bare or not (":" in name or os.path.lexists(name)):
        raise UsageError(
            f"unknown model {name!r}{suggestion(bare, known)}; expected hf:ORG/NAME, gguf:FILE, a folder, or of the "
            f"bundled ones {listing(known)}"
        )
    return name


def _tokens(folder: Path) -> tuple[str | None, tuple[str, ...] | None]:
    """What kind of vocabulary a model has, and its words where these are whole."""
    if not (folder / TOKENIZER).is_file():
        return None, None
    try:
        content: Mapping[str, Any] = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
        model = content["model"]
        kind = str(model.get("type") or "unknown")
        special = {str(token["content"]) for token in content.get("added_tokens") or ()}
        words = sorted(set(model["vocab"]) - special) if kind == WHOLE_WORDS else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{folder / TOKENIZER}: not a tokenizer that can be read: {error!r}") from error
    return kind, None if words is None else tuple(words)
