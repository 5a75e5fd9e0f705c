"""What can go wrong for a user, with the exit code that the command line answers with."""

from __future__ import annotations


class MechshiftError(Exception):
    """Base of every error that is reported as one message, without a traceback."""

    exit_code = 3


class UsageError(MechshiftError):
    """The spec, another input file or the command line is wrong."""

    exit_code = 2


class ExecutionError(MechshiftError):
    """Something failed while a run was executed, or the run is partial."""

    exit_code = 3
