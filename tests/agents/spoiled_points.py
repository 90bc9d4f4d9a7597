"""Faults at every point where a worker reaches outside itself: before and after each publish, and each vault save."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from sealwire.agents.producer import Refused

if TYPE_CHECKING:
    from world import Station

CRASHES = ("crash before", "crash after")
WITHIN = 5.0  # seconds that a thread waits for its test at most


class Faults:
    """Counts what one worker publishes and saves from now on, and spoils the ``at``-th of them (from 0) in one way.

    ``reached`` is set once that happened; a worker that is to crash stores nothing more from then on. What hangs goes
    on with ``let_go``.
    """

    def __init__(self, station: Station, at: int, how: str) -> None:
        self.reached, self._free = asyncio.Event(), threading.Event()
        self._station, self._at, self._how = station, at, how
        self.dead, self.spoiled, self._count = False, False, 0
        self._loop = asyncio.get_running_loop()
        self._publish, self._save = station.control.publish, station.store.save
        station.control.publish = self.publish  # type: ignore[method-assign]
        station.store.save = self.save  # type: ignore[method-assign]

    def let_go(self) -> None:
        """End what hangs."""
        self._free.set()

    def end(self) -> None:
        """Spoil nothing from now on. Whether anything was, ``spoiled`` tells."""
        self._at = -1

    def _spoils(self) -> bool:
        self._count += 1
        found = self._count - 1 == self._at
        self.spoiled = self.spoiled or found
        return found

    def _die(self) -> None:
        self.dead = self._station.cloud_writer.dead = self._station.local_writer.dead = True
        self._loop.call_soon_threadsafe(self.reached.set)

    async def publish(self, topic: str, statement: bytes, record_key: bytes, until: int | None = None) -> None:
        """Publish as Control does, or worse."""
        if self._spoils():
            if self._how == "fail":
                self.reached.set()
                raise Refused("no")
            if self._how == "hang":
                self.reached.set()
                while not self._free.is_set():
                    await asyncio.sleep(0.005)
            if self._how == "crash after":
                await self._publish(topic, statement, record_key, until)
            if self._how in CRASHES:
                self._die()
        if self.dead:
            await asyncio.Event().wait()
        await self._publish(topic, statement, record_key, until)

    def save(self, secrets: Any) -> None:
        """Save as a vault does, or worse; in the thread that saves."""
        if self._spoils():
            if self._how == "fail":
                self._loop.call_soon_threadsafe(self.reached.set)
                raise OSError(28, "No space left on device")
            if self._how == "hang":
                self._loop.call_soon_threadsafe(self.reached.set)
                self._free.wait(WITHIN)
            if self._how == "crash after":
                self._save(secrets)
            if self._how in CRASHES:
                self._die()
        if self.dead:
            raise OSError(5, "dead")
        self._save(secrets)
