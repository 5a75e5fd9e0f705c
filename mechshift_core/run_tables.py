"""The tables of a run by name, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mechshift_core.errors import ExecutionError, UsageError
from mechshift_core.options import suggestion

if TYPE_CHECKING:
    import polars as pl


class UnknownTableError(UsageError, KeyError):
    """A run has no table of this name; the message lists those that it has."""

    def __str__(self) -> str:
        return str(self.args[0])


class RunTables(Mapping[str, "pl.DataFrame"]):
    """The tables of a run: name -> polars frame.

    A table is read from disk each time that it is asked for, so that it is as the run directory has it now. Columns are
    those of the reference of tables.

    Args:
        folder: `tables` in the run directory.

    Raises:
        UnknownTableError: for a name that the run has no table of; it is a KeyError.
        ExecutionError: if the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> pl.DataFrame:
        import polars as pl

        if name not in list(self):
            known = ", ".join(self) or "none"
            raise UnknownTableError(f"no table {name!r} in {self._folder}{suggestion(name, self)}; there are: {known}")
        file = self._folder / f"{name}.parquet"
        try:
            return pl.read_parquet(file)
        except (OSError, pl.exceptions.PolarsError) as error:
            again = f"`mechshift analyze {self._folder.parent}` writes it again"
            raise ExecutionError(f"{file}: cannot be read: {error}; {again}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self._folder.glob("*.parquet")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"RunTables({len(self)} tables: {', '.join(self)})"
