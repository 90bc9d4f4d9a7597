"""Delivery at least once: batches as they come, and what is written of them after their acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sealwire.agents.delivering import Ended
from sealwire.agents.writer import Refused, Stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealwire.agents.cursors import CursorLog
    from sealwire.agents.ports import Writer

_log = logging.getLogger(__name__)
_FLUSH_EVERY = 0.05  # seconds
_TRY_AGAIN = 2.0  # seconds after delivery records that the local cluster refused


class AtLeastOnce:
    """Nothing fences another worker of the same lane, and a crash between the two repeats what was in flight."""

    def __init__(self, writer: Writer, log: CursorLog) -> None:
        self._writer, self._log = writer, log
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._running, self._quiet = 0, asyncio.Event()
        self._closed = False

    @property
    def waits(self) -> str:
        """Nothing is waited for."""
        return ""

    async def begin(self) -> None:
        """Nothing is to be made sure of."""

    @asynccontextmanager
    async def round(self, topic: str, partition: int) -> AsyncIterator[Writer]:  # noqa: ARG002
        """Let batches be produced."""
        if self._closed:
            raise Ended
        self._running += 1
        self._quiet.clear()
        try:
            yield self._writer
        finally:
            self._running -= 1
            self._quiet.set()

    def took(self, size: int) -> None:
        """Nothing is bounded here."""

    def pending(self) -> None:
        """Write it soon."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        try:
            while self._log.pending and not self._closed:
                await asyncio.sleep(_FLUSH_EVERY)
                await self.flush()
        finally:
            self._task = None

    async def flush(self) -> None:
        """Write what is pending; returns when the local cluster has that, and what was on its way before."""
        async with self._turn:
            if not self._log.pending:
                return
            try:
                owed = await self._log.write(self._writer.produce)
            except Refused as error:
                # Without them a restart delivers again: they are kept, and tried again with the next one.
                _log.error("the local cluster will not take delivery records: %s; trying again", error)
                await asyncio.sleep(_TRY_AGAIN)
                return
            except Stopped:
                self._closed = True
                return
            for call in owed:
                call()

    async def close(self, *, orderly: bool) -> None:
        """Begin no more rounds; with ``orderly`` let those that run end, and write what is pending."""
        try:
            while orderly and self._running and not self._closed:
                await self._quiet.wait()
                self._quiet.clear()
            if orderly:
                await self.flush()
        finally:
            self._closed = True
