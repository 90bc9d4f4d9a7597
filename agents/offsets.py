"""Where a partition begins and ends, asked of its leader for as long as it takes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.offset import OffsetRequest

from sealwire.agents.frames import FetchBatches
from sealwire.agents.rights import TOPIC_FORBIDDEN, Rights
from sealwire.agents.seat import ReadRefused
from sealwire.agents.security import REQUEST_TIMEOUT_MS

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.structs import TopicPartition

    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.frames import FetchAnswer

    Connected = Callable[[], BoundedClient]  # the client at this moment; raises ReadRefused when there will be none

_EARLIEST, _LATEST = -2, -1
_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds
_SHORT_WAIT_MS = 5
REFUSED = {17}  # invalid topic
QUICK: Final = ConnectionGroup.DEFAULT
"""The connections for what is answered at once, metadata among it: a broker answers one request of a connection at a
time, so nobody's long poll may be on them."""


async def log_start(connected: Connected, rights: Rights, where: TopicPartition) -> int:
    """Ask for the first offset. Raises ReadRefused."""
    return await _listed(connected, rights, where, _EARLIEST)


async def offset_at(connected: Connected, rights: Rights, where: TopicPartition, time: int) -> int | None:
    """Ask for the offset of the first record of this time (ms) or later; None where there is none yet."""
    found = await _listed(connected, rights, where, time)
    return found if found >= 0 else None


async def end_offset(
    connected: Connected, rights: Rights, where: TopicPartition, *, committed: bool, embedded: bool
) -> int:
    """Ask for the offset after the last record, or with ``committed`` for the last stable one. Raises ReadRefused."""
    near = await _listed(connected, rights, where, _LATEST, isolation=int(committed))
    if not embedded:
        return near
    # Its ListOffsets answers with the last batch's base offset + 1: only a fetch knows the end.
    request = FetchBatches(_SHORT_WAIT_MS, 1, 1, 0, [(where.topic, [(where.partition, near, 1)])])

    def read(answer: FetchAnswer) -> tuple[int, int]:
        (part,) = answer.partitions
        return part.error, part.high_watermark

    return await _until_answered(connected, rights, where, request, read)


async def _listed(connected: Connected, rights: Rights, where: TopicPartition, which: int, isolation: int = 0) -> int:
    request = OffsetRequest(-1, isolation, [(where.topic, [(where.partition, which)])])

    def read(answer: object) -> tuple[int, int]:
        ((_topic, ((_partition, error, _timestamp, offset, *_epoch),)),) = answer.topics  # type: ignore[attr-defined]
        return error, offset

    return await _until_answered(connected, rights, where, request, read)


async def _until_answered(
    connected: Connected,
    rights: Rights,
    where: TopicPartition,
    request: object,
    read: Callable[..., tuple[int, int]],
) -> int:
    pause = _BACKOFF
    while True:
        client = connected()
        leader = client.cluster.leader_for_partition(where)
        if leader is not None and leader != -1:
            error, offset = -1, -1
            with suppress(Exception):  # whatever a broker does wrong, it is asked again
                error, offset = read(await client.send(leader, request, group=QUICK))
            if not error:
                return offset
            if error in REFUSED:
                raise ReadRefused(errors.for_code(error).description)
            if error == TOPIC_FORBIDDEN:
                rights.refused("Read", where.topic)
        elif where.topic in client.cluster.unauthorized_topics:
            rights.refused("Read", where.topic)
        with suppress(errors.KafkaError, TimeoutError):
            async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                await client.add_topic(where.topic)
                await client.force_metadata_update()
        await asyncio.sleep(pause)
        pause = min(pause * 2, _BACKOFF_TO)
