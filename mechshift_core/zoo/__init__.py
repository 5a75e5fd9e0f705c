"""The bundled pairs: small real models, trained by the recipes beside them, and what trains them."""

from __future__ import annotations

from pathlib import Path

CHECKPOINTS = Path(__file__).parent / "checkpoints"


def bundled_models() -> dict[str, Path]:
    """Name of a bundled model, e.g. `tiny-s0/arm`, -> its folder."""
    folders = sorted(path.parent for path in CHECKPOINTS.glob("*/*/config.json"))
    return {f"{folder.parent.name}/{folder.name}": folder for folder in folders}
