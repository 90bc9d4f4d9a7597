"""The cursors of a whole site, as they are written: for whoever looks at them and runs no lane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.header import read_header
from sealwire.agents.logspan import read_on
from sealwire.agents.recorded import goes_on
from sealwire.keys.delivery import Delivery, read_record_key
from sealwire.keys.reason import Rejected
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from sealwire.agents.ports import Reader
    from sealwire.keys.standing import Cursor

_NOT_OF_A_DELIVERY = b"\0\0"  # a name's length is never 0


@dataclass(frozen=True)
class Written:
    """A cursor as it is written down, where it delivers to, and since when (ms) it stands there without flowing."""

    cursor: Cursor
    sink_topic: str
    since: int | None


class CursorReading:
    """Reads on in all partitions of a cursor topic, each time to the end of then. ``strange`` counts what is not ours.

    Of the words on one source partition those count that recorded.goes_on tells of.
    """

    def __init__(self, reader: Reader, topic: str, lanes: int) -> None:
        self._reader, self._topic = reader, topic
        self._reached: dict[int, int | None] = dict.fromkeys(range(lanes))
        self.found: dict[bytes, Written] = {}  # by record key
        self.strange = 0

    async def read(self) -> None:
        """Read what is committed by now. Raises what logspan.read_on does."""
        for lane, reached in self._reached.items():
            self._reached[lane] = await read_on(self._reader, self._topic, lane, reached, self._take)

    def _take(self, batch: memoryview, _end: int) -> None:
        fenced = read_header(batch).transactional
        for record in records.read(batch):
            key = bytes(record.record_key or _NOT_OF_A_DELIVERY)
            if key.startswith(_NOT_OF_A_DELIVERY):
                continue
            if record.value is None:
                self.found.pop(key, None)
                continue
            try:
                sink_topic, _ = read_record_key(key)
                cursor = Delivery.decode(bytes(record.value)).cursor
            except Rejected:
                self.strange += 1
                continue
            before = self.found.get(key)
            if goes_on(None if before is None else before.cursor, cursor, fenced=fenced):
                self.found[key] = Written(cursor, sink_topic, _since(before, cursor, record.timestamp))


def _since(before: Written | None, cursor: Cursor, at: int) -> int | None:
    if cursor.state is State.FLOWING:
        return None
    same = before is not None and (before.cursor.state, before.cursor.reason) == (cursor.state, cursor.reason)
    return before.since if before is not None and same else at
