"""What a spec that somebody handed in may reach: sources of models and files, by the server's configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.service.settings import Settings, folders_of

if TYPE_CHECKING:
    from mechshift_core.spec import Spec

PREFIXES = ("bundled:", "hf:", "gguf:")


def refusals(spec: Spec, settings: Settings, inputs: Path) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What in a spec is not allowed here: where it stands, and what to do.

    Args:
        spec: The spec, read from its folder.
        settings: Of the server.
        inputs: Folder of the spec and of the files that came with it, which it may name by relative paths.
    """
    if spec.execution.workers > settings.most_workers:
        yield ("execution", "workers"), f"this server gives a run at most {settings.most_workers} processes"
    for name, model in spec.models.items():
        if model.origin not in settings.sources:
            allowed = ", ".join(settings.sources) or "none"
            yield ("models", name, "source"), f"this server takes no {model.origin!r} models (it takes: {allowed})"
        for field in ("source", "adapter", "tokenizer"):
            value = getattr(model, field)
            if value is not None and (reason := _refused(spec, value, settings, inputs)):
                yield ("models", name, field), reason
    for number, task in enumerate(spec.tasks):
        if task.dataset is not None and (reason := _refused(spec, task.dataset, settings, inputs)):
            yield ("tasks", number, "dataset"), reason


def _refused(spec: Spec, value: str, settings: Settings, inputs: Path) -> str:
    """Why a path is refused; empty if it is not, or is no path."""
    if value.startswith("hf:"):
        return "" if "hf" in settings.sources else "this server takes nothing from the Hub"
    if value.startswith("bundled:"):
        return ""
    path = value.removeprefix("gguf:")
    if path.startswith("~"):
        return f"{path!r}: a home folder of the server can't be named"
    found = spec.resolve(path).resolve()
    if inside(found, inputs.resolve()):
        return "" if found.exists() else f"{path!r} did not come along; send it with the spec"
    if any(inside(found, folder) for folder in folders_of(settings)):
        return ""
    where = ", ".join(settings.folders) or "none"
    return f"{path!r} is outside of what this server allows (folders: {where}); send the file along, or ask for it"


def inside(path: Path, folder: Path) -> bool:
    """Whether a resolved path is a folder, or lies in it."""
    return path == folder or folder in path.parents
