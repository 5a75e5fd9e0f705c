"""`mechshift`, with jobs that compute nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from mechshift_core.cli.main import main
from mechshift_core.service import keeper

keeper.COMMAND = (sys.executable, str(Path(__file__).parent / "stub_work.py"))

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
