"""The sealing side of a lane: which source partitions it has, and what is known of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from sealwire.agents.seat_sealing import SeatSealing
from sealwire.agents.source_seat import ENDS_BEHIND, SourceSeat
from sealwire.agents.topics import dealt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.lane import Lane
    from sealwire.agents.positions import Position
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat_sealing import Load
    from sealwire.agents.settings import SealRoute
    from sealwire.agents.topics import Facts

_log = logging.getLogger(__name__)
_STARTS_AT_ONCE = 32
_CLOSE_WITHIN = 3.0  # seconds for what is in flight when a lane is given up in order


class SealWork:
    """What one lane seals."""

    def __init__(self, lane: Lane, side: Sealing) -> None:
        self._lane, self._side = lane, side
        self.seats: dict[tuple[str, int, str], SourceSeat] = {}
        self.sealing = SeatSealing(lane, side)

    @property
    def waits(self) -> str:
        """Nothing is waited for in begin()."""
        return ""

    async def begin(self) -> None:
        """Nothing is read back here: positions are loaded when a partition is dealt."""

    # Dealing

    async def deal(self, facts: Facts) -> None:
        """Seat the source partitions of this lane that can be sealed now, and give up those that are no more."""
        side = self._side
        side.trouble = {**facts.troubles}
        fresh: list[SourceSeat] = []
        there: set[tuple[str, int, str]] = set()
        for route in facts.routes:
            source, cloud = facts.local.get(route.source_topic), facts.cloud.get(route.cloud_topic)
            if source is None:
                words = side.watch.forbidden("local", route.source_topic)
                if words:
                    side.trouble[route.source_topic] = words
                    there.update(where for where in self.seats if where[0] == route.source_topic)
                else:
                    side.say(f"local topic {route.source_topic} is not there: waiting for it")
                continue
            side.forget(f"local topic {route.source_topic} is not there: waiting for it")
            lacking = ""
            if cloud is None:
                lacking = side.watch.forbidden("cloud", route.cloud_topic) or (
                    f"cloud topic {route.cloud_topic} is missing: sealwire topics apply makes it"
                )
                side.trouble[route.cloud_topic] = lacking
                side.say(lacking)
            side.senders.cover(route)
            for partition in dealt(route.source_topic, source.partitions, self._lane.number, side.settings.lanes):
                there.add((route.source_topic, partition, route.channel))
                few = _too_few(route, partition, cloud)
                if few:
                    side.say(f"{route.source_topic}[{partition}] waits: {few}")
                fresh += self._dealt(route, partition, source, lacking or few)
        for where in self.seats.keys() - there:
            seat = self.seats.pop(where)
            self.sealing.unseat(seat)
            # What a pattern leaves out is there still, only not sealed.
            if where[0] not in facts.local and where[0] not in facts.troubles:
                side.report.gone([seat])
            _log.warning("%s[%d] is sealed no more: its topic, or its mapping, is gone", *where[:2])
        await self._seat_all(fresh)

    def _dealt(self, route: SealRoute, partition: int, source: TopicFacts, lacking: str) -> list[SourceSeat]:
        """Give the seat of a source partition when it is to be seated now; ``lacking`` says what it waits for."""
        where = (route.source_topic, partition, route.channel)
        known = self.seats.get(where)
        if known is not None and known.topic_id == source.topic_id and known.route == route:
            if known.lacking == lacking or not known.lacking:
                return []  # what flows goes on, even where the cloud seems to have lost its topic: its writer says so
            if lacking:
                known.lacking = known.why = lacking
                known.changed = True
                return []
        if known is not None:
            self.sealing.unseat(known)
            if known.topic_id != source.topic_id:  # the topic was made anew: another source partition
                self._side.report.gone([known])
        seat = SourceSeat(route, partition, source.topic_id, -1, log_start=True, position=-1)
        seat.lacking = seat.why = lacking
        self.seats[where] = seat
        self._side.report.there(seat)
        return [] if lacking else [seat]

    async def _seat_all(self, fresh: list[SourceSeat]) -> None:
        if not fresh:
            return
        side = self._side
        known = await side.positions_of([seat.where for seat in fresh])
        gate = asyncio.Semaphore(_STARTS_AT_ONCE)

        async def start(seat: SourceSeat) -> None:
            position = known.get(seat.where)
            # Words that name another topic id are those of a topic that is no more; no words mean unknown, not another.
            if position is not None and side.same_topic(position.metadata, seat.topic_id):
                seat.sealed_to, seat.log_start, seat.begun = position.offset, False, True
                if side.went_back(position.metadata):
                    seat.held, seat.ends_behind = f"{ENDS_BEHIND} (found before this start)", True
            else:
                if position is not None and (former := side.named_by(position.metadata)) is not None:
                    about = (seat.route.channel, seat.route.source_topic, former)
                    side.report.gone_before(about, seat.partition, position.offset)
                async with gate:
                    seat.sealed_to = await side.source.log_start(*seat.where)
            seat.position = seat.sealed_to
            self.sealing.read_on(seat)

        await asyncio.gather(*(start(seat) for seat in fresh))
        side.senders.progress.name_soon()

    # Sealing

    def resume(self, channel: str) -> None:
        """A session began: read on what waited for one."""
        for seat in self.seats.values():
            if seat.route.channel == channel and seat.seat is None and seat.sealed_to >= 0:
                self.sealing.read_on(seat)

    def take(self, load: Load) -> Iterator[None]:
        """Seal one chunk and send it on its way: that is short enough for one turn."""
        self.sealing.take(load)
        return iter(())

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return the position of every source partition of this lane."""
        return {seat.where: self.sealing.position(seat) for seat in self.seats.values() if seat.begun}

    def changes(self) -> dict[bytes, bytes]:
        """Return the table entries that changed."""
        found = {}
        for (topic, partition, channel), seat in self.seats.items():
            if seat.changed:
                seat.changed = False
                found[f"{channel}/{topic}/{partition}".encode()] = msgspec.msgpack.encode(
                    seat.row(self._side.settings.site)
                )
        return found

    async def close(self, *, orderly: bool) -> None:
        """Give up every partition; ``orderly`` waits for what is in flight, so that the next worker repeats little."""
        for seat in self.seats.values():
            self.sealing.unseat(seat)
        if not orderly:
            return
        if self.sealing.tasks:
            await asyncio.wait(set(self.sealing.tasks), timeout=_CLOSE_WITHIN)
        for seat in self.seats.values():
            if seat.begun:  # what was acknowledged since the lane was no longer open did not count as moved
                self._side.moved[seat.where] = self.sealing.position(seat)
        self._side.report.left(self.seats.values())


def _too_few(route: SealRoute, partition: int, cloud: TopicFacts | None) -> str:
    if cloud is None or partition < cloud.partitions:
        return ""
    return f"cloud topic {route.cloud_topic} has {cloud.partitions} partitions; sealwire topics apply grows it"
