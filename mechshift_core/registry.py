"""Kinds by name, with where each comes from: this package, another one, or a file that a spec names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from mechshift_core.errors import UsageError
from mechshift_core.package_code import package_code

K = TypeVar("K")
OURS = "mechshift"
"""Where the kinds of this package come from."""
GROUP = "mechshift.kinds"
"""The entry points by which other packages bring kinds; each is a kind, or a list of them."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names of kinds, of what hypotheses can name and of tables: they become keys, file names and addresses in a page."""
_generations: dict[tuple[str, ...], int] = {(): 0}
_now = [0]


def generation() -> int:
    """A number that tells which kinds are in effect; what was made of other kinds has another one."""
    return _now[0]


def effective(key: tuple[str, ...]) -> None:
    """Say which files' kinds are in effect beside those that are installed."""
    _now[0] = _generations.setdefault(key, len(_generations))


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
        self._installed: frozenset[str] = frozenset()
        self._origins: dict[str, str] = {}

    def add(self, kind: K, *, origin: str) -> None:
        """Register a kind, besides those that are installed.

        Raises:
            KindError: if it is inconsistent, or another one has its name.
        """
        self._take(self._known, kind, origin)

    @property
    def added(self) -> tuple[K, ...]:
        """The kinds that are not of this package; while those are being registered none."""
        known = self._kinds or {}
        return tuple(kind for name, kind in known.items() if self._origins[name] != OURS)

    def forget(self) -> None:
        """Leave only the kinds that are installed."""
        if self._kinds is not None:
            for name in [name for name in self._kinds if name not in self._installed]:
                del self._kinds[name], self._origins[name]

    def takes(self, kind: object) -> bool:
        """Whether something is a kind of this sort."""
        try:
            return self._belongs(kind)
        except Exception as error:
            raise KindError(f"{type(kind).__name__}: {type(error).__name__}: {error}") from error

    def named(self, kind: K) -> str:
        """The name of a kind."""
        return self._name(kind)

    def origin(self, name: str) -> str:
        """Where a kind comes from: `mechshift`, a package with its version and code, or a file with its hash."""
        return self._origins[name] if name in self._known else ""

    def marks(self, name: str) -> list[str]:
        """What tells a kind from others of its name: where it comes from; nothing for those of this package."""
        origin = self.origin(name)
        return [] if origin in ("", OURS) else [origin]

    @property
    def _known(self) -> dict[str, K]:
        if self._kinds is None:
            found: dict[str, K] = {}
            for kind in self._ours():
                self._take(found, kind, OURS)
            for other, origin in _installed():
                try:
                    if self.takes(other):
                        self._take(found, other, origin)
                except KindError as error:
                    warnings.warn(str(error), KindWarning, stacklevel=2)
            self._kinds, self._installed = found, frozenset(found)
        return self._kinds

    def _take(self, known: dict[str, K], kind: Any, origin: str) -> None:
        try:
            name = self._name(kind)
            faults = [] if isinstance(name, str) and NAME.fullmatch(name) else [_ill_named(name)]
            faults += list(self._faults(kind))
        except Exception as error:  # of a kind that is not what it says
            name, faults = type(kind).__name__, [f"{type(error).__name__}: {error}"]
        if name in known:
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


def _ill_named(name: object) -> str:
    return f"expected a name of lower-case letters, digits and '_' that begins with a letter, got {name!r}"


def several(found: object) -> tuple[object, ...]:
    """A kind, or some kinds, as a tuple."""
    return tuple(found) if isinstance(found, list | tuple) else (found,)


def _installed() -> Iterator[tuple[object, str]]:
    """The kinds of other installed packages; a package that can't be imported is warned of and left out."""
    from importlib.metadata import entry_points

    for entry in sorted(entry_points(group=GROUP), key=lambda one: (one.dist.name if one.dist else "", one.name)):
        name, version = (entry.value, "") if entry.dist is None else (entry.dist.name, entry.dist.version)
        origin = f"{name} ({version})" if version else name
        try:
            found = several(entry.load())
            code = f"code {package_code(entry.module)}"
        except (Exception, SystemExit) as error:
            message = f"the kinds of {origin} can't be had: {entry.value}: {type(error).__name__}: {error}"
            warnings.warn(message, KindWarning, stacklevel=2)
            continue
        for kind in found:
            yield kind, f"{name} ({version}, {code})" if version else f"{name} ({code})"
