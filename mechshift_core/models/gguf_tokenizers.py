"""The tokenizer that a GGUF file describes, as an ordinary `tokenizer.json`.

The file names the way in which text is split before its merges apply (`tokenizer.ggml.pre`), and holds neither its
pattern nor what stands before a text. Both are set here, whatever the version of Transformers makes of them: with
another split the same text is other tokens than the model was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_PATTERNS = {"llama-bpe": _LLAMA3, "llama3": _LLAMA3, "llama-v3": _LLAMA3, "qwen2": _QWEN2}
"""`tokenizer.ggml.pre` -> pattern of a piece (llama.cpp, `src/llama-vocab.cpp`)."""
_DIGITS = ("smollm",)
"""Those that split as GPT-2 does, and every digit from the next."""
_GPT2 = ("gpt-2", "gpt2")
PROBE, SPACE = "the", "▁"
KNOWN = (*_GPT2, *_DIGITS, *_PATTERNS)


def save_tokenizer(file: Path, metadata: Mapping[str, Any], folder: Path) -> str:
    """Write the tokenizer of a GGUF file into a folder; returns why it has none that can be made, else nothing."""
    from tokenizers import normalizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    kind, split = metadata.get("tokenizer.ggml.model"), str(metadata.get("tokenizer.ggml.pre", "default"))
    if metadata["tokens"] is None:
        return "the file has none"
    if kind not in ("gpt2", "llama"):
        return f"tokenizers of the kind {kind!r} are not supported (gpt2 and llama are)"
    if kind == "gpt2" and split not in KNOWN:
        how = "is not said" if split == "default" else f"is {split!r}, which is not supported"
        return f"how text is split {how} ({', '.join(KNOWN)} are supported)"
    try:
        read: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=str(file), local_files_only=True)
        backend = read.backend_tokenizer
    except Exception as error:  # of tokenizers and of Transformers, for whatever is wrong with it
        return f"it cannot be read: {str(error).strip().partition(chr(10))[0][:200] or type(error).__name__}"
    if kind == "gpt2":
        backend.pre_tokenizer = _splitter(split)
        if _PATTERNS.get(split) == _LLAMA3:
            backend.model.ignore_merges = True  # a piece that is a token is not merged
        if split == "qwen2":
            backend.normalizer = normalizers.NFC()
    elif _begins_with_space(backend) != metadata.get("tokenizer.ggml.add_space_prefix", True):
        return "whether a text begins with a space is not read as the file says"
    begins = bool(metadata.get("tokenizer.ggml.add_bos_token", kind == "llama")) and read.bos_token is not None
    backend.post_processor = _beginning(read) if begins else None
    named = {name: getattr(read, name) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        add_bos_token=begins,
        clean_up_tokenization_spaces=False,
        chat_template=read.chat_template,
        **{name: token for name, token in named.items() if token is not None},
    ).save_pretrained(folder)
    return ""


def _begins_with_space(backend: Any) -> bool:
    return bool(backend.encode(PROBE, add_special_tokens=False).tokens[0].startswith(SPACE))


def _splitter(name: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if name in _PATTERNS:
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_PATTERNS[name]), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    bytes_of_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in _DIGITS:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_of_words])
    return bytes_of_words


def _beginning(tokenizer: Any) -> Any:
    from tokenizers import processors

    token, number = str(tokenizer.bos_token), int(tokenizer.bos_token_id)
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, number)]
    )
