from __future__ import annotations

from hypothesis import settings

# The same examples in every run, and no time limit for one of them on a busy machine.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
