"""Files of data sets on the Hugging Face Hub, or in its local cache where there is no network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mechshift_core.errors import ExecutionError
from mechshift_core.models.hub import HUB, REPOSITORY, NotHadError, commit_of, reason_of


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in the local cache.

    Attributes:
        commit: Of the data set that it is a file of.
    """

    path: Path
    commit: str | None


def hub_file(name: str, *, revision: str | None, most: int) -> HubFile:
    """A file of a data set, downloaded where the cache does not have it yet.

    `HF_HOME`, `HF_HUB_OFFLINE` and `HF_TOKEN` count as for every tool that uses the Hub.

    Args:
        name: `ORG/NAME/FILE`; the file may be in folders.
        revision: Commit, branch or tag; the main branch if None.
        most: Bytes of the largest file that is downloaded.

    Raises:
        NotHadError: if the file is not in the cache and can't be fetched, with the reason and what to do.
        ExecutionError: if there is no such data set, revision or file, or it is too large.
    """
    from huggingface_hub import hf_hub_download

    organisation, _, rest = name.partition("/")
    short, _, file = rest.partition("/")
    repository = f"{organisation}/{short}"
    if not REPOSITORY.fullmatch(repository) or not file:
        raise ExecutionError(f"{HUB}{name} names no file of a data set on the Hub; expected {HUB}ORG/NAME/FILE")
    try:
        found = hf_hub_download(repository, file, repo_type="dataset", revision=revision, dry_run=True)
        if found.file_size is not None and found.file_size > most:
            size = f"{found.file_size / 2**20:.0f} MiB"
            raise ExecutionError(f"{HUB}{name} has {size}; at most {most / 2**20:.0f} MiB are read")
        path = Path(hf_hub_download(repository, file, repo_type="dataset", revision=revision))
    except ExecutionError:
        raise
    except Exception as error:  # of HTTP, of the file system, of the Hub; the client lets all of them through
        raise _not_had(repository, file, revision, error) from error
    return HubFile(path, next(filter(None, map(commit_of, path.parents)), None))


def _not_had(repository: str, file: str, revision: str | None, error: Exception) -> ExecutionError:
    """The error about a file that can't be fetched: what is wrong, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = f"{HUB}{repository}/{file}{'' if revision is None else f' (revision {revision})'}"
    if isinstance(error, RemoteEntryNotFoundError):
        return ExecutionError(f"{name}: the data set {repository} has no file {file!r}")
    if isinstance(error, RepositoryNotFoundError | RevisionNotFoundError) and not isinstance(error, GatedRepoError):
        return ExecutionError(f"{name} cannot be fetched from the Hub: {reason_of(error, what='data set')}")
    cause = error.__cause__  # where there is no answer at all, the client only says that the file is not in the cache
    told = cause if isinstance(error, LocalEntryNotFoundError) and isinstance(cause, Exception) else error
    chosen = "" if revision is None else f" --revision {revision}"
    return NotHadError(
        f"{name} is not in the local cache ({constants.HF_HUB_CACHE}) and cannot be fetched from the Hub: "
        f"{reason_of(told)}; download it where the Hub can be reached (`hf download {repository} {file} --repo-type "
        f"dataset{chosen}`) and set HF_HOME to that cache, or give the file itself as `dataset`"
    )
