"""The sealing side of a lane: chunks of source partitions become envelopes in the cloud.

A position moves only when the cloud has acknowledged with acks=all. Everything here runs in the loop's one thread.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import msgspec

from sealwire.agents.chunk_sealing import seal_chunk
from sealwire.agents.chunks import Chunk, Limits, cut
from sealwire.agents.positions import Position
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.source_seat import SourceSeat
from sealwire.agents.topics import lane_of
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys.envelope import Kind

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.lane import Lane
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat import Fetched
    from sealwire.agents.topics import Facts

_log = logging.getLogger(__name__)
_STARTS_AT_ONCE = 32
_CLOSE_WITHIN = 3.0  # seconds for what is in flight when a lane is given up in order


class SealWork:
    """What one lane seals."""

    def __init__(self, lane: Lane, side: Sealing) -> None:
        self._lane, self._side = lane, side
        self.seats: dict[tuple[str, int, str], SourceSeat] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limits = Limits(stored_bytes=side.settings.chunk_bytes)

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
                self._unseat(known)
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
            self._read_on(seat)

        await asyncio.gather(*(start(seat) for seat in fresh))

    def _read_on(self, seat: SourceSeat) -> None:
        """Read from where its last envelope ended; only when there is a session to seal under."""
        if not self._lane.open or seat.held:
            return
        if self._side.senders.current(seat.route.channel) is None:
            seat.why, seat.changed = self._side.senders.why[seat.route.channel] or "no session", True
            return
        seat.why, seat.changed = "", True
        self._unseat(seat)
        epoch = seat.epoch

        async def take(fetched: Fetched) -> None:
            await self._fetched(seat, epoch, fetched)

        def failed(error: Exception) -> None:
            if seat.epoch == epoch and self._lane.open:
                self._failed(seat, error)

        seat.seat = self._side.source.seat(*seat.where, seat.sealed_to, take, failed)

    def resume(self, channel: str) -> None:
        """A session began: read on what waited for one."""
        for seat in self.seats.values():
            if seat.route.channel == channel and seat.seat is None and seat.sealed_to >= 0:
                self._read_on(seat)

    # Reading

    async def _fetched(self, seat: SourceSeat, epoch: int, fetched: Fetched) -> None:
        seat.last_stable = fetched.last_stable
        chunks = cut(fetched.scan, fetched.first, self._limits, fetched.aborted)
        left = fetched.size - sum(chunk.size for chunk in chunks)
        if left > 0:
            fetched.release(left)
        for chunk in chunks:
            chunk.last_stable = fetched.last_stable
            await self._lane.hand((seat, epoch, chunk, fetched))

    def _failed(self, seat: SourceSeat, error: Exception) -> None:
        seat.seat = None
        if isinstance(error, OffsetOutOfRange) and error.log_start > error.wanted:
            _log.warning("%s[%d]: the source lost %s", *seat.where, error)
            self._spawn(self._lost(seat, error.log_start))
        elif isinstance(error, OffsetOutOfRange):
            self._hold(seat, f"the source ends before what was sealed of it: {error}")
        else:
            self._hold(seat, f"reading failed: {error}")

    async def _lost(self, seat: SourceSeat, log_start: int) -> None:
        """Say in an envelope of its own that the source no longer has a span."""
        self._put(seat, Chunk(next=log_start, last_stable=log_start), None, Kind.LOST)
        self._read_on(seat)

    def _hold(self, seat: SourceSeat, why: str) -> None:
        seat.held, seat.changed = why, True
        self._unseat(seat)
        _log.error("%s[%d] is held: %s", *seat.where, why)

    # Sealing

    def take(self, load: tuple[SourceSeat, int, Chunk, Fetched]) -> None:
        """Seal one chunk and send it on its way."""
        seat, epoch, chunk, fetched = load
        if seat.epoch != epoch or seat.held:
            return
        self._put(seat, chunk, fetched, Kind.RECORDS)

    def _put(self, seat: SourceSeat, chunk: Chunk, fetched: Fetched | None, kind: Kind) -> None:
        side, route = self._side, seat.route
        sending = side.senders.current(route.channel)
        if sending is None:
            self._unseat(seat)
            seat.why, seat.changed = side.senders.why[route.channel] or "the session ended", True
            side.senders.news()
            return
        buffer, used = seal_chunk(side, sending, seat, chunk, kind)
        # What was read is needed no more, what was sealed is until the cloud has it.
        if fetched is not None:
            fetched.release(chunk.size)
        side.budget.add(used)
        seat.sealed_to, seat.log_start = chunk.next, False
        seat.session, seat.changed = sending.outbound.id, True
        seat.envelopes += 1
        seat.records += chunk.record_count
        side.counters["envelopes"] += 1
        side.counters["records"] += chunk.record_count
        side.counters["bytes"] += used
        side.tallies[route.channel].taken.add(chunk.record_count, used)
        sending.sealed += used
        self._spawn(self._send(seat, seat.sent(chunk.next), buffer, used, chunk.record_count))

    async def _send(self, seat: SourceSeat, entry: list[int], buffer: bytearray, used: int, records: int) -> None:
        side = self._side
        try:
            await side.cloud.produce(seat.route.cloud_topic, seat.partition, memoryview(buffer)[:used])
        except Refused as error:
            if not seat.held and self._lane.open:
                self._hold(seat, f"the cloud will not take it: {error}")
            return
        except Stopped:
            return
        finally:
            side.budget.release(used)
        side.buffers.give_back(buffer)
        side.tallies[seat.route.channel].deliver(records, used)
        if not seat.held and seat.acknowledged(entry) and self._lane.open:
            side.moved[seat.where] = self._position(seat)

    def _position(self, seat: SourceSeat) -> Position:
        return Position(seat.position, self._side.words(seat.topic_id))

    def positions(self) -> dict[tuple[str, int], Position]:
        """Return the position of every source partition of this lane."""
        return {seat.where: self._position(seat) for seat in self.seats.values() if seat.begun}

    # The end

    def _unseat(self, seat: SourceSeat) -> None:
        seat.epoch += 1
        if seat.seat is not None:
            self._side.source.unseat(seat.seat)
            seat.seat = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

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
            self._unseat(seat)
        if orderly and self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_CLOSE_WITHIN)
            for seat in self.seats.values():
                if seat.begun and not seat.held:
                    self._side.moved[seat.where] = self._position(seat)
