"""Kinds from Python files that a spec names: they are run only where that is allowed, and known by their hashes."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.registry import KindError, Registry, several

FOLDER = "extensions"
"""Folder of a run directory with copies of the files."""


class ExtensionError(UsageError):
    """A file that brings no usable kinds, with the reason."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A file of kinds.

    Attributes:
        path: The file; `name`, as the spec writes it.
        sha256: Of its content, in hexadecimal digits.
        kinds: What it brings, `sort name` each; empty while it has not been run.
    """

    path: Path
    name: str
    sha256: str
    kinds: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where its kinds come from."""
        return f"{Path(self.name).name} (sha256 {self.sha256[:16]})"

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return f"mechshift_extension_{self.sha256[:16]}"


def found(folder: Path, number: int, name: str) -> Extension:
    """A file that a spec names: of a run directory, the copy there.

    Args:
        folder: Of the spec.
        number: Place of the file in the spec's list.

    Raises:
        ExtensionError: if it can't be read.
    """
    copy = folder / FOLDER / copied_name(number, name)
    path = copy if copy.is_file() else folder / Path(name).expanduser()
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ExtensionError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return Extension(path, name, hashlib.sha256(content).hexdigest())


def copied_name(number: int, name: str) -> str:
    """What the copy of a file is called in a run directory."""
    return f"{number}-{Path(name).name}"


def load(extension: Extension) -> Extension:
    """Run a file and register its kinds; one that has been run is not run again.

    Raises:
        ExtensionError: if it fails, has no kinds, or has some that can't be registered.
    """
    known = sys.modules.get(extension.module)
    module = _imported(extension) if known is None else known
    kinds = several(getattr(module, "KINDS", ()))
    if not kinds:
        raise ExtensionError(f"{extension.name} has no `KINDS`: a list of the kinds that it brings")
    taken = []
    for kind in kinds:
        registry = next((one for one in registries() if one.takes(kind)), None)
        if registry is None:
            raise ExtensionError(f"{extension.name}: KINDS has a {type(kind).__name__}, which is no kind")
        try:
            registry.add(kind, origin=extension.origin)
        except KindError as error:
            raise ExtensionError(str(error)) from error
        taken.append(f"{registry.sort} {registry.named(kind)}")
    return Extension(extension.path, extension.name, extension.sha256, tuple(taken))


def _imported(extension: Extension) -> Any:
    spec = importlib.util.spec_from_file_location(extension.module, extension.path)
    if spec is None or spec.loader is None:
        raise ExtensionError(f"{extension.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[extension.module] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[extension.module]
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(extension.path)]
        where = f" in line {own[-1].lineno}" if own else ""
        raise ExtensionError(f"{extension.name} fails{where}: {type(error).__name__}: {error}") from error
    return module


def registries() -> Sequence[Registry[Any]]:
    """All sorts of kinds."""
    from mechshift_core.kinds import INTERVENTIONS, MEASURES, TESTS
    from mechshift_core.models.declared import ARCHITECTURES
    from mechshift_core.tasks import TASKS

    return (TASKS, INTERVENTIONS, MEASURES, TESTS, ARCHITECTURES)


@dataclass(frozen=True, slots=True)
class Packed:
    """Objects for another process, which runs the extensions that their classes come from before it unpacks them."""

    extensions: tuple[Extension, ...]
    content: bytes

    def unpack(self) -> Any:
        """The objects."""
        for extension in self.extensions:
            load(extension)
        return pickle.loads(self.content)


def pack(extensions: Sequence[Extension], objects: object) -> Packed:
    """Objects for another process of this machine."""
    return Packed(tuple(extensions), pickle.dumps(objects))
