"""What a worker process does before anything else; named to Dask as its `preload`.

An interrupt is for whoever started the run to answer; and a worker of this machine ends when that process does, however
it ends.
"""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import connection, parent_process
from typing import Any


def dask_setup(worker: Any) -> None:
    """Called by Dask in a new worker process."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
