"""One chunk, one envelope, one cloud record, one buffer."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock
from sealwire.agents.single import record_frame
from sealwire.keys import compression, envelope
from sealwire.keys.envelope import LOG_START, RESEAL, Cause, Compression, Inner, Kind, Layout, Place

if TYPE_CHECKING:
    from sealwire.agents.chunks import Chunk
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.sending import Sending
    from sealwire.agents.source_seat import SourceSeat


def seal_chunk(side: Sealing, sending: Sending, seat: SourceSeat, chunk: Chunk, kind: Kind) -> tuple[bytearray, int]:
    """Return a buffer that begins with the cloud batch of one envelope, and how many of its bytes that is.

    The span begins where the seat's last one ended. The envelope is encrypted in the very buffer that is sent.
    """
    route = seat.route
    now = clock.now()
    parts: list[Any] = list(chunk.parts)
    squeezed = Compression.NONE
    if route.compress and chunk.plain and parts:
        parts, squeezed = [compression.compress(parts)], Compression.ZSTD
    inner = Inner(
        kind=kind,
        layout=Layout.BATCH,
        compression=squeezed,
        flags=(LOG_START if seat.log_start else 0) | (RESEAL if seat.reseal else 0),
        site=side.settings.site,
        topic=route.source_topic,
        topic_id=seat.topic_id,
        partition=seat.partition,
        first=seat.sealed_to,
        next=chunk.next,
        last_stable=max(chunk.last_stable, chunk.next),
        leader_epoch=chunk.leader_epoch,
        sealed_at=min(max(now, sending.outbound.made_at), sending.outbound.not_after),
        record_count=chunk.record_count,
        batch_count=chunk.batch_count,
        uncompressed_size=chunk.size,
        cause=Cause.DELETED if kind is Kind.LOST else Cause.NONE,
    )
    stored = sum(len(part) for part in parts)
    if route.padding:
        inner = replace(inner, padding_size=envelope.padding_of(inner, stored))
    size = envelope.sealed_size(inner, stored)
    head, tail = record_frame(size, now)
    used = len(head) + size + len(tail)
    buffer = side.buffers.lend(used)
    with memoryview(buffer) as view:
        view[: len(head)] = head
        place = Place(side.project_id, route.channel, route.cloud_topic, seat.partition)
        envelope.seal(sending.outbound, place, inner, parts, os.urandom, view[len(head) :])
        view[used - len(tail) : used] = tail
    return buffer, used
