"""A safetensors file that is written row by row, and read without loading it.

The format is the length of the header (8 bytes, little-endian), the header (JSON: name -> type, shape, offsets), and
the tensors, row-major, one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

TYPES: dict[str, npt.DTypeLike] = {"F32": np.float32, "I64": np.int64}
CODES = {np.dtype(dtype): code for code, dtype in TYPES.items()}
Array = npt.NDArray[Any]
Layout = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]
"""Tensor -> its type and shape."""


class TensorFile:
    """A new safetensors file of tensors whose shapes are known and whose rows come in any order.

    Use it as a context manager: leaving it normally checks that every row was written.

    Args:
        path: The file.
        layout: Its tensors: float32 or int64, of at least one dimension.

    Raises:
        OSError: if the file can't be written.
        ValueError: for a type or shape that is not supported.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = {name: (np.dtype(dtype), tuple(shape)) for name, (dtype, shape) in layout.items()}
        for name, (dtype, shape) in self.layout.items():
            if dtype not in CODES or not shape:
                raise ValueError(f"{name}: expected float32 or int64 of at least one dimension, got {dtype} {shape}")
        self.written = {name: np.zeros(shape[0], dtype=bool) for name, (_, shape) in self.layout.items()}
        self.offsets: dict[str, int] = {}
        header, offset = {}, 0
        # Large items first, so that every tensor is aligned.
        for name in sorted(self.layout, key=lambda name: -self.layout[name][0].itemsize):
            dtype, shape = self.layout[name]
            end = offset + math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, end]}
            self.offsets[name], offset = offset, end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        self._start = 8 + len(text)
        self._file = path.open("xb")
        try:
            self._file.write(len(text).to_bytes(8, "little") + text)
            self._file.truncate(self._start + offset)
        except OSError:  # a full disk, which closing says once more
            with suppress(OSError):
                self._file.close()
            raise

    def write(self, name: str, rows: slice | Sequence[int], values: npt.ArrayLike) -> None:
        """Write some rows of a tensor.

        Args:
            name: The tensor.
            rows: Which rows, along the first dimension.
            values: Their values, [rows, ...], of the declared type.

        Raises:
            ValueError: for an unknown tensor, a row that is not there, or values of another type or shape.
        """
        if name not in self.layout:
            raise ValueError(f"{name}: the file has no such tensor (it has {', '.join(self.layout)})")
        dtype, shape = self.layout[name]
        array = np.asarray(values)
        numbers = list(range(*rows.indices(shape[0]))) if isinstance(rows, slice) else [int(row) for row in rows]
        if array.dtype != dtype or array.shape != (len(numbers), *shape[1:]):
            raise ValueError(
                f"{name}: expected {dtype} {[len(numbers), *shape[1:]]}, got {array.dtype} {list(array.shape)}"
            )
        if not all(0 <= number < shape[0] for number in numbers):
            raise ValueError(f"{name}: rows {numbers} are not all among its {shape[0]}")
        size = math.prod(shape[1:]) * dtype.itemsize
        array = np.ascontiguousarray(array)
        for number, row in zip(numbers, array, strict=True):
            self._file.seek(self._start + self.offsets[name] + number * size)
            self._file.write(row.tobytes() if row.ndim == 0 else memoryview(row).cast("B") if size else b"")
        self.written[name][numbers] = True

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        missing = [name for name, written in self.written.items() if not written.all()]
        if error is None and missing:
            raise ValueError(f"{missing[0]}: {int((~self.written[missing[0]]).sum())} row(s) were never written")


def open_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a file that :class:`TensorFile` wrote, memory-mapped: what is not used is not read."""
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(length))
    found: dict[str, Array] = {}
    for name, entry in header.items():
        dtype, shape = np.dtype(TYPES[entry["dtype"]]), tuple(entry["shape"])
        offset = 8 + length + entry["data_offsets"][0]
        # An empty file region can't be mapped.
        empty = 0 in shape
        found[name] = np.empty(shape, dtype) if empty else np.memmap(path, dtype, "r", offset=offset, shape=shape)
    return found
