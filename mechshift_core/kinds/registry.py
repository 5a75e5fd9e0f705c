"""Kinds by name, with where each comes from: this package, another one, or a file that a spec names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from mechshift_core.errors import UsageError

K = TypeVar("K")
OURS = "mechshift"
"""Where the kinds of this package come from."""


_changes = [0]


def generation() -> int:
    """How often kinds have been added to those of this package and of others installed; what is made of them is old
    once it has changed."""
    return _changes[0]


class KindError(UsageError):
    """A kind that can't be registered, with the reason."""


class Registry(Mapping[str, K], Generic[K]):
    """The kinds of one sort, in the order in which they were added.

    Args:
        sort: What they are, e.g. `measure`.
        ours: Gives those of this package; asked for when the registry is first used.
        name: The name of a kind.
        faults: What is inconsistent about a kind.
    """

    def __init__(
        self,
        sort: str,
        ours: Callable[[], Iterable[K]],
        name: Callable[[K], str],
        faults: Callable[[K], Iterable[str]] = lambda _: (),
    ) -> None:
        self.sort = sort
        self._ours, self._name, self._faults = ours, name, faults
        self._kinds: dict[str, K] | None = None
        self._origins: dict[str, str] = {}

    def add(self, kind: K, *, origin: str) -> None:
        """Register a kind; one that is registered already from the same place takes the other's.

        Raises:
            KindError: if it is inconsistent, or another one has its name.
        """
        self._checked(self._known, kind, origin)
        _changes[0] += 1

    def origin(self, name: str) -> str:
        """Where a kind comes from."""
        self._known  # noqa: B018  # fills in the origins
        return self._origins[name]

    @property
    def _known(self) -> dict[str, K]:
        if self._kinds is None:
            found: dict[str, K] = {}
            for kind in self._ours():
                self._checked(found, kind, OURS)
            self._kinds = found
        return self._kinds

    def _checked(self, known: dict[str, K], kind: K, origin: str) -> None:
        name = self._name(kind)
        faults = list(self._faults(kind))
        if name in known and self._origins[name] != origin:
            faults.append(f"there is one of that name already, from {self._origins[name]}")
        if faults:
            raise KindError(f"{self.sort} {name!r} of {origin}: {'; '.join(faults)}")
        known[name] = kind
        self._origins[name] = origin

    def __getitem__(self, name: str) -> K:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._known))

    def __len__(self) -> int:
        return len(self._known)
