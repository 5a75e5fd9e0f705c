"""Kinds from Python files that a spec names: they are run only where that is allowed, and known by their hashes.

The kinds in effect are those that are installed and those of one spec: of the one that was loaded last, or that is run.
"""

from __future__ import annotations

import hashlib
import itertools
import linecache
import stat
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from mechshift_core.errors import UsageError
from mechshift_core.registry import KindError, Registry, effective, several
from mechshift_core.run_files import PLAN

FOLDER = "extensions"
"""Folder of a run directory with copies of the files."""
MAX_BYTES = 2**20
_RUN = "__mechshift_run__"
_runs = itertools.count()


class ExtensionError(UsageError):
    """A file that brings no usable kinds, with the reason."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A file of kinds, as it was read once: what is hashed is what is run and copied.

    Attributes:
        path: The file; `name`, as the spec writes it.
        content: Its bytes.
        kinds: What it brings, `sort name` each; empty while it has not been run.
    """

    path: Path
    name: str
    content: bytes = field(repr=False)
    kinds: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of its content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def origin(self) -> str:
        """Where its kinds come from."""
        return f"{Path(self.name).name} (sha256 {self.sha256[:16]})"

    @property
    def module(self) -> str:
        """The name under which it is imported."""
        return f"mechshift_extension_{self.sha256[:16]}"


def found(folder: Path, number: int, name: str) -> Extension:
    """A file that a spec names, read; of a run directory, the copy there.

    Args:
        folder: Of the spec.
        number: Place of the file in the spec's list.

    Raises:
        ExtensionError: if it is no file of at most 1 MiB of UTF-8 text, or can't be read.
    """
    try:
        copy = folder / FOLDER / copied_name(number, name)
        path = copy if (folder / PLAN).is_file() and copy.is_file() else folder / Path(name).expanduser()
        if not stat.S_ISREG(path.stat().st_mode):
            raise ExtensionError(f"{name}: expected a Python file, got a folder or device")
        with path.open("rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ExtensionError(f"no such file: {name}") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise ExtensionError(f"{name} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > MAX_BYTES:
        raise ExtensionError(f"{name} is larger than 1 MiB")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ExtensionError(f"{name} is not UTF-8: the byte 0x{content[error.start]:02x}") from error
    return Extension(path, name, content)


def copied_name(number: int, name: str) -> str:
    """What the copy of a file is called in a run directory."""
    return f"{number}-{Path(name).name}"


def load(extension: Extension, beside: Sequence[Extension] = ()) -> Extension:
    """Run a file, and have its kinds in effect beside those of the files that are; one that was run is not run again.

    Args:
        beside: The files whose kinds are in effect.

    Raises:
        ExtensionError: if it fails, has no kinds, or has some that can't be registered.
    """
    kinds = several(getattr(_module(extension), "KINDS", ()))
    if not kinds:
        raise ExtensionError(f"{extension.name} has no `KINDS`: a list of the kinds that it brings")
    taken = tuple(_taken(extension, kind) for kind in kinds)
    effective(_key((*beside, extension)))
    return replace(extension, kinds=taken)


def activate(extensions: Sequence[Extension]) -> None:
    """Have the kinds of these files in effect, which have been run in this process or are allowed to be, and no others.

    Raises:
        ExtensionError: if one fails or its kinds can't be registered.
    """
    for registry in registries():
        registry.forget()
    effective(())
    for number, extension in enumerate(extensions):
        load(extension, extensions[:number])


def _key(extensions: Sequence[Extension]) -> tuple[str, ...]:
    """What tells these files from others, and from themselves run another time: the classes are others then."""
    return tuple(f"{extension.sha256} {_module(extension).__dict__[_RUN]}" for extension in extensions)


def _taken(extension: Extension, kind: object) -> str:
    """Register a kind; what it is, in two words."""
    try:
        registry = next((one for one in registries() if one.takes(kind)), None)
        if registry is None:
            raise ExtensionError(f"{extension.name}: KINDS has a {type(kind).__name__}, which is no kind")
        registry.add(kind, origin=extension.origin)
        return f"{registry.sort} {registry.named(kind)}"
    except KindError as error:
        raise ExtensionError(str(error)) from error


def _module(extension: Extension) -> ModuleType:
    """What a file comes to when it is run, once in a process."""
    known = sys.modules.get(extension.module)
    if known is not None:
        return known
    place = f"{extension.path} (sha256 {extension.sha256[:16]})"
    module = ModuleType(extension.module)
    module.__file__ = place
    text = extension.content.decode("utf-8")
    # Where the text of classes is looked up, for the documentation of their fields.
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    module.__dict__[_RUN] = next(_runs)
    sys.modules[extension.module] = module
    try:
        exec(compile(text, place, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        del sys.modules[extension.module]
        if not isinstance(error, Exception | SystemExit):
            raise
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
        where = f" in line {own[-1].lineno}" if own else ""
        raise ExtensionError(f"{extension.name} fails{where}: {type(error).__name__}: {error}") from error
    return module


def registries() -> Sequence[Registry[Any]]:
    """All sorts of kinds."""
    from mechshift_core.kinds import INTERVENTIONS, MEASURES, TESTS
    from mechshift_core.metrics import METRICS
    from mechshift_core.models.declared import ARCHITECTURES
    from mechshift_core.tasks import TASKS

    return (METRICS, TASKS, INTERVENTIONS, MEASURES, TESTS, ARCHITECTURES)


def origins() -> dict[str, str]:
    """Each kind in effect that is not of this package, `sort name` -> where it comes from."""
    return {f"{one.sort} {name}": mark for one in registries() for name in one for mark in one.marks(name)}
