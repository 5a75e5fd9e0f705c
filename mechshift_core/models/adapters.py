"""Adapters in the format of PEFT (LoRA and its kin): checked, hashed, and merged into the weights of their base.

Heads and edges are computed from a projection's weight, so an adapter has to be part of it. `peft` merges it; that the
merged model computes what the adapted one did is proven at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechshift_core.errors import ExecutionError
from mechshift_core.models.checkpoint import read_header, read_json, stored_tensors
from mechshift_core.models.hub import HUB, snapshot
from mechshift_core.models.published import layout_of, native_keys

if TYPE_CHECKING:
    from torch import Tensor, nn

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NEEDED = "pip install peft"
MERGEABLE = ("LORA", "ADALORA", "LOHA", "LOKR", "IA3", "OFT", "BOFT", "HRA", "VERA", "LN_TUNING")
"""Kinds of adapters whose effect is another weight."""
STARTS = ("true", "false", "none", "gaussian", "orthogonal", "eva")
"""Ways to begin a LoRA that leave the base's weights alone; others take from them what the adapter then adds."""
PROBE_LENGTH, TOLERANCE = 8, {"float64": (1e-9, 1e-9), "float32": (3e-4, 1e-3)}
"""Tokens of the prompts of the proof; differences of a logit in it, as a share of the largest: one that is rounding
in any case, and the largest that is where the adapter's own effect is ten times as large."""
TIED = ("lm_head", "embed_tokens", "wte", "embed_out", "embed_in")
"""Last names of the layers whose weight may be one and the same."""
_PREFIX = "base_model.model."


def resolve_adapter(source: str) -> Path:
    """The folder of an adapter: `hf:ORG/NAME`, which is downloaded unless the local cache has it, or a folder.

    Raises:
        ExecutionError: if it can't be had, or holds no adapter that can be merged.
    """
    if source.startswith(HUB):
        folder = snapshot(source.removeprefix(HUB), revision=None, files=(CONFIG, WEIGHTS))
    else:
        folder = Path(source)
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        pickled = sorted(path.name for path in folder.glob("adapter_model.bin")) if folder.is_dir() else []
        found = f" but {pickled[0]}, which is pickled and not read: reading it runs code" if pickled else ""
        state = f"has no {' and no '.join(missing)}{found}" if folder.is_dir() else "does not exist"
        raise ExecutionError(f"adapter {source} {state}; expected a folder that PEFT's save_pretrained wrote")
    _check_kind(read_json(folder / CONFIG), folder)
    return folder


def _check_kind(config: Mapping[str, Any], folder: Path) -> None:
    file, kind = folder / CONFIG, str(config.get("peft_type"))
    if kind not in MERGEABLE:
        raise ExecutionError(
            f"{file}: an adapter of the kind {kind} can't be merged into weights; expected one of "
            f"{', '.join(MERGEABLE)}"
        )
    begun = str(config.get("init_lora_weights")).lower()
    if kind == "LORA" and begun not in STARTS:
        raise ExecutionError(
            f"{file}: init_lora_weights is {begun!r}, which may take a part out of the base's weights when it is "
            "loaded; save it as an ordinary LoRA (`path_initial_model_for_weight_conversion` of PEFT's save_pretrained)"
        )


def adapters_hash(folders: Sequence[Path]) -> str:
    """SHA-256 over the settings and weights of adapters, in the order in which they are merged."""
    digest = hashlib.sha256()
    for folder in folders:
        settings = read_json(folder / CONFIG)
        settings.pop("base_model_name_or_path", None)  # where it was trained: what it is merged into counts by itself
        digest.update(json.dumps(settings, sort_keys=True).encode())
        with (folder / WEIGHTS).open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def check_fit(adapter: Path, base: Path, *, source: object) -> None:
    """Whether a LoRA belongs to a model of this shape, from the headers of both files.

    Raises:
        ExecutionError: naming the first layer that the base does not have, or has in another size; or if the adapter
            came with a tokenizer that has more tokens.
    """
    _check_tokens(adapter, base, source)
    if read_json(adapter / CONFIG).get("peft_type") != "LORA":
        return  # others have sizes of their own making: seen when they are merged
    stored = stored_tensors(base)
    layout = layout_of(base)
    names = {key: key for key in stored} if layout is None else native_keys(layout, stored, source=base)
    known = {_bare(native).removesuffix(".weight"): stored[key].shape for key, native in names.items()}
    tied = "lm_head" not in known and "embed_out" not in known
    for key, tensor in read_header(adapter / WEIGHTS).items():
        layer, _, part = _bare(key).partition(".lora_")
        if part not in ("A.weight", "B.weight") or len(tensor.shape) != 2:
            continue
        if tied and layer.rpartition(".")[2] in TIED:
            raise ExecutionError(
                f"adapter {source} changes {layer}, whose weight the model in {base} uses twice, for the embedding and "
                "for the output, so that merging would change both; merge it into a model in which they are apart "
                "(tie_word_embeddings: false) and give that"
            )
        if layer not in known:
            raise ExecutionError(
                f"adapter {source} changes {layer}, which the model in {base} does not have; is it the adapter of "
                "another base model?"
            )
        size = tensor.shape[1] if part[0] == "A" else tensor.shape[0]
        if size not in known[layer]:
            raise ExecutionError(
                f"adapter {source}: its part for {layer} has size {size}, but that weight is "
                f"{' x '.join(map(str, known[layer]))}; is it the adapter of another base model?"
            )


def _check_tokens(adapter: Path, base: Path, source: object) -> None:
    file, size = adapter / "tokenizer.json", read_json(base / "config.json").get("vocab_size")
    if not file.is_file() or not isinstance(size, int):
        return
    added = read_json(file).get("added_tokens") or ()
    last = max((int(token["id"]) for token in added if isinstance(token, dict) and "id" in token), default=-1)
    if last >= size:
        raise ExecutionError(
            f"adapter {source} came with a tokenizer that has a token {last}, but {base} has {size} tokens; "
            "an adapter with new tokens has to be merged and saved with its tokenizer first"
        )


def _bare(key: str) -> str:
    """A key without what tools put before it."""
    for prefix in (_PREFIX, "transformer.", "model."):
        key = key.removeprefix(prefix)
    return key


def merged(module: nn.Module, adapter: Path, *, source: object) -> nn.Module:
    """A model with an adapter merged into its weights.

    Args:
        module: The base model, in float32 or float64; its weights are changed.
        adapter: The adapter's folder.
        source: What the adapter is called in messages.

    Raises:
        ExecutionError: if `peft` is not installed, the adapter doesn't fit, or the merged model computes something else
            than the adapted one.
    """
    import warnings

    try:
        from peft import PeftConfig, PeftModel
    except ImportError as error:
        raise ExecutionError(f"adapter {source}: adapters are merged by the package peft: {NEEDED}") from error
    base = _logits(module)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = PeftConfig.from_pretrained(str(adapter), local_files_only=True)
            _refuse_unknown(config, adapter)
            config.inference_mode = True
            adapted: Any = PeftModel(module, config)
            loaded = adapted.load_adapter(str(adapter), "default", is_trainable=False, local_files_only=True)
    except ExecutionError:
        raise
    except Exception as error:  # of peft, torch or safetensors, for whatever is wrong with it
        raise ExecutionError(f"adapter {source} does not fit its base model: {_two_lines(error)}") from error
    strange = [*loaded.unexpected_keys, *loaded.missing_keys]
    if strange:
        kind = "has weights for layers that the base doesn't have" if loaded.unexpected_keys else "has no weights for"
        raise ExecutionError(f"adapter {source} {kind}: {', '.join(strange[:4])}; is it the adapter of another base?")
    adapted.eval()
    before = _logits(adapted)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole: nn.Module = adapted.merge_and_unload()
    except Exception as error:  # what a kind of adapter, or one of its settings, can't do
        raise ExecutionError(f"adapter {source} can't be merged: {_two_lines(error)}") from error
    _prove(base, before, _logits(whole), whole, source)
    return whole


def _refuse_unknown(config: Any, adapter: Path) -> None:
    """Refuse settings that the installed `peft` does not know and would leave out; empty ones say nothing."""
    settings = read_json(adapter / CONFIG)
    unknown = [name for name, value in settings.items() if value and not hasattr(config, name)]
    if unknown:
        raise ExecutionError(
            f"{adapter / CONFIG}: {', '.join(sorted(unknown))}: not known to the installed peft, which would leave it "
            "out; the adapter was saved by another version: install that"
        )


def _two_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400] or type(error).__name__


def _logits(module: Any) -> Tensor:
    import torch

    size, device = module.get_input_embeddings().weight.shape[0], next(module.parameters()).device
    ids = torch.randint(size, (2, PROBE_LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found: Tensor = module(input_ids=ids.to(device), use_cache=False).logits
    return found.double()


def _prove(base: Tensor, before: Tensor, after: Tensor, module: nn.Module, source: object) -> None:
    scale = float(before.abs().max()) or 1.0
    apart, effect = (float((before - other).abs().max()) / scale for other in (after, base))
    least, most = TOLERANCE[str(next(module.parameters()).dtype).removeprefix("torch.")]
    allowed = min(most, max(least, effect / 10))
    if not apart <= allowed:  # NaN is refused too
        raise ExecutionError(
            f"adapter {source}: the merged model computes other logits than the adapted one (apart by {apart:.2g} of "
            f"the largest, at most {allowed:g} expected); merge it yourself and give the merged folder as the source"
        )
