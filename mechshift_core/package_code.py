"""The code of installed packages that bring kinds: their version does not say what it is while somebody edits it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

SUFFIXES = (".py", ".so", ".pyd")


def package_code(module: str) -> str:
    """A digest of the code of the package that an imported module lies in, or of the module; 16 hexadecimal digits.

    Args:
        module: Its name. Of a package without a file of its own, which others share, its part counts.

    Raises:
        OSError: if a file can't be read.
    """
    names = module.split(".")
    for length in range(1, len(names) + 1):
        loaded = sys.modules.get(".".join(names[:length]))
        file = getattr(loaded, "__file__", None)
        if file is not None:
            break
    else:
        return hashlib.sha256().hexdigest()[:16]
    path = Path(file)
    folder = path.parent if hasattr(loaded, "__path__") else None
    files = [path] if folder is None else sorted(one for one in folder.rglob("*") if one.suffix in SUFFIXES)
    digest = hashlib.sha256()
    for one in files:
        content = one.read_bytes()
        digest.update(f"{one.relative_to(path.parent).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:16]
