"""Delivery records of a lane: read back whole before anything is delivered, written after every delivery."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock, records
from sealwire.agents.header import read_header
from sealwire.agents.merging import merge
from sealwire.agents.single import record_batch
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys.delivery import Delivery, Position, read_record_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.ports import Reader, Writer
    from sealwire.agents.seat import Fetched

_log = logging.getLogger(__name__)
_POSITION = b"\0\0"  # a name's length is never 0, so no delivery record has such a record key
_FLUSH_EVERY = 0.05  # seconds
_TRY_AGAIN = 2.0  # seconds after delivery records that the local cluster refused


def position_key(topic: str, partition: int) -> bytes:
    """Return the record key of a cloud partition's position record."""
    return _POSITION + partition.to_bytes(4, "big") + topic.encode()


def _go_on(furthest: dict[bytes, Delivery], key: bytes, value: bytes | None) -> None:
    """Take a delivery record, unless it is one that was overtaken.

    A worker that lost its lane while it could not reach us, or did not run at all, writes what it had in hand when it
    goes on, behind what its successor wrote; what it delivered was delivered, so the furthest cursor is the true one.
    """
    if value is None:
        furthest.pop(key, None)
        return
    delivery = Delivery.decode(value)
    if key not in furthest or (delivery.cursor.next or 0) >= (furthest[key].cursor.next or 0):
        furthest[key] = delivery


class CursorLog:
    """The partition of the cursor topic that belongs to one lane."""

    def __init__(self, reader: Reader, writer: Writer, topic: str, lane: int) -> None:
        self._reader, self._writer, self._topic, self._lane = reader, writer, topic, lane
        self._pending: dict[bytes, Callable[[], bytes]] = {}
        self._kept: list[tuple[bytes, Callable[[], bytes]]] = []
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self.closed = False

    async def read_back(self) -> tuple[list[tuple[str, Delivery]], dict[tuple[str, int], Position]]:
        """Read every delivery record, with its sink topic, and position: of each record key the last one.

        A delivery record counts only where it is not behind one before it.
        Raises Rejected where the topic holds what is neither.
        """
        start = await self._reader.log_start(self._topic, self._lane)
        end = await self._reader.end_offset(self._topic, self._lane)
        found: dict[bytes, bytes | None] = {}
        furthest: dict[bytes, Delivery] = {}
        if end > start:
            await self._read(start, end, found, furthest)
        positions: dict[tuple[str, int], Position] = {}
        for key, value in found.items():
            if value is not None and key.startswith(_POSITION):
                positions[key[6:].decode(), int.from_bytes(key[2:6], "big")] = Position.decode(value)
            elif key in furthest and furthest[key].encode() != value:
                # Once more, before compaction leaves only the one that was overtaken.
                self.put(key, furthest[key].encode)
        return [(read_record_key(key)[0], delivery) for key, delivery in furthest.items()], positions

    async def _read(
        self, start: int, end: int, found: dict[bytes, bytes | None], furthest: dict[bytes, Delivery]
    ) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(fetched: Fetched) -> None:
            for _header, batch in fetched.scan.application():
                for record in records.read(batch):
                    if record.record_key is not None:
                        value = None if record.value is None else bytes(record.value)
                        key = bytes(record.record_key)
                        found[key] = value
                        if not key.startswith(_POSITION):
                            _go_on(furthest, key, value)
            fetched.release()
            if fetched.next >= end and not done.done():
                done.set_result(None)

        def failed(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        seat = self._reader.seat(self._topic, self._lane, start, take, failed)
        try:
            await done
        finally:
            self._reader.unseat(seat)

    def put(self, record_key: bytes, value: Callable[[], bytes], *, keep: bool = False) -> None:
        """Write ``value()`` soon; of several under one record key only the last is written, and those to ``keep``."""
        if keep:
            self._kept.append((record_key, value))
            self._pending.pop(record_key, None)
        else:
            self._pending[record_key] = value
        if self._task is None and not self.closed:
            self._task = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        try:
            while (self._pending or self._kept) and not self.closed:
                await asyncio.sleep(_FLUSH_EVERY)
                await self.flush()
        finally:
            self._task = None

    async def flush(self) -> None:
        """Write what is pending; returns when the local cluster has that, and what was on its way before."""
        async with self._turn:
            pending, self._pending = self._pending, {}
            kept, self._kept = self._kept, []
            if not pending and not kept:
                return
            now = clock.now()
            # Positions last: one says that all before it is delivered, and the batches may be cut between them.
            ordered = [*kept, *sorted(pending.items(), key=lambda item: item[0].startswith(_POSITION))]
            batches = [memoryview(record_batch(value(), now, key)) for key, value in ordered]
            try:
                for ready in merge((batch, read_header(batch)) for batch in batches):
                    await self._writer.produce(self._topic, self._lane, ready.batch)
            except Refused as error:
                # Without them a restart delivers again: they are kept, and tried again with the next one.
                self._pending, self._kept = {**pending, **self._pending}, [*kept, *self._kept]
                _log.error("the local cluster will not take delivery records: %s; trying again", error)
                await asyncio.sleep(_TRY_AGAIN)
            except Stopped:
                self.closed = True
