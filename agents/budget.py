"""How much a worker may hold at a time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

_LEAST = 64 * 1024  # bytes: with less room than this nothing is asked for


class Budget:
    """A bound on the bytes in flight in a process.

    What is taken may pass the bound by one answer that turned out larger than asked for (one batch above every limit
    is served whole, KIP-74); then nothing is given until it is back under.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._used = 0
        self._changed = asyncio.Event()

    @property
    def used(self) -> int:
        """Bytes that are in flight now."""
        return self._used

    @property
    def room(self) -> int:
        """Bytes that may still be taken; negative while an oversized answer is in flight."""
        return self.total - self._used

    def take(self, wanted: int) -> int:
        """Take up to ``wanted`` bytes; 0 when there is too little room."""
        given = min(wanted, self.room)
        if given < min(_LEAST, wanted, self.total):
            return 0
        self._used += given
        return given

    def add(self, count: int) -> None:
        """Take ``count`` bytes that are there already, whatever the bound."""
        self._used += count

    def release(self, count: int) -> None:
        """Give bytes back."""
        self._used = max(self._used - count, 0)
        self._changed.set()

    async def wait(self, within: float = 1.0) -> None:
        """Wait until something is given back, or ``within`` seconds."""
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._changed.wait()
