"""The ledger of a site read whole: every delivery record, in the order in which its lane wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.logspan import read_on
from sealwire.keys.delivery import Delivery, read_record_key
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.ports import Reader

    Told = Callable[[str, Delivery], None]


class BadLedger(Exception):
    """The ledger holds what is no delivery record; the text says where."""


class LedgerReading:
    """Reads on in all partitions of a ledger, each time to the end of then."""

    def __init__(self, reader: Reader, topic: str, lanes: int) -> None:
        self._reader, self._topic = reader, topic
        self._reached: dict[int, int | None] = dict.fromkeys(range(lanes))

    async def read(self, told: Told) -> None:
        """Tell sink topic and delivery record of each. Raises BadLedger, and what logspan.read_on does."""
        for lane, reached in self._reached.items():

            def take(batch: memoryview, end: int, lane: int = lane) -> None:
                for record in records.read(batch):
                    try:
                        if record.record_key is not None and record.value is not None and record.offset < end:
                            sink_topic, _ = read_record_key(record.record_key)
                            told(sink_topic, Delivery.decode(bytes(record.value)))
                    except Rejected as refusal:
                        message = f"{self._topic}[{lane}] at offset {record.offset} is no delivery record: {refusal}"
                        raise BadLedger(message) from None

            self._reached[lane] = await read_on(self._reader, self._topic, lane, reached, take)
