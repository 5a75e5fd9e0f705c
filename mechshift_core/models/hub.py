"""Models from the Hugging Face Hub, or from its local cache where there is no network."""

from __future__ import annotations

import atexit
import json
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

from mechshift_core.errors import ExecutionError
from mechshift_core.models.checkpoint import refuse_adapter

HUB = "hf:"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


class NotHadError(ExecutionError):
    """A model of the Hub may well be there, but not here: no network, or no leave to read it."""


def snapshot(repository: str, *, revision: str | None, files: tuple[str, ...]) -> Path:
    """The folder of one commit of a repository in the local cache, downloaded where it is not there yet.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` count as for every tool that uses the Hub. No code and no pickled
    weights are fetched: only files at the top of the repository that `files` names.

    Args:
        repository: `ORG/NAME`.
        revision: Commit, branch or tag; the main branch if None.
        files: Names, with `*` for any part of them.

    Raises:
        NotHadError: if the repository is in no cache and can't be fetched, with the reason and what to do.
        ExecutionError: if there is no such repository or revision.
    """
    from huggingface_hub import snapshot_download

    _check(repository)
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=list(files), ignore_patterns=["*/*", "*.py", "*.bin"]
        )
    except Exception as error:  # of HTTP, of the file system, of the Hub; the client lets all of them through
        raise _not_had(repository, revision, error) from error
    return Path(folder)


def outline(repository: str, *, revision: str | None, files: tuple[str, ...]) -> Path:
    """As :func:`snapshot`, but of weights that are not in the cache only the headers are fetched.

    A header says the name, type and shape of every tensor. The folder, which is removed when the process ends, holds
    safetensors files that end after their headers, so that all that reads no weights reads it like any checkpoint.

    Raises:
        NotHadError: if the repository is in no cache and can't be fetched, with the reason and what to do.
        ExecutionError: if there is no such repository or revision, or it has no safetensors weights.
    """
    from huggingface_hub import constants

    _check(repository)
    cached = _cached(repository, revision, files)
    if cached is not None or constants.HF_HUB_OFFLINE:
        return cached or snapshot(repository, revision=revision, files=files)
    return _headers(repository, revision, tuple(name for name in files if not name.endswith(".safetensors")))


@cache
def _headers(repository: str, revision: str | None, small: tuple[str, ...]) -> Path:
    from huggingface_hub import get_safetensors_metadata, snapshot_download
    from huggingface_hub.errors import NotASafetensorsRepoError

    folder = Path(tempfile.mkdtemp(prefix="mechshift-outline-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        snapshot_download(
            repository, revision=revision, allow_patterns=list(small), ignore_patterns=["*/*"], local_dir=folder
        )
        refuse_adapter(folder, source=f"{HUB}{repository}")
        stored = get_safetensors_metadata(repository, revision=revision)
    except ExecutionError:
        raise
    except NotASafetensorsRepoError as error:
        raise ExecutionError(
            f"{HUB}{repository} holds no safetensors weights (pickled ones are not read: reading them runs code)"
        ) from error
    except Exception as error:  # as in `snapshot`
        raise _not_had(repository, revision, error) from error
    for name, file in stored.files_metadata.items():
        if Path(name).name != name:  # an index can name anything; what is not in the folder is refused where it is read
            continue
        tensors = {
            key: {"dtype": str(one.dtype), "shape": list(one.shape), "data_offsets": list(one.data_offsets)}
            for key, one in file.tensors.items()
        }
        header = json.dumps(tensors).encode()
        (folder / name).write_bytes(len(header).to_bytes(8, "little") + header)
    return folder


def _cached(repository: str, revision: str | None, files: tuple[str, ...]) -> Path | None:
    """The folder of a commit whose weights are in the cache; None where they are not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(repository, revision=revision, allow_patterns=list(files), local_files_only=True)
        )
    except (LocalEntryNotFoundError, OSError, ValueError):
        return None
    return folder if any(folder.glob("*.safetensors")) else None


def _check(repository: str) -> None:
    if not REPOSITORY.fullmatch(repository):
        raise ExecutionError(f"{HUB}{repository} names no repository of the Hub; expected {HUB}ORG/NAME")


def _not_had(repository: str, revision: str | None, error: Exception) -> ExecutionError:
    """The error about a repository that can't be fetched: what is wrong, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    unknown = isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)
    kind = ExecutionError if unknown and not isinstance(error, GatedRepoError) else NotHadError
    return kind(
        f"{HUB}{repository}{'' if revision is None else f' (revision {revision})'} is not in the local cache "
        f"({constants.HF_HUB_CACHE}) and cannot be fetched from the Hub: {reason_of(error)}; download it where the "
        f"Hub can be reached (`hf download {repository}{'' if revision is None else f' --revision {revision}'}`) "
        "and set HF_HOME to that cache, or give its folder as the source"
    )


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the Hub's cache (`models--ORG--NAME/snapshots/COMMIT`); None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name) else None


def reason_of(error: Exception, *, what: str = "repository") -> str:
    """Why something of the Hub can't be had, in a clause."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, GatedRepoError):
        return "it is gated: accept its terms on the Hub and log in (`hf auth login`, or HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such {what}, or it is private and HF_TOKEN does not open it"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
