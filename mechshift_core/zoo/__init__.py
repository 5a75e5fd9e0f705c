"""The bundled pairs: models trained by the recipes beside them, and what trains them."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"


def bundled_models() -> dict[str, Path]:
    """Name of a bundled model, e.g. `tiny-s0/arm`, -> its folder; those that were fetched are among them.

    A folder holds a checkpoint, or an adapter to another bundled model.
    """
    from mechshift_core.cache import is_whole
    from mechshift_core.zoo.fetching import FETCHED, fetched_folder

    files = [path for name in ("config.json", "adapter_config.json") for path in CHECKPOINTS.glob(f"*/*/{name}")]
    folders = {path.parent for path in files}
    found = {f"{folder.parent.name}/{folder.name}": folder for folder in folders}
    found |= {name: fetched_folder(model) for name, model in FETCHED.items() if is_whole(fetched_folder(model))}
    return dict(sorted(found.items()))
