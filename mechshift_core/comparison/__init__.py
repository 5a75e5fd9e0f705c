"""Two runs side by side: only what differs."""

from mechshift_core.comparison.runs import compare_runs

__all__ = ["compare_runs"]
