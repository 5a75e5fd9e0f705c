"""Runs for other tools: one SQLite file of many, the files of a paper, and experiment trackers."""

from mechshift_core.export.paper import export_paper
from mechshift_core.export.sqlite import export
from mechshift_core.export.to_mlflow import to_mlflow
from mechshift_core.export.to_wandb import to_wandb

__all__ = ["export", "export_paper", "to_mlflow", "to_wandb"]
