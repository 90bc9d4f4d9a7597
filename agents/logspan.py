"""A span of one partition read from end to end, as a read-committed consumer sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sealwire.agents.batches import scan
from sealwire.agents.chunks import Limits, cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.ports import Reader
    from sealwire.agents.seat import Fetched

    Taker = Callable[[memoryview], None]

_WHOLE = Limits(stored_bytes=1 << 40, records=1 << 40, opened_bytes=1 << 60)


async def read_on(
    reader: Reader, topic: str, partition: int, reached: int | None, take: Callable[[memoryview, int], None]
) -> int:
    """Read what is committed by now, from ``reached`` on, or from the log start where that is None.

    ``take`` is told the end of then as well, which the last batch may pass. Returns where the next reading begins.
    Raises what read_span does.
    """
    begin = await reader.log_start(topic, partition) if reached is None else reached
    end = await reader.end_offset(topic, partition, committed=True)
    await read_span(reader, topic, partition, begin, end, lambda batch: take(batch, end))
    return max(begin, end)


async def read_span(reader: Reader, topic: str, partition: int, first: int, end: int, take: Taker) -> None:
    """Give every batch with records of an application from offset ``first`` on; returns when ``end`` is reached.

    Aborted transactions are left out, the first batch is trimmed, the last one is not: it may go beyond ``end``. Where
    that lies beyond the last stable offset, what is open before it is waited for. Raises OffsetOutOfRange, ReadRefused,
    and what ``take`` raises.
    """
    if first >= end:
        return
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def taken(fetched: Fetched) -> None:
        for chunk in cut(fetched.scan, fetched.first, _WHOLE, fetched.aborted):
            for part in chunk.parts:
                for header in scan(part, check_crc=False).headers:
                    take(header.cut_from(part))
                    await asyncio.sleep(0)  # others have their turn
        fetched.release()
        if fetched.next >= end and not done.done():
            done.set_result(None)

    def failed(error: Exception) -> None:
        if not done.done():
            done.set_exception(error)

    seat = reader.seat(topic, partition, first, taken, failed)
    try:
        await done
    finally:
        reader.unseat(seat)
