"""One span that is sealed again, read by a seat of its own: the one that flows, and its position, are left alone."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from sealwire.agents.chunks import Chunk, cut
from sealwire.agents.seat_sealing import SeatSealing
from sealwire.agents.source_seat import SourceSeat
from sealwire.keys.envelope import Kind

if TYPE_CHECKING:
    from typing import Literal

    from sealwire.agents.batches import BatchHeader, Scan
    from sealwire.agents.lane import Lane
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat import Fetched
    from sealwire.keys.serving import Turn

_log = logging.getLogger(__name__)
_IN_FLIGHT = 4  # envelopes: what flows goes before, and shares the cloud partition
_IDLE = 10.0  # seconds without anything read or acknowledged, after which a turn is over


class SpanSealing(SeatSealing):
    """Seals the span of a turn under the present session, in envelopes that say *reseal*.

    What the source no longer has of it is sealed as lost, which no mirror passes on its own. After ``run``: ``reached``
    is the source offset before which the cloud has everything, ``used`` the bytes of batches that took, ``again``
    whether the rest may have another turn, and ``why`` what ended this one early, "" when nothing did.
    """

    def __init__(self, lane: Lane, side: Sealing, flowing: SourceSeat, turn: Turn) -> None:
        super().__init__(lane, side)
        self._span, self._oldest, self._allowance = turn.wanted.span, turn.wanted.oldest, turn.allowance
        first = self._span.first
        self._seat = SourceSeat(
            flowing.route, flowing.partition, flowing.topic_id, first, log_start=False, position=first
        )
        self._seat.begun = self._seat.reseal = True
        self._over = asyncio.Event()
        self.again, self.why = True, ""

    @property
    def reached(self) -> int:
        """Everything before this source offset is sealed again, and acknowledged by the cloud."""
        return self._seat.position

    @property
    def used(self) -> int:
        """Bytes of the batches that were sealed."""
        return self._seat.size

    async def run(self) -> None:
        """Seal until the span is done, the turn's bytes are used, nothing comes any more, or the lane is lost."""
        self.read_on(self._seat)
        at = (-1, -1)
        try:
            while not self._over.is_set() and self._lane.open and at != (self._seat.sealed_to, self.reached):
                at = (self._seat.sealed_to, self.reached)
                with suppress(TimeoutError):
                    async with asyncio.timeout(_IDLE):
                        await self._over.wait()
        finally:
            self.unseat(self._seat)
        if not self._over.is_set() and not self.why:
            self.why = self._seat.why or "nothing more came from the source"
        while self.tasks and self._lane.open:
            await asyncio.wait(set(self.tasks), timeout=1)

    def _end(self, why: str = "", *, again: bool = True) -> None:
        self.why, self.again = self.why or why, self.again and again
        self.unseat(self._seat)
        self._over.set()

    async def _fetched(self, seat: SourceSeat, epoch: int, fetched: Fetched) -> None:
        seat.last_stable = fetched.last_stable
        wanted, why = self._narrowed(fetched.scan)
        chunks = cut(wanted, fetched.first, self._limits_of(seat), fetched.aborted)
        if not chunks and wanted.next > seat.sealed_to:
            chunks = [Chunk(next=wanted.next)]  # markers and aborted records only
        for chunk in chunks:
            chunk.last_stable = fetched.last_stable
            while len(self.tasks) >= _IN_FLIGHT and self._lane.open:
                await asyncio.wait(set(self.tasks), timeout=1, return_when=asyncio.FIRST_COMPLETED)
            self.take((seat, epoch, chunk, None))
        fetched.release()
        if seat.epoch == epoch and (why or seat.sealed_to >= self._span.next):
            self._end(why, again=not why)

    def _narrowed(self, found: Scan) -> tuple[Scan, str]:
        """Leave out what is not asked for, and from the first batch on that is not for the requester, with words."""
        kept: list[BatchHeader] = []
        following, why = max(found.next, self._seat.sealed_to), ""
        for header in found.headers:
            if header.base_offset >= self._span.next:
                following = max(self._span.next, kept[-1].last_offset + 1 if kept else 0)
                break
            if header.record_count and not header.control and header.max_timestamp < self._oldest:
                following = max(header.base_offset, self._seat.sealed_to)
                why = f"what is at offset {header.base_offset} is older than the requester's admission"
                break
            kept.append(header)
        return replace(found, headers=tuple(kept), next=following), why

    def _put(self, seat: SourceSeat, chunk: Chunk, kind: Kind) -> None:
        if seat.size + chunk.size > self._allowance:
            self._end()
        else:
            super()._put(seat, chunk, kind)

    async def _lost(self, seat: SourceSeat, log_start: int) -> None:
        gone = min(log_start, self._span.next)
        self._put(seat, Chunk(next=gone, last_stable=log_start), Kind.LOST)
        if seat.sealed_to < self._span.next:
            self.read_on(seat)
        else:
            self._end()

    def _hold(self, seat: SourceSeat, why: str, by: Literal["", "source", "cloud"] = "") -> None:
        seat.held, seat.refused_by = why, by
        self._end(why, again=False)
