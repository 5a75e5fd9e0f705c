"""Kinds by name, with where each comes from: this package, another one, or a file that a spec names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from mechshift_core.errors import UsageError

K = TypeVar("K")
OURS = "mechshift"
"""Where the kinds of this package come from."""
GROUP = "mechshift.kinds"
"""The entry points by which other packages bring kinds; each is a kind, or a list of them."""
_changes = [0]


def generation() -> int:
    """How often kinds have been added to those that are installed; what was made of them before is old."""
    return _changes[0]


class KindError(UsageError):
    """A kind that can't be registered, with the reason."""


class KindWarning(UserWarning):
    """A package whose kinds can't be had, with the reason."""


class Registry(Mapping[str, K], Generic[K]):
    """The kinds of one sort, in the order in which they were added.

    Args:
        sort: What they are, e.g. `measure`.
        ours: Gives those of this package; asked for when the registry is first used.
        name: The name of a kind.
        belongs: Whether something that another package brings is of this sort.
        faults: What is inconsistent about a kind.
    """

    def __init__(
        self,
        sort: str,
        ours: Callable[[], Iterable[K]],
        name: Callable[[K], str],
        belongs: Callable[[object], bool],
        faults: Callable[[K], Iterable[str]] = lambda _: (),
    ) -> None:
        self.sort = sort
        self._ours, self._name, self._belongs, self._faults = ours, name, belongs, faults
        self._kinds: dict[str, K] | None = None
        self._origins: dict[str, str] = {}

    def add(self, kind: K, *, origin: str) -> None:
        """Register a kind; one that is registered already from the same place takes the other's.

        Raises:
            KindError: if it is inconsistent, or another one has its name.
        """
        self._take(self._known, kind, origin)
        _changes[0] += 1

    def takes(self, kind: object) -> bool:
        """Whether something is a kind of this sort."""
        return self._belongs(kind)

    def named(self, kind: K) -> str:
        """The name of a kind."""
        return self._name(kind)

    def origin(self, name: str) -> str:
        """Where a kind comes from: `mechshift`, a package with its version, or a file with its hash."""
        return self._origins[name] if name in self._known else ""

    def marks(self, name: str) -> list[str]:
        """What tells a kind from others of its name: where it comes from; nothing for those of this package."""
        origin = self.origin(name)
        return [] if origin == OURS else [origin]

    @property
    def _known(self) -> dict[str, K]:
        if self._kinds is None:
            found: dict[str, K] = {}
            for kind in self._ours():
                self._take(found, kind, OURS)
            for other, origin in _installed():
                if self._belongs(other):
                    try:
                        self._take(found, other, origin)
                    except KindError as error:
                        warnings.warn(str(error), KindWarning, stacklevel=2)
            self._kinds = found
        return self._kinds

    def _take(self, known: dict[str, K], kind: Any, origin: str) -> None:
        name, faults = self._name(kind), list(self._faults(kind))
        if name in known and _place(self._origins[name]) != _place(origin):
            faults.append(f"there is one of that name already, from {self._origins[name]}")
        if faults:
            raise KindError(f"{self.sort} {name!r} of {origin}: {'; '.join(faults)}")
        known[name] = kind
        self._origins[name] = origin

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget afterwards what is added within, as tests and tools that read many specs may want."""
        before = dict(self._known), dict(self._origins)
        try:
            yield
        finally:
            if before[0] != self._kinds:
                self._kinds, self._origins = before
                _changes[0] += 1

    def __getitem__(self, name: str) -> K:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._known))

    def __len__(self) -> int:
        return len(self._known)


def _place(origin: str) -> str:
    """An origin without version and hash: of a file that has changed, the new kinds take the place of the old."""
    return origin.partition(" (")[0]


def several(found: object) -> tuple[object, ...]:
    """A kind, or some kinds, as a tuple."""
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def _installed() -> Iterator[tuple[object, str]]:
    """The kinds of other installed packages; a package that can't be imported is warned of and left out."""
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda one: (one.dist.name if one.dist else "", one.name)):
        origin = f"{entry.dist.name} ({entry.dist.version})" if entry.dist is not None else entry.value
        try:
            found = several(entry.load())
        except Exception as error:
            message = f"the kinds of {origin} can't be had: {entry.value}: {type(error).__name__}: {error}"
            warnings.warn(message, KindWarning, stacklevel=2)
            continue
        for kind in found:
            yield kind, origin
