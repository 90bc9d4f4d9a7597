"""The ledger of a site read whole: every delivery record, in the order in which its lane wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.header import read_header
from sealwire.agents.logspan import read_on
from sealwire.keys.delivery import Delivery, read_record_key
from sealwire.keys.provenance import Told
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealwire.agents.ports import Reader


class BadLedger(Exception):
    """The ledger holds what is no delivery record; the text says where."""


class LedgerReading:
    """Reads on in all partitions of a ledger, each time to the end of then; first from its start, or from ``begin``.

    ``begin`` are offsets by lane.
    """

    def __init__(self, reader: Reader, topic: str, lanes: int, begin: Mapping[int, int] | None = None) -> None:
        self._reader, self._topic = reader, topic
        self._reached: dict[int, int | None] = {lane: (begin or {}).get(lane) for lane in range(lanes)}

    async def read(self, told: Callable[[str, Delivery], None]) -> None:
        """Tell sink topic and delivery record of each. Raises BadLedger, and what logspan.read_on does."""
        await self.entries(lambda _lane, entry: told(entry.sink_topic, entry.delivery))

    async def entries(
        self, told: Callable[[int, Told], None], strange: Callable[[BadLedger], None] | None = None
    ) -> None:
        """Tell lane and entry of each; ``strange`` is told of what is none, instead of raising it."""
        for lane, reached in self._reached.items():

            def take(batch: memoryview, end: int, lane: int = lane) -> None:
                fenced = read_header(batch).transactional
                for record in records.read(batch):
                    try:
                        if record.record_key is not None and record.value is not None and record.offset < end:
                            sink_topic, _ = read_record_key(record.record_key)
                            delivery = Delivery.decode(bytes(record.value))
                            told(lane, Told(sink_topic, delivery, record.timestamp, fenced))
                    except Rejected as refusal:
                        bad = BadLedger(
                            f"{self._topic}[{lane}] at offset {record.offset} is no delivery record: {refusal}"
                        )
                        if strange is None:
                            raise bad from None
                        strange(bad)

            self._reached[lane] = await read_on(self._reader, self._topic, lane, reached, take)
