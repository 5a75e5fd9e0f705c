"""Where the data sets of a spec are: files of this machine, or of data sets on the Hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from mechshift_core.errors import ExecutionError
from mechshift_core.files import read_regular
from mechshift_core.models.hub import HUB
from mechshift_core.models.hub_data import hub_file
from mechshift_core.spec.schema import Spec
from mechshift_core.spec.tasks import TaskSpec
from mechshift_core.tasks.counterfactual import DataFile
from mechshift_core.tasks.custom import MOST_BYTES


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """The file of a data set on this machine, and what it is."""

    path: Path
    file: DataFile


def locate_data(spec: Spec, task: TaskSpec) -> LocatedFile | None:
    """The file of a task's data set; one of the Hub is downloaded unless the local cache has it.

    Returns:
        None for a generated task.

    Raises:
        NotHadError: if it is a file of the Hub that can't be had here.
        ExecutionError: if there is no such file, or it can't be read.
    """
    if task.dataset is None:
        return None
    path, commit = spec.resolve(task.dataset), None
    if task.dataset.startswith(HUB):
        found = hub_file(task.dataset.removeprefix(HUB), revision=task.revision, most=MOST_BYTES)
        path, commit = found.path, found.commit
    try:
        digest = hashlib.sha256(read_regular(path, MOST_BYTES)).hexdigest()
    except OSError as error:
        raise ExecutionError(f"dataset {task.dataset} cannot be read: {error.strerror or error}") from error
    return LocatedFile(path, DataFile(task.dataset, digest, commit))
