"""Source partitions read whole, their records digested: what a site can sign for another one to compare."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents.digesting import digests
from sealwire.agents.logspan import read_span
from sealwire.keys.digests import Blocks, Exported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealwire.agents.ports import Reader
    from sealwire.keys.source import SourcePartition, Span

_AT_ONCE = 4  # partitions: enough that reading and digesting take turns


class Wanted(NamedTuple):
    """One source partition to be exported: the source offsets ``span``, which must be there."""

    source: SourcePartition
    span: Span
    compacted: bool = False


async def export(
    reader: Reader, wanted: Sequence[Wanted], say: Callable[[Exported], None] = lambda _exported: None
) -> list[Exported]:
    """Read and digest; ``say`` is told of each that is done. Raises what logspan.read_span and the batches raise."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(each: Wanted) -> Exported:
        async with turns:
            found = await _exported(reader, each)
        say(found)
        return found

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(each)) for each in wanted]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def _exported(reader: Reader, wanted: Wanted) -> Exported:
    source, (first, end) = wanted.source, (wanted.span.first, wanted.span.next)
    blocks = Blocks(first)

    def take(batch: memoryview) -> None:
        for offset, digest in digests(batch):
            if offset < end:
                blocks.take(offset, digest)

    await read_span(reader, source.topic, source.partition, first, end, take)
    return Exported(source, wanted.span, blocks.close(end), wanted.compacted)
