"""A run as a run of MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mechshift_core.errors import ExecutionError
from mechshift_core.export.logged import Logged, flat, logged_of, tracker

BATCH = 100
"""Most parameters that a server of MLflow takes at once."""
LONGEST = 500
"""Characters of a parameter's value that every version keeps; longer ones are in the files whole."""


def to_mlflow(run: Path, uri: str) -> str:
    """Log a run in an experiment named after its study: metrics of the findings, settings as parameters, and files.

    Args:
        run: The run directory.
        uri: Where MLflow tracks: a server, or `file:` or `sqlite:` of this machine.

    Returns:
        The identifier of the run of MLflow.

    Raises:
        UsageError: if the folder holds no run, or MLflow is not installed.
        ExecutionError: if the run has not come to an end, or MLflow fails.
    """
    mlflow = tracker("mlflow")
    logged = logged_of(run)
    try:
        client = mlflow.MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(logged.study)
        experiment = client.create_experiment(logged.study) if known is None else known.experiment_id
        made = client.create_run(experiment, run_name=logged.name).info.run_id
        try:
            _log(client, made, logged)
        except BaseException:
            client.set_terminated(made, status="FAILED")
            raise
        client.set_terminated(made)
    except (mlflow.MlflowException, OSError) as error:
        raise ExecutionError(f"--mlflow {uri}: {error}") from error
    return str(made)


def _log(client: Any, made: str, logged: Logged) -> None:
    for name, value in logged.numbers.items():
        client.log_metric(made, name, value)
    for name, text in logged.words.items():
        client.set_tag(made, name, text)
    settings = list(flat(logged.config))
    from mlflow.entities import Param

    for first in range(0, len(settings), BATCH):
        some = [Param(name, value[:LONGEST]) for name, value in settings[first : first + BATCH]]
        client.log_batch(made, params=some)
    for path in logged.files:
        client.log_artifact(made, str(path))
    if logged.tables.is_dir():
        client.log_artifacts(made, str(logged.tables), artifact_path="tables")
