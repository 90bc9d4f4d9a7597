"""The sealing side of a lane: which source partitions it has, and what is known of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from sealwire.agents.seat_sealing import SeatSealing
from sealwire.agents.source_seat import SourceSeat
from sealwire.agents.topics import lane_of

if TYPE_CHECKING:
    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.lane import Lane
    from sealwire.agents.positions import Position
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat_sealing import Load
    from sealwire.agents.topics import Facts

_STARTS_AT_ONCE = 32
_CLOSE_WITHIN = 3.0  # seconds for what is in flight when a lane is given up in order


class SealWork:
    """What one lane seals."""

    def __init__(self, lane: Lane, side: Sealing) -> None:
        self._lane, self._side = lane, side
        self.seats: dict[tuple[str, int, str], SourceSeat] = {}
        self.sealing = SeatSealing(lane, side)

    async def begin(self) -> None:
        """Nothing is read back here: positions are loaded when a partition is dealt."""

    # Dealing

    async def deal(self, facts: Facts) -> None:
        """Seat the source partitions of this lane that can be sealed now."""
        fresh: list[SourceSeat] = []
        for route in self._side.settings.seal:
            source, cloud = facts.local.get(route.source_topic), facts.cloud.get(route.cloud_topic)
            if source is None:
                self._side.say(f"local topic {route.source_topic} is not there yet: waiting for it")
                continue
            if cloud is None:
                self._side.trouble[route.cloud_topic] = (
                    f"cloud topic {route.cloud_topic} is missing: sealwire topics apply makes it"
                )
                self._side.say(self._side.trouble[route.cloud_topic])
                continue
            self._side.trouble.pop(route.cloud_topic, None)
            fresh += self._dealt(route, source, cloud)
        await self._seat_all(fresh)

    def _dealt(self, route: Any, source: TopicFacts, cloud: TopicFacts) -> list[SourceSeat]:  # noqa: ANN401
        fresh = []
        for partition in range(source.partitions):
            where = (route.source_topic, partition, route.channel)
            if lane_of(route.source_topic, partition, self._side.settings.lanes) != self._lane.number:
                continue
            known = self.seats.get(where)
            if known is not None and known.topic_id == source.topic_id:
                continue
            if partition >= cloud.partitions:
                self._side.say(
                    f"{route.source_topic}[{partition}] waits: cloud topic {route.cloud_topic} has "
                    f"{cloud.partitions} partitions; sealwire topics apply grows it"
                )
                continue
            if known is not None:  # the topic was made anew: another source partition
                self.sealing.unseat(known)
            seat = SourceSeat(route, partition, source.topic_id, -1, log_start=True, position=-1)
            self.seats[where] = seat
            fresh.append(seat)
        return fresh

    async def _seat_all(self, fresh: list[SourceSeat]) -> None:
        if not fresh:
            return
        side = self._side
        known = await side.positions.load([seat.where for seat in fresh])
        gate = asyncio.Semaphore(_STARTS_AT_ONCE)

        async def start(seat: SourceSeat) -> None:
            position = side.moved.get(seat.where, known.get(seat.where))
            # Words that name another topic id are those of a topic that is no more; no words mean unknown, not another.
            if position is not None and side.same_topic(position.metadata, seat.topic_id):
                seat.sealed_to, seat.log_start, seat.begun = position.offset, False, True
            else:
                async with gate:
                    seat.sealed_to = await side.source.log_start(*seat.where)
            seat.position = seat.sealed_to
            self.sealing.read_on(seat)

        await asyncio.gather(*(start(seat) for seat in fresh))

    def resume(self, channel: str) -> None:
        """A session began: read on what waited for one."""
        for seat in self.seats.values():
            if seat.route.channel == channel and seat.seat is None and seat.sealed_to >= 0:
                self.sealing.read_on(seat)

    def take(self, load: Load) -> None:
        """Seal one chunk and send it on its way."""
        self.sealing.take(load)

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
        if orderly and self.sealing.tasks:
            await asyncio.wait(set(self.sealing.tasks), timeout=_CLOSE_WITHIN)
            for seat in self.seats.values():
                if seat.begun:
                    self._side.moved[seat.where] = self.sealing.position(seat)
