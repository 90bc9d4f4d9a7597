"""Delivery exactly once: batches and what is written of them in one transaction, short ones, one at a time a lane.

A transaction begins with the first batch, or the first word to be written. After 100 ms, or 8 MB, no new round may
begin; those that run end, each of their batches acknowledged (a commit succeeds even after a refused one); cursors,
positions and ledger are written; it is committed; and only then all of that counts here as well. Whatever is in doubt
ends the lane: its successor takes the transactional id, which aborts what is open, and reads back what counts.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from sealwire.agents.delivering import Ended
from sealwire.agents.producer import Doubt, Fenced, Refused
from sealwire.agents.writer import Stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sealwire.agents.cursors import CursorLog
    from sealwire.agents.ports import Transactions

_log = logging.getLogger(__name__)
_OPEN_FOR = 0.1  # seconds
_OPEN_TO = 8 * 1024 * 1024  # bytes
_DEADLINE = 8.0  # seconds: before the coordinator would abort it, and fence us as if we were somebody's predecessor
_ABORT_WITHIN = 1.0  # seconds


class ExactlyOnce:
    """The transactions of one lane. ``fail`` is told why the lane ends, and whether it was fenced."""

    def __init__(self, producer: Transactions, log: CursorLog, fail: Callable[[str, bool], None]) -> None:
        self._producer, self._log, self._fail = producer, log, fail
        self._gate, self._quiet, self._full = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._gate.set()
        self._quiet.set()
        self._running = self._size = 0
        self._open_since: float | None = None  # the loop's clock: an open transaction
        self._since: float | None = None  # since when something waits to be committed
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._closed = self._stuck = False
        self._step = ""  # of a commit

    @property
    def waits(self) -> str:
        """What the coordinator said last, where it did not do what it was asked for."""
        return self._producer.waits

    async def begin(self) -> None:
        """Take the transactional id: whoever delivered for this lane before does so no more."""
        await self._producer.begin()

    @asynccontextmanager
    async def round(self, topic: str, partition: int) -> AsyncIterator[Transactions]:
        """Let batches be produced in the open transaction, or the next one."""
        self.pending()
        while not self._gate.is_set() and not self._closed:
            await self._gate.wait()
        if self._closed:
            raise Ended
        self._running += 1
        self._quiet.clear()
        self.pending()
        try:
            await self._include([(topic, partition), self._log.cursors, self._log.ledger])
            yield self._producer
        except Doubt as error:
            self._end(error)
            raise Ended(stuck=self._stuck) from error
        finally:
            self._running -= 1
            if not self._running:
                self._quiet.set()

    async def _include(self, partitions: list[tuple[str, int]]) -> None:
        now = asyncio.get_running_loop().time()
        try:
            await self._producer.include(partitions)
        finally:
            if self._open_since is None and self._producer.open:
                self._open_since = now

    def took(self, size: int) -> None:
        """Commit soon where this is much."""
        self._size += size
        if self._size >= _OPEN_TO:
            self._full.set()

    def pending(self) -> None:
        """Commit within the time that a transaction has, counted from here if nothing else waits."""
        if self._since is None and not self._closed:
            self._since = asyncio.get_running_loop().time()
            if self._task is None:
                self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._since is not None and not self._closed:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._since + _OPEN_FOR):
                        await self._full.wait()
                await self.flush()
        finally:
            self._task = None

    async def flush(self) -> None:
        """Commit what is open and what is pending, unless the lane has ended; returns when it counts."""
        async with self._turn:
            if self._closed:
                return
            self._gate.clear()
            self._since = None
            try:
                await self._commit_in_time()
            except (Doubt, Refused) as error:
                self._end(error)
            except Stopped:
                self._closed = True
            finally:
                self._size = 0
                self._full.clear()
                self._gate.set()

    async def _commit_in_time(self) -> None:
        begun = self._open_since or asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(begun + _DEADLINE):
                self._step = "batches"
                await self._quiet.wait()
                await self._commit()
        except TimeoutError:
            self._stuck = True
            said = f", {self.waits}" if self.waits else ""
            message = f"the local cluster did not take a transaction within {_DEADLINE:.0f} s ({self._step}{said})"
            raise Doubt(message) from None

    async def _commit(self) -> None:
        owed: list[Callable[[], None]] = []
        if self._log.pending:
            self._step = "delivery records"
            await self._include([self._log.cursors, self._log.ledger])
            owed = await self._log.write(self._producer.produce)
        if self._open_since is not None:
            self._step = "commit"
            await self._producer.commit()
            self._open_since = None
        for call in owed:
            call()

    def _end(self, error: Exception) -> None:
        if not self._closed:
            self._closed = True
            self._producer.close()
            self._gate.set()
            self._fail(str(error), isinstance(error, Fenced))

    async def close(self, *, orderly: bool) -> None:
        """End; rounds that run may end and count, where that is asked for, and no new one begins."""
        if orderly:
            await self.flush()
        if self._closed:
            return
        self._closed = True
        self._gate.set()
        # Readers of the sink would wait for it until it is aborted for us. Where something may still be on its way that
        # is left to whoever takes the id next: what arrives behind an abort would wait for one for ever.
        if self._open_since is not None and not self._running:
            with suppress(Doubt, Stopped, TimeoutError):
                async with asyncio.timeout(_ABORT_WITHIN):
                    await self._producer.abort()
        self._producer.close()
