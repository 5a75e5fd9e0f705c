"""Which version of mechshift wrote a run that this one can't read, and what to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mechshift_core import __version__
from mechshift_core.errors import ExecutionError, MechshiftError
from mechshift_core.run_files import PROVENANCE


@contextmanager
def version_told(run: Path) -> Iterator[None]:
    """An error about a run directory also says that another version wrote it, where one did.

    Raises:
        ExecutionError: for an error inside about a run of another version.
    """
    try:
        yield
    except MechshiftError as error:
        other = _other_version(run)
        if not other or other in str(error):
            raise
        raise ExecutionError(f"{error}\n{other}") from error


def _other_version(path: Path) -> str:
    """That another version wrote a run, and what to do; empty where this one did, or it is not known."""
    try:
        found = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))["mechshift"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if not isinstance(found, str) or found == __version__:
        return ""
    if _numbers(found) > _numbers(__version__):
        return f"It was written by mechshift {found}, and this is {__version__}, which is older; upgrade to read it."
    return f"It was written by mechshift {found}, and this is {__version__}; `mechshift run` makes it again."


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))
