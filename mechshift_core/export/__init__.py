"""Findings of runs for other tools: one SQLite file."""

from mechshift_core.export.sqlite import export

__all__ = ["export"]
