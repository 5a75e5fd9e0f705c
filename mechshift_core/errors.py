"""What can go wrong for a user, with the exit code that the command line answers with."""

from __future__ import annotations

EXIT_CODES = {
    0: "done",
    1: "a finding has regressed, or a hypothesis named in `--fail-on` does not hold",
    2: "the spec, the command line or a baseline is wrong",
    3: "execution failed or is partial, no pair has enough examples on any task (`calibrate`: no hypothesis could be "
    "tested), (`doctor`) something is missing that every run needs, (`cells verify`) a cell is damaged, or (`score`) "
    "faithfulness is undefined",
    4: "`check`: there are only inconclusive findings",
    130: "interrupted",
}
"""What `mechshift` answers with."""


class MechshiftError(Exception):
    """Base of every error that is reported as one message, without a traceback."""

    exit_code = 3


class UsageError(MechshiftError):
    """The spec, another input file or the command line is wrong."""

    exit_code = 2


class ExecutionError(MechshiftError):
    """Something failed while a run was executed, or the run is partial."""

    exit_code = 3
