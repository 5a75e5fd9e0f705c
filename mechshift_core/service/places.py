"""How much of a server one client can take: so many requests are worked on at once, and the others wait, unread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

READING, CHANGING = 16, 8
"""Requests of one client at once: questions, and what has a body. There are 40 threads for all."""


class Places:
    """Places of clients; who has none left waits for one of its own."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, bool], asyncio.Semaphore] = {}
        self._wanted: dict[tuple[str, bool], int] = {}

    @asynccontextmanager
    async def one(self, client: str, *, changing: bool) -> AsyncIterator[None]:
        """Hold a place."""
        key = (client, changing)
        free = self._free.setdefault(key, asyncio.Semaphore(CHANGING if changing else READING))
        self._wanted[key] = self._wanted.get(key, 0) + 1
        try:
            async with free:
                yield
        finally:
            self._wanted[key] -= 1
            if not self._wanted[key]:
                del self._wanted[key], self._free[key]
