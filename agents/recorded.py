"""What is written of a lane, read back: its cursors, its positions, and what the ledger knows beyond them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.header import read_header
from sealwire.agents.logspan import read_span
from sealwire.keys.delivery import Delivery, Position, read_record_key
from sealwire.keys.landmark import BEGUN_KEY, LEDGER_KEY, Begun, LedgerMark
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from sealwire.agents.ports import Reader
    from sealwire.agents.records import Record
    from sealwire.keys.standing import Cursor

_POSITION = b"\0\0"  # a name's length is never 0, so no delivery record has such a record key


def position_key(topic: str, partition: int) -> bytes:
    """Return the record key of a cloud partition's position record."""
    return _POSITION + partition.to_bytes(4, "big") + topic.encode()


def is_position(record_key: bytes) -> bool:
    """Tell whether a record key is one of a position record."""
    return record_key.startswith(_POSITION)


def goes_on(before: Cursor | None, after: Cursor, *, fenced: bool) -> bool:
    """Tell whether a word on a source partition counts after another one, or was overtaken by it.

    At least once nothing fences a worker that lost its lane while it could not reach us, or did not run at all: it
    writes what it had in hand when it goes on, behind what its successor wrote. What it delivered was delivered, so the
    furthest cursor is the true one. Only a person's order goes back. In a transaction (``fenced``) each word is the
    last.
    """
    return before is None or fenced or after.order != before.order or (after.next or 0) >= (before.next or 0)


@dataclass
class Recorded:
    """What the cursor partition of a lane says, of each record key the last word.

    ``deliveries`` are by record key; ``strange`` says of which record keys the last record is none of ours, and why;
    ``mending`` names the record keys whose last record is not what counts, so that it is to be written once more.
    """

    deliveries: dict[bytes, Delivery] = field(default_factory=dict)
    positions: dict[tuple[str, int], Position] = field(default_factory=dict)
    begun: Begun | None = None
    mark: LedgerMark | None = None
    strange: dict[bytes, str] = field(default_factory=dict)
    mending: set[bytes] = field(default_factory=set)

    @property
    def lost(self) -> str:
        """Say why this is not to be believed; empty when it is."""
        if self.strange:
            words = next(iter(self.strange.values()))
            return f"{len(self.strange)} of its cursors are not ours: {words}"
        return "" if self.begun is not None else "it does not say where its cursors begin"

    def hear(self, batch: memoryview) -> None:
        """Take a batch of the cursor partition."""
        fenced = read_header(batch).transactional
        for record in records.read(batch):
            self._hear_one(record, fenced=fenced)

    def _hear_one(self, record: Record, *, fenced: bool) -> None:
        key = None if record.record_key is None else bytes(record.record_key)
        if key is None:
            return  # in a compacted topic nothing of ours, and gone soon
        self.strange.pop(key, None)
        try:
            self._hear(key, None if record.value is None else bytes(record.value), fenced=fenced)
        except (Rejected, UnicodeDecodeError) as error:
            self.strange[key] = f"offset {record.offset}: {error}"

    def _hear(self, key: bytes, value: bytes | None, *, fenced: bool) -> None:
        if key == BEGUN_KEY:
            self.begun = None if value is None else Begun.decode(value)
        elif key == LEDGER_KEY:
            self.mark = None if value is None else LedgerMark.decode(value)
        elif is_position(key):
            where = key[6:].decode(), int.from_bytes(key[2:6], "big")
            self.positions.pop(where, None)
            if value is not None:
                self.positions[where] = Position.decode(value)
        elif value is None:
            self.deliveries.pop(key, None)
            self.mending.discard(key)
        else:
            read_record_key(key)
            self._go_on(key, Delivery.decode(value), fenced=fenced)

    def _go_on(self, key: bytes, delivery: Delivery, *, fenced: bool) -> None:
        """Take a delivery record, unless it is one that was overtaken."""
        before = self.deliveries.get(key)
        if goes_on(None if before is None else before.cursor, delivery.cursor, fenced=fenced):
            self.deliveries[key] = delivery
            self.mending.discard(key)
        else:
            self.mending.add(key)

    def adopt(self, record: Record) -> bool:
        """Take one record of the ledger, behind the mark: a fact, where it is beyond what the cursors say."""
        if record.record_key is None or record.value is None:
            return False
        key = bytes(record.record_key)
        try:
            read_record_key(key)
            delivery = Delivery.decode(bytes(record.value))
        except Rejected:
            return False  # no word of ours: the cursors stand as they are
        before = self.deliveries.get(key)
        beyond = before is None or (delivery.cursor.next or 0) > (before.cursor.next or 0)
        if not beyond and delivery.order is None:
            return False
        self.deliveries[key] = delivery
        self.strange.pop(key, None)
        self.mending.add(key)
        return True


async def read_cursors(reader: Reader, topic: str, lane: int) -> Recorded:
    """Read the cursor partition of a lane whole, to the end that readers of uncommitted records see.

    Whoever takes the transactional id of the lane before is shown everything that its last holder committed.
    """
    end = await reader.end_offset(topic, lane)
    recorded = Recorded()
    await read_span(reader, topic, lane, await reader.log_start(topic, lane), end, recorded.hear)
    return recorded


async def read_ledger(reader: Reader, topic: str, topic_id: bytes, lane: int, recorded: Recorded) -> int:
    """Adopt what the ledger has behind the mark, all of it where that is of another topic; return how much it was.

    The mark stands at the ledger's end then.
    """
    start, end = await reader.log_start(topic, lane), await reader.end_offset(topic, lane)
    mark, adopted = recorded.mark, 0
    if mark is not None and mark.topic_id == topic_id and mark.offset <= end:
        start = max(start, mark.offset)

    def hear(batch: memoryview) -> None:
        nonlocal adopted
        adopted += sum([recorded.adopt(record) for record in records.read(batch) if record.offset >= start])

    await read_span(reader, topic, lane, start, end, hear)
    recorded.mark = LedgerMark(topic_id, end)
    return adopted
