"""Other processors on this one: environment variables that choose the instructions and threads of numerical libraries.

    env $(python tests/kernels.py oldest) pytest tests/stats

OpenBLAS (numpy, SciPy), MKL, oneDNN and the loops of PyTorch and numpy each pick, when they are loaded, what the
processor offers; all can be told to pick something older. In another order of summation and without fused multiply-adds
the last digits of every sum are others, as they are on another machine.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path

OLDEST = {
    "OPENBLAS_CORETYPE": "Prescott",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "MKL_CBWR": "COMPATIBLE",
}
KERNELS: dict[str, dict[str, str]] = {
    "oldest": {**OLDEST, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    "nehalem": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OMP_NUM_THREADS": "2",
    },
    "sandybridge": {
        "OPENBLAS_CORETYPE": "Sandybridge",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "AVX",
        "MKL_ENABLE_INSTRUCTIONS": "AVX",
        "OMP_NUM_THREADS": "2",
    },
    "haswell": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OMP_NUM_THREADS": "2",
    },
    "skylake": {
        "OPENBLAS_CORETYPE": "SkylakeX",
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OMP_NUM_THREADS": "1",
    },
}
"""Name -> what chooses it. Zen's kernels are those of Haswell."""
NEEDS = {"sandybridge": {"avx"}, "haswell": {"avx2", "fma"}, "skylake": {"avx512f", "avx512dq", "avx512bw", "avx512vl"}}
"""Flags of the processor without which a kernel cannot be run."""


def available() -> list[str]:
    """The kernels that this machine can run; none on other processors than x86-64."""
    if platform.machine() not in ("x86_64", "AMD64") or not Path("/proc/cpuinfo").exists():
        return []
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = set(next((line.partition(":")[2] for line in lines if line.startswith("flags")), "").split())
    return [name for name in KERNELS if NEEDS.get(name, set()) <= flags]


def environment(name: str) -> dict[str, str]:
    """The variables of a kernel, and for the oldest those that turn off what numpy's own loops would choose."""
    found = dict(KERNELS[name])
    if name == "oldest":
        found["NPY_DISABLE_CPU_FEATURES"] = ",".join(_dispatched())
    return found


def without_kernels(variables: Mapping[str, str]) -> dict[str, str]:
    """Variables without any that chooses a kernel or a number of threads."""
    chosen = {name for one in KERNELS.values() for name in one} | {"NPY_DISABLE_CPU_FEATURES", "MKL_NUM_THREADS"}
    return {name: value for name, value in variables.items() if name not in chosen}


def _dispatched() -> list[str]:
    """What numpy's loops choose among, of what this processor has."""
    from numpy._core._multiarray_umath import (  # type: ignore[import-untyped, unused-ignore]
        __cpu_dispatch__,
        __cpu_features__,
    )

    return [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]


if __name__ == "__main__":
    os.environ.pop("NPY_DISABLE_CPU_FEATURES", None)
    sys.stdout.write(" ".join(f"{name}={value}" for name, value in environment(sys.argv[1]).items() if value) + "\n")
