"""What is written of a lane: delivery records and positions, of each the last; and in the ledger every delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.header import read_header
from sealwire.agents.merging import merge
from sealwire.agents.recorded import is_position
from sealwire.agents.single import record_batch
from sealwire.keys.landmark import LEDGER_KEY, LedgerMark

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sealwire.agents.writer import RecordMetadata

    Produce = Callable[[str, int, memoryview | bytearray], Awaitable[RecordMetadata]]


class CursorLog:
    """The partitions of cursor topic and ledger that belong to one lane: what is pending, and writing it.

    ``changed`` is called when something is. Who writes is the delivery's matter.
    """

    def __init__(self, topic: str, ledger: str, lane: int, changed: Callable[[], None]) -> None:
        self.cursors, self.ledger = (topic, lane), (ledger, lane)
        self._changed = changed
        self._ledger_id = bytes(16)
        self._mark: LedgerMark | None = None
        self._pending: dict[bytes, Callable[[], bytes]] = {}
        self._entries: list[tuple[bytes, Callable[[], bytes]]] = []
        self._owed: list[Callable[[], None]] = []

    def begin(self, mark: LedgerMark) -> None:
        """Go on with a ledger from where it is held by the cursors."""
        self._ledger_id, self._mark = mark.topic_id, mark

    @property
    def pending(self) -> bool:
        """Whether there is anything to be written."""
        return bool(self._pending or self._entries or self._owed)

    def put(self, record_key: bytes, value: Callable[[], bytes]) -> None:
        """Write ``value()`` soon; of several under one record key only the last is written."""
        self._pending[record_key] = value
        self._changed()

    def enter(self, record_key: bytes, value: Callable[[], bytes]) -> None:
        """Write ``value()`` into the ledger, together with what put() was given; each of them."""
        self._entries.append((record_key, value))
        self._changed()

    def later(self, call: Callable[[], None]) -> None:
        """Have something called when what is pending now counts."""
        self._owed.append(call)

    async def write(self, produce: Produce) -> list[Callable[[], None]]:
        """Write what is pending, ledger first; returns what is to be called as soon as that counts.

        What cannot be written is pending again, and the error raised.
        """
        pending, entries, owed = self._pending, self._entries, self._owed
        self._pending, self._entries, self._owed = {}, [], []
        try:
            await self._write(pending, entries, produce)
        except BaseException:
            self._pending = {**pending, **self._pending}
            self._entries[:0], self._owed[:0] = entries, owed
            raise
        return owed

    async def _write(
        self,
        pending: dict[bytes, Callable[[], bytes]],
        entries: list[tuple[bytes, Callable[[], bytes]]],
        produce: Produce,
    ) -> None:
        now, mark = clock.now(), self._mark
        for batch in _batches(((key, value()) for key, value in entries), now):
            answer = await produce(*self.ledger, batch)
            if answer.base_offset >= 0:
                mark = LedgerMark(self._ledger_id, answer.base_offset + read_header(batch).record_count)
        # Positions last: one says that all before it is delivered, and the batches may be cut between them.
        ordered = sorted(pending.items(), key=lambda item: is_position(item[0]))
        rows = [(key, value()) for key, value in ordered]
        if mark is not None and (entries or mark != self._mark):
            rows.insert(0, (LEDGER_KEY, mark.encode()))
        for batch in _batches(rows, now):
            await produce(*self.cursors, batch)
        self._mark = mark


def _batches(rows: Iterable[tuple[bytes, bytes]], now: int) -> list[memoryview | bytearray]:
    batches = [memoryview(record_batch(value, now, key)) for key, value in rows]
    return [ready.batch for ready in merge((batch, read_header(batch)) for batch in batches)]
