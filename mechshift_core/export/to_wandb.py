"""A run as a run of Weights & Biases."""

from __future__ import annotations

from pathlib import Path

from mechshift_core.errors import ExecutionError
from mechshift_core.export.logged import logged_of, tracker


def to_wandb(run: Path, project: str) -> str:
    """Log a run: its findings as summary, spec and provenance as config, report and tables as an artifact.

    Where it goes, or whether it stays on this disk (`WANDB_MODE=offline`), is as the environment of wandb says.

    Args:
        run: The run directory.
        project: Name of the project.

    Returns:
        Where it is: an address, or a folder where wandb is offline.

    Raises:
        UsageError: if the folder holds no run, or wandb is not installed.
        ExecutionError: if the run has not come to an end, or wandb fails.
    """
    wandb = tracker("wandb")
    logged = logged_of(run)
    try:
        made = wandb.init(project=project, name=logged.name, config=dict(logged.config), job_type="mechshift")
        try:
            made.summary.update({**logged.numbers, **logged.words})
            artifact = wandb.Artifact(f"mechshift-{logged.study}", type="mechshift-run")
            for path in logged.files:
                artifact.add_file(str(path))
            if logged.tables.is_dir():
                artifact.add_dir(str(logged.tables), name="tables")
            made.log_artifact(artifact)
        finally:
            made.finish()
    except (wandb.Error, OSError) as error:
        raise ExecutionError(f"--wandb {project}: {error}") from error
    return str(made.url or made.dir)
