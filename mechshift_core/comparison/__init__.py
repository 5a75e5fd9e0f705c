"""Two runs side by side: only what differs; or any number of them: what each has found."""

from mechshift_core.comparison.runs import compare_many, compare_runs

__all__ = ["compare_many", "compare_runs"]
