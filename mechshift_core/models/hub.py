"""Models from the Hugging Face Hub, or from its local cache where there is no network."""

from __future__ import annotations

import re
from pathlib import Path

from mechshift_core.errors import ExecutionError

HUB = "hf:"
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def snapshot(repository: str, *, revision: str | None, files: tuple[str, ...]) -> Path:
    """The folder of one commit of a repository in the local cache, downloaded where it is not there yet.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` count as for every tool that uses the Hub. No code and no pickled
    weights are fetched: only files at the top of the repository that `files` names.

    Args:
        repository: `ORG/NAME`.
        revision: Commit, branch or tag; the main branch if None.
        files: Names, with `*` for any part of them.

    Raises:
        ExecutionError: if the repository is in no cache and can't be fetched, with the reason and what to do.
    """
    from huggingface_hub import constants, snapshot_download

    if not REPOSITORY.fullmatch(repository):
        raise ExecutionError(f"{HUB}{repository} names no repository of the Hub; expected {HUB}ORG/NAME")
    try:
        folder = snapshot_download(
            repository, revision=revision, allow_patterns=list(files), ignore_patterns=["*/*", "*.py", "*.bin"]
        )
    except Exception as error:  # of HTTP, of the file system, of the Hub; the client lets all of them through
        raise ExecutionError(
            f"{HUB}{repository}{'' if revision is None else f' (revision {revision})'} is not in the local cache "
            f"({constants.HF_HUB_CACHE}) and cannot be fetched from the Hub: {_reason(error)}; download it where the "
            f"Hub can be reached (`hf download {repository}{'' if revision is None else f' --revision {revision}'}`) "
            "and set HF_HOME to that cache, or give its folder as the source"
        ) from error
    return Path(folder)


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the Hub's cache (`models--ORG--NAME/snapshots/COMMIT`); None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name) else None


def _reason(error: Exception) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    if isinstance(error, GatedRepoError):
        return "it is gated: accept its terms on the Hub and log in (`hf auth login`, or HF_TOKEN)"
    if isinstance(error, RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such repository, or it is private and HF_TOKEN does not open it"
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
