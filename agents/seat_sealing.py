"""What becomes of the seated source partitions of a lane: read, cut into chunks, sealed, acknowledged by the cloud.

What can pass whole passes whole; what the cloud has no room for is sealed again in smaller envelopes. A position moves
only when the cloud has acknowledged with acks=all, and never past what it has not.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sealwire.agents.batches import Caps, OldFormat
from sealwire.agents.chunk_sealing import seal_chunk
from sealwire.agents.chunks import Chunk, Limits, believable, cut, divide
from sealwire.agents.positions import Position
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.source_seat import ENDS_BEHIND
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys.envelope import Kind
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Literal

    from sealwire.agents.lane import Lane
    from sealwire.agents.room import Room
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat import Fetched
    from sealwire.agents.sending import Sending
    from sealwire.agents.source_seat import SourceSeat

    Load = tuple[SourceSeat, int, Chunk, Fetched | None]

_log = logging.getLogger(__name__)
_STALE_AFTER = 8.0  # seconds; less than a session of the group lasts
_TAIL_AFTER = 3.0  # seconds without anything to seal, after which an envelope says so
_RECORDS = Caps().records  # no mirror believes more in an envelope
_BESIDE = 1024  # bytes that an envelope may have beside its batches


def _stale(asked_at: float) -> bool:
    """Tell whether a source's answer is so old that another worker may have taken over and sealed on since.

    We did not run for a while, then. With the source's end of that time, an envelope of now would say that the source
    went back behind what was delivered, and a mirror would hold its partition until a person looks.
    """
    return asyncio.get_running_loop().time() - asked_at > _STALE_AFTER


class SeatSealing:
    """Reads and seals for one lane. Everything here runs in the loop's one thread."""

    def __init__(self, lane: Lane, side: Sealing) -> None:
        self._lane, self._side = lane, side
        self.tasks: set[asyncio.Task[None]] = set()
        self._limits = Limits(stored_bytes=side.settings.chunk_bytes)

    def read_on(self, seat: SourceSeat) -> None:
        """Read from where its last envelope ended; only when there is a session to seal under."""
        if not self._lane.open or seat.held:
            return
        if self._side.senders.current(seat.route.channel) is None:
            seat.why, seat.changed = self._side.senders.waits_for(seat.route.channel) or "no session", True
            return
        seat.why, seat.changed = "", True
        self.unseat(seat)
        epoch = seat.epoch

        async def take(fetched: Fetched) -> None:
            await self._fetched(seat, epoch, fetched)

        def failed(error: Exception) -> None:
            if seat.epoch == epoch and self._lane.open:
                self._failed(seat, error)

        seat.seat = self._side.source.seat(*seat.where, seat.sealed_to, take, failed)

    # Reading

    async def _fetched(self, seat: SourceSeat, epoch: int, fetched: Fetched) -> None:
        seat.last_stable = fetched.last_stable
        chunks = cut(fetched.scan, fetched.first, self._limits_of(seat), fetched.aborted)
        left = fetched.size - sum(chunk.size for chunk in chunks)
        if left > 0:
            fetched.release(left)
        if not chunks:
            self._tail(seat, epoch, fetched)
        for chunk in chunks:
            chunk.last_stable = fetched.last_stable
            await self._lane.hand((seat, epoch, chunk, fetched))

    def _limits_of(self, seat: SourceSeat) -> Limits:
        most = self._side.rooms.of(seat.route.cloud_topic).most - _BESIDE
        most -= most // 8 if seat.route.padding else 0  # Padme adds a ninth at most
        return self._limits if most >= self._limits.stored_bytes else replace(self._limits, stored_bytes=most)

    def _tail(self, seat: SourceSeat, epoch: int, fetched: Fetched) -> None:
        """Note that nothing is to be sealed up to here; when nothing else comes soon, an envelope says so.

        Else the end of a transaction, which is an offset of its own, would stay as a lag for as long as nobody writes.
        """
        waits, seat.tail = seat.tail >= 0, fetched.next
        if waits:
            return
        asyncio.get_running_loop().call_later(_TAIL_AFTER, self._close_tail, seat, epoch)

    def _close_tail(self, seat: SourceSeat, epoch: int) -> None:
        if seat.epoch != epoch:
            return
        if seat.seat is None or _stale(seat.seat.answered_at):
            asyncio.get_running_loop().call_later(_TAIL_AFTER, self._close_tail, seat, epoch)
            return
        tail, seat.tail = seat.tail, -1
        if tail > seat.sealed_to:
            # What is before it was handed on before it was noted: as an event of the lane it stays in order.
            chunk = Chunk(next=tail, last_stable=seat.last_stable)
            self._spawn(self._lane.hand((seat, epoch, chunk, None)))

    def _failed(self, seat: SourceSeat, error: Exception) -> None:
        seat.seat = None
        if isinstance(error, OffsetOutOfRange) and error.log_start > error.wanted:
            _log.warning("%s[%d]: the source lost %s", *seat.where, error)
            self._spawn(self._lost(seat, error.log_start))
        elif isinstance(error, OffsetOutOfRange):
            seat.ends_behind = True
            self._hold(seat, f"{ENDS_BEHIND} ({error})")
            if seat.begun:  # it is held after a restart as well: by then the source may have grown beyond
                self._side.moved[seat.where] = self.position(seat)
        elif isinstance(error, OldFormat):
            self._hold(seat, f"{Reason.OLD_FORMAT}: {error}", "source")
        else:
            self._hold(seat, f"reading failed: {error}", "source")

    async def _lost(self, seat: SourceSeat, log_start: int) -> None:
        """Have an envelope of its own say that the source no longer has a span, after what was read before it."""
        await self._lane.hand((seat, seat.epoch, Chunk(next=log_start, last_stable=log_start, lost=True), None))

    def _hold(self, seat: SourceSeat, why: str, by: Literal["", "source", "cloud"] = "") -> None:
        seat.held, seat.refused_by, seat.changed = why, by, True
        self.unseat(seat)
        if why != seat.said:  # it is tried again now and then
            seat.said = why
            _log.error("%s[%d] is held: %s", *seat.where, why)

    def try_again(self, seat: SourceSeat) -> None:
        """Let go of what is held, and see."""
        seat.held, seat.refused_by, seat.changed = "", "", True
        self._again(seat)

    def _again(self, seat: SourceSeat) -> None:
        """Read and seal again what the cloud has not acknowledged; what is in flight moves the position no more."""
        seat.in_flight.clear()
        seat.sealed_to, seat.log_start = seat.position, not seat.begun
        self.read_on(seat)

    # Sealing

    def take(self, load: Load) -> None:
        """Seal one chunk and send it on its way."""
        seat, epoch, chunk, fetched = load
        if seat.epoch != epoch or seat.held or (chunk.next <= seat.sealed_to and not chunk.lost):
            return
        if chunk.lost:
            self._pass_over(seat, chunk)
            return
        if fetched is not None and _stale(fetched.asked_at):
            self.read_on(seat)
            return
        for each in believable(chunk, seat.sealed_to):
            if seat.epoch == epoch:  # else it is held, or the session ended
                self._put(seat, each, Kind.RECORDS)
        # What was read is needed no more, what was sealed is until the cloud has it.
        if fetched is not None:
            fetched.release(chunk.size)

    def _pass_over(self, seat: SourceSeat, chunk: Chunk) -> None:
        """Go on where the source's log begins now: of what was never begun, that is its beginning."""
        if not seat.begun and not seat.in_flight:
            seat.sealed_to = seat.position = chunk.next
        elif chunk.next > seat.sealed_to:
            self._put(seat, chunk, Kind.LOST)
        self.read_on(seat)

    def _put(self, seat: SourceSeat, chunk: Chunk, kind: Kind) -> None:
        side, route = self._side, seat.route
        sending = side.senders.current(route.channel)
        if sending is None:
            self.unseat(seat)
            seat.why, seat.changed = side.senders.waits_for(route.channel) or "the session ended", True
            side.senders.news()
            return
        room = side.rooms.of(route.cloud_topic)
        if chunk.record_count > 1 and chunk.size > room.most and not (chunk.plain and route.compress):
            self._put_smaller(seat, chunk, chunk.size)
            return
        buffer, used = seal_chunk(side, sending, seat, chunk, kind)
        if used > (room.most if chunk.record_count > 1 else room.alone) or chunk.record_count > _RECORDS:
            side.buffers.give_back(buffer)
            self._put_smaller(seat, chunk, used)
            return
        side.budget.add(len(buffer))
        seat.sealed_to, seat.log_start = chunk.next, False
        seat.session, seat.changed = sending.outbound.id, True
        seat.envelopes += 1
        seat.records += chunk.record_count
        seat.size += chunk.size
        side.counters["envelopes"] += 1
        side.counters["records"] += chunk.record_count
        side.counters["bytes"] += used
        side.tallies[route.channel].taken.add(chunk.record_count, used)
        side.senders.count(sending, used)
        sending.in_flight += 1
        self._spawn(self._send(seat, seat.sent(chunk.next), chunk, buffer, used, sending))

    def _put_smaller(self, seat: SourceSeat, chunk: Chunk, used: int) -> None:
        """Seal a chunk whose envelope would have ``used`` bytes, more than there is room for, in several."""
        epoch, room = seat.epoch, self._side.rooms.of(seat.route.cloud_topic)
        if chunk.record_count <= 1:
            self._hold(seat, _too_large(seat, chunk.start, used, room), "cloud")
            return
        try:
            found = divide(chunk, max(-(-used // room.most), -(-chunk.record_count // _RECORDS)))
        except ValueError as error:
            words = f"what begins at offset {chunk.start} cannot be cut to the cloud topic's size: {error}"
            self._hold(seat, words, "cloud")
            return
        for each in found:
            if seat.epoch == epoch:
                self._put(seat, each, Kind.RECORDS)

    async def _send(
        self, seat: SourceSeat, entry: list[int], chunk: Chunk, buffer: bytearray, used: int, sending: Sending
    ) -> None:
        side = self._side
        start, count = chunk.start, chunk.record_count
        del chunk  # what was read: only the envelope is kept until the cloud has it
        try:
            await side.cloud.produce(seat.route.cloud_topic, seat.partition, memoryview(buffer)[:used])
        except Refused as error:
            await self._refused(seat, entry, error, (start, count, used))
            return
        except Stopped:
            return
        finally:
            side.budget.release(len(buffer))
            sending.in_flight -= 1
        side.buffers.give_back(buffer)
        sending.stored(seat.named, entry[0])
        side.tallies[seat.route.channel].deliver(count, used)
        if seat.acknowledged(entry) and self._lane.open and not seat.reseal:  # never past what was refused
            side.moved[seat.where] = self.position(seat)

    async def _refused(self, seat: SourceSeat, entry: list[int], error: Refused, what: tuple[int, int, int]) -> None:
        """Seal again in smaller envelopes what was too large; hold what the cloud takes in no size."""
        start, count, used = what
        if not self._waits_for(seat, entry):
            return  # it is held, or sealed again already
        rooms, topic = self._side.rooms, seat.route.cloud_topic
        words = f"the cloud will not take it: {error}"
        if error.too_large:
            room = await rooms.refused(topic, used)
            words = _too_large(seat, start, used, room)
        else:
            await rooms.note(topic)
        if not self._waits_for(seat, entry):
            return
        if error.too_large and count > 1:
            self._again(seat)
        else:
            self._hold(seat, words, "cloud")

    def _waits_for(self, seat: SourceSeat, entry: list[int]) -> bool:
        return self._lane.open and not seat.held and any(entry is each for each in seat.in_flight)

    def position(self, seat: SourceSeat) -> Position:
        """Return what is to be committed for a source partition."""
        return Position(seat.position, self._side.words(seat.topic_id, ends_behind=seat.ends_behind))

    def unseat(self, seat: SourceSeat) -> None:
        """Read no more; what was read and not sealed is dropped."""
        seat.epoch += 1
        seat.tail = -1
        if seat.seat is not None:
            self._side.source.unseat(seat.seat)
            seat.seat = None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _too_large(seat: SourceSeat, offset: int, used: int, room: Room) -> str:
    return (
        f"{Reason.TOO_LARGE}: the record at offset {offset} makes an envelope of {used} bytes, and {room.words} "
        f"by cloud topic {seat.route.cloud_topic}: raise its max.message.bytes, and it goes on"
    )
