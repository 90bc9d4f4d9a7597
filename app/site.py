"""Where the cursors of a site begin, and how they are made again from the ledger when they are lost."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.agents.header import read_header
from sealwire.agents.merging import merge
from sealwire.agents.producer import Doubt, Refused
from sealwire.agents.reader import RawReader
from sealwire.agents.recorded import Recorded, position_key, read_cursors, read_ledger
from sealwire.agents.single import record_batch
from sealwire.agents.writer import RawWriter
from sealwire.app.faults import Failure
from sealwire.keys.landmark import BEGUN_KEY, LEDGER_KEY, Begun

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sealwire.agents.admin import Admin
    from sealwire.agents.settings import Cluster, Settings

_CLIENT: Final = "sealwire-site"


class Restored(NamedTuple):
    """One lane: how many source partitions it has cursors of now, and how many words of the ledger made them so."""

    lane: int
    cursors: int
    adopted: int


@asynccontextmanager
async def _clients(cluster: Cluster) -> AsyncIterator[tuple[RawReader, RawWriter]]:
    reader, writer = RawReader(cluster, client_id=_CLIENT, linger_ms=0), RawWriter(cluster, _CLIENT)
    try:
        await reader.start()
        await writer.start()
        yield reader, writer
    finally:
        await reader.stop()
        await writer.stop()


def _begun(settings: Settings) -> bytes:
    return Begun(settings.lanes, time.time_ns() // 1_000_000).encode()


async def begin(settings: Settings, cluster: Cluster) -> int:
    """Write down for every lane that does not say so yet that its cursors begin here; tells how many those were.

    Raises `Failure` where the ledger knows of deliveries of such a lane: then its cursors are lost, and nothing begins.
    """
    async with _clients(cluster) as (reader, writer):
        new = []
        for lane in range(settings.lanes):
            recorded = await read_cursors(reader, settings.cursor_topic, lane)
            if recorded.begun is None:
                new.append(lane)
                start = await reader.log_start(settings.ledger_topic, lane)
                if await reader.end_offset(settings.ledger_topic, lane) > start:
                    raise Failure(
                        f"{settings.cursor_topic} does not say in partition {lane} where its cursors begin, and "
                        f"{settings.ledger_topic} knows what was delivered there: the cursors of this site are lost.",
                        "Stop its mirrors, then: sealwire site restore NODE.yaml",
                    )
        for lane in new:
            await writer.produce(settings.cursor_topic, lane, record_batch(_begun(settings), 0, BEGUN_KEY))
    return len(new)


async def restore(settings: Settings, cluster: Cluster, admin: Admin) -> list[Restored]:
    """Make the cursors of every lane what cursors and ledger say together, and let them begin.

    Whoever delivers for these lanes is fenced where there are transactions. Positions are left out: the cloud is read
    again from where it begins, and what was delivered is known. Raises `Failure` while mirrors of the site run, and
    where the cluster does not take the cursors of a lane: then it is to be done again.
    """
    members = 0 if cluster.embedded else await admin.members(settings.app_id)
    if members:
        raise Failure(
            f"The mirrors of this site run: {members} of them are members of group {settings.app_id}.",
            "Stop all of them; one that was killed is a member for ten seconds more.",
        )
    ledger_id = (await admin.topic_ids([settings.ledger_topic]))[settings.ledger_topic]
    async with _clients(cluster) as (reader, writer):
        return [await _lane(settings, reader, writer, ledger_id, lane) for lane in range(settings.lanes)]


async def _lane(settings: Settings, reader: RawReader, writer: RawWriter, ledger_id: bytes, lane: int) -> Restored:
    try:
        return await _restore(settings, reader, writer, ledger_id, lane)
    except (Doubt, Refused) as error:
        raise Failure(
            f"The cursors of lane {lane} could not be written to {settings.cursor_topic}: {error}.",
            "Run it again when that is over: lanes before it are restored, and it may be done as often as needed.",
        ) from error


async def _restore(settings: Settings, reader: RawReader, writer: RawWriter, ledger_id: bytes, lane: int) -> Restored:
    transactions = writer.transactions(settings.transactional_id(lane))
    fenced = settings.delivery == "exactly-once"
    if fenced:
        await transactions.begin()
    recorded = await read_cursors(reader, settings.cursor_topic, lane)
    recorded.mark = None
    adopted = await read_ledger(reader, settings.ledger_topic, ledger_id, lane, recorded)
    if fenced:
        await transactions.include([(settings.cursor_topic, lane)])
    produce = transactions.produce if fenced else writer.produce
    now = time.time_ns() // 1_000_000
    batches = [memoryview(record_batch(value, now, key)) for key, value in _rows(settings, recorded).items()]
    for ready in merge((batch, read_header(batch)) for batch in batches):
        await produce(settings.cursor_topic, lane, ready.batch)
    if fenced:
        await transactions.commit()
    return Restored(lane, len(recorded.deliveries), adopted)


def _rows(settings: Settings, recorded: Recorded) -> dict[bytes, bytes | None]:
    """Give what is to be written, by record key; None where what is there counts for nothing."""
    assert recorded.mark is not None  # noqa: S101 - reading the ledger made one
    return {
        **dict.fromkeys(recorded.strange),
        **dict.fromkeys(position_key(*where) for where in recorded.positions),
        **{key: delivery.encode() for key, delivery in recorded.deliveries.items()},
        LEDGER_KEY: recorded.mark.encode(),
        BEGUN_KEY: _begun(settings),  # last: without it nothing of this is believed
    }
