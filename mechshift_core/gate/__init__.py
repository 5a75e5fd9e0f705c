"""The regression gate: the findings of a run against a stored baseline."""

from mechshift_core.gate.check import Gate, check_run
from mechshift_core.gate.stored import StoredRun, read_baseline, read_run

__all__ = ["Gate", "StoredRun", "check_run", "read_baseline", "read_run"]
