"""The opening side of a lane: envelopes of cloud partitions become batches at the sink.

What an envelope is worth is decided in keys/ (opening, cursor); here each decision has its one branch. A cursor is
adopted for the next envelope at once, and written down when the sink has acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from sealwire.agents import clock, records
from sealwire.agents.batches import Implausible, walk
from sealwire.agents.cloud_seat import CloudSeat
from sealwire.agents.cursors import CursorLog, position_key
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.sink import Staged
from sealwire.agents.topics import lane_of
from sealwire.keys.cursor import CloudPlace, Cursor, Deliver, Duplicate, Gap, Hold, Rules, State, Trim, advance
from sealwire.keys.delivery import Delivered, Delivery, Position, record_key
from sealwire.keys.envelope import Place
from sealwire.keys.opening import Opened, UnknownSession, open_envelope
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from sealwire.agents.lane import Lane
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.seat import Fetched
    from sealwire.agents.topics import Facts
    from sealwire.keys.source import SourcePartition

_log = logging.getLogger(__name__)
_AHEAD = b"ahead of our clock"
_CLOSE_WITHIN = 3.0  # seconds


@dataclass(eq=False)
class Standing:
    """One source partition: ``cursor`` is tentative, ``written`` what the sink has acknowledged."""

    cursor: Cursor
    written: Cursor
    sink_topic: str
    cloud: tuple[str, int]
    session: bytes = b""
    last_stable: int = -1
    delivered: int = 0
    words: str = ""
    changed: bool = True


class OpenWork:
    """What one lane opens."""

    def __init__(self, lane: Lane, side: Opening) -> None:
        self._lane, self._side = lane, side
        self.seats: dict[tuple[str, int], CloudSeat] = {}
        self.standings: dict[SourcePartition, Standing] = {}
        self._log = CursorLog(side.local_reader, side.local_writer, side.settings.cursor_topic, lane.number)
        self._positions: dict[tuple[str, int], Position] = {}
        self._outstanding = 0

    # Seating

    async def begin(self) -> None:
        """Read back what was delivered; nothing is seated before."""
        deliveries, self._positions = await self._log.read_back()
        for delivery in deliveries.values():
            cursor = delivery.cursor
            sink_topic = next(
                (r.sink_topic for r in self._side.settings.open if r.channel == cursor.source.channel), ""
            )
            self.standings[cursor.source] = Standing(cursor, cursor, sink_topic, ("", cursor.source.partition))

    async def deal(self, facts: Facts) -> None:
        """Seat the cloud partitions of this lane."""
        for seat in self.seats.values():
            seat.expire()
            self._write_position(seat)
        for route in self._side.settings.open:
            cloud = facts.cloud.get(route.cloud_topic)
            if cloud is None:
                words = (
                    f"cloud topic {route.cloud_topic} is missing: at the sending site, sealwire topics apply makes it"
                )
                self._side.trouble[route.cloud_topic] = words
                self._side.say(words)
                continue
            self._side.trouble.pop(route.cloud_topic, None)
            for partition in range(cloud.partitions):
                where = (route.cloud_topic, partition)
                if lane_of(*where, self._side.settings.lanes) != self._lane.number:
                    continue
                known = self.seats.get(where)
                if known is not None and known.topic_id == cloud.topic_id:
                    continue
                if known is not None:
                    self._unseat(known)
                seat = CloudSeat(route, partition, cloud.topic_id, -1, -1)
                self.seats[where] = seat
                await self._start(seat)

    async def _start(self, seat: CloudSeat) -> None:
        position = self._positions.get(seat.where)
        if position is not None and position.topic_id == seat.topic_id:
            offset = position.offset
        else:
            offset = await self._side.cloud.log_start(*seat.where)
        places = [
            standing.cursor.place.offset
            for standing in self.standings.values()
            if standing.cursor.place is not None
            and standing.cursor.place.topic_id == seat.topic_id
            and standing.cursor.source.partition == seat.partition
        ]
        seat.done_to = offset
        if places and min(places) < offset:
            seat.catching_up_to = offset
            offset = min(places)
        self._read_from(seat, offset)

    def _read_from(self, seat: CloudSeat, offset: int) -> None:
        if not self._lane.open:
            return
        self._unseat(seat)
        seat.read_to = offset
        epoch = seat.epoch

        async def take(fetched: Fetched) -> None:
            await self._lane.hand((seat, epoch, fetched))

        def failed(error: Exception) -> None:
            if seat.epoch == epoch and self._lane.open:
                self._failed(seat, error)

        seat.seat = self._side.cloud.seat(*seat.where, offset, take, failed)

    def _unseat(self, seat: CloudSeat) -> None:
        seat.epoch += 1
        if seat.seat is not None:
            self._side.cloud.unseat(seat.seat)
            seat.seat = None

    def _failed(self, seat: CloudSeat, error: Exception) -> None:
        seat.seat = None
        _log.warning("%s[%d]: %s", *seat.where, error)
        if isinstance(error, OffsetOutOfRange):
            # The cloud's offsets prove nothing: cursors tell duplicates and gaps whatever is served from here on.
            seat.done_to = error.log_start
            self._read_from(seat, error.log_start)
        else:
            seat.why = str(error)
            asyncio.get_running_loop().call_later(5.0, self._read_from, seat, seat.read_to)

    def revisit(self, sessions: set[bytes]) -> None:
        """Sessions became known: read again from where their first envelopes were parked."""
        for seat in self.seats.values():
            known = [seat.parked.pop(session)[0] for session in sessions & set(seat.parked)]
            if known and min(known) < seat.read_to:
                seat.catching_up_to = max(seat.catching_up_to, seat.read_to)
                seat.go_back(min(known))
                self._read_from(seat, min(known))

    def revisit_ahead(self) -> None:
        """Time passed: what was ahead of our clock may not be any more."""
        self.revisit({_AHEAD})

    # Opening

    def take(self, load: tuple[CloudSeat, int, Fetched]) -> None:
        """Open every envelope of one answer."""
        seat, epoch, fetched = load
        if seat.epoch != epoch:
            return
        entry = seat.took(fetched.next)
        for header in fetched.scan.headers:
            if header.control or not header.record_count:
                continue
            try:
                found = records.read(header.cut_from(fetched.data))
            except ValueError as error:
                self._side.refuse(Reason.MALFORMED, str(error), seat.where, header.base_offset)
                continue
            for record in found:
                if record.offset < seat.read_to:
                    continue
                self._envelope(seat, entry, record)
        seat.read_to = max(seat.read_to, fetched.next)
        fetched.release()
        self._settle(seat, entry)
        if 0 <= seat.catching_up_to <= seat.read_to:
            self._caught_up(seat)

    def _envelope(self, seat: CloudSeat, entry: list[int], record: records.Record) -> None:
        side, route = self._side, seat.route
        if record.value is None:
            side.refuse(Reason.FOREIGN, "an empty record", seat.where, record.offset)
            return
        key = None if record.record_key is None else bytes(record.record_key)
        place = Place(side.project_id, route.channel, route.cloud_topic, seat.partition)
        buffer = side.buffers.lend(len(record.value))
        try:
            opened = open_envelope(
                record.value,
                place,
                key,
                side.control.sessions,
                side.control.trust,
                clock.now(),
                memoryview(buffer),
                elsewhere=side.elsewhere(place),
            )
        except Rejected as refusal:
            side.buffers.give_back(buffer)
            if refusal.reason is Reason.AHEAD:
                self._park(seat, _AHEAD, record.offset, refusal.detail)
            else:
                side.refuse(refusal.reason, refusal.detail, seat.where, record.offset)
            return
        if isinstance(opened, UnknownSession):
            side.buffers.give_back(buffer)
            if side.control.trust.claims_of(opened.session_id):
                # Known but not granted: it may still come, late or from a neighbour.
                side.counters["without a grant"] += 1
            self._park(seat, opened.session_id, record.offset, "its session is not known")
            return
        self._decide(seat, entry, opened, record.offset, buffer)

    def _park(self, seat: CloudSeat, session_id: bytes, offset: int, why: str) -> None:
        if seat.park(session_id, offset):
            self._side.parked(why, seat.where, offset)
        self._side.refused["parked"] += 1

    def _decide(self, seat: CloudSeat, entry: list[int], opened: Opened, offset: int, buffer: bytearray) -> None:
        side = self._side
        standing = self.standings.get(opened.source)
        if standing is None:
            fresh = Cursor(opened.source)
            standing = self.standings[opened.source] = Standing(fresh, fresh, seat.route.sink_topic, seat.where)
        standing.sink_topic, standing.cloud, standing.changed = seat.route.sink_topic, seat.where, True
        standing.last_stable = max(standing.last_stable, opened.inner.last_stable)
        rules = Rules(site_floor=self._site_floor(opened, seat))
        before = standing.cursor
        after, decision = advance(before, opened, rules, CloudPlace(seat.topic_id, offset))
        match decision:
            case Deliver():
                self._deliver(seat, entry, standing, after, opened, buffer, -1)
                return
            case Trim(from_offset):
                side.counters["trimmed"] += 1
                self._deliver(seat, entry, standing, after, opened, buffer, from_offset)
                return
            case Duplicate():
                side.counters["duplicates"] += 1
            case Gap(span, reason):
                if before.state is not State.WAITING:
                    _log.warning("%s waits: %s is missing (%s)", opened.source, span, reason)
                standing.words = f"{span} is missing"
                self._note(standing, after)
            case Hold(reason):
                if before.state is not State.HELD:
                    _log.error("%s is held: %s, span %s", opened.source, reason, opened.span)
                self._note(standing, after)
            case _:
                assert_never(decision)
        side.buffers.give_back(buffer)

    def _site_floor(self, opened: Opened, seat: CloudSeat) -> int:
        if opened.source in self.standings and self.standings[opened.source].cursor.next is not None:
            return 0
        return max(
            (
                each.cursor.session_floor
                for source, each in self.standings.items()
                if source.site == opened.source.site and each.cloud == seat.where
            ),
            default=0,
        )

    def _deliver(  # noqa: PLR0915 - one delivery from plausible to settled
        self,
        seat: CloudSeat,
        entry: list[int],
        standing: Standing,
        after: Cursor,
        opened: Opened,
        buffer: bytearray,
        from_offset: int,
    ) -> None:
        side, inner = self._side, opened.inner
        try:
            headers = walk(opened.batches, inner.first, inner.next)
            count = sum(header.record_count for header in headers)
            if (count, len(headers)) != (inner.record_count, inner.batch_count):
                message = (
                    f"{count} records in {len(headers)} batches, {inner.record_count} in {inner.batch_count} stated"
                )
                raise Implausible(message)
            batches = [header.cut_from(opened.batches) for header in headers if header.last_offset >= from_offset]
            if batches and headers and from_offset >= 0:
                first = headers[len(headers) - len(batches)]
                if first.base_offset < from_offset:
                    trimmed = records.trim(batches[0], from_offset)
                    batches[:1] = [memoryview(trimmed)] if trimmed is not None else []
        except ValueError as error:
            held = replace(standing.cursor, state=State.HELD, reason=Reason.IMPLAUSIBLE, gap=opened.span)
            _log.error("%s is held: an implausible span: %s", opened.source, error)
            standing.words = str(error)
            self._note(standing, held)
            side.buffers.give_back(buffer)
            return
        standing.cursor, standing.words = after, ""
        standing.session = opened.session.id
        side.counters["envelopes"] += 1
        side.counters["records"] += inner.record_count
        if not batches:
            self._note(standing, after)
            side.buffers.give_back(buffer)
            return
        entry[1] += 1
        self._outstanding += 1
        size = len(opened.batches)
        side.budget.add(size)

        def settled() -> None:
            self._outstanding -= 1
            side.budget.release(size)
            side.buffers.give_back(buffer)

        def done(first: int, following: int) -> None:
            settled()
            # What became known meanwhile (it waits, and for what) belongs to the cursor that is written.
            now = standing.cursor
            written = now if now.next == after.next else replace(after, place=after.place or now.place)
            standing.written, standing.changed = written, True
            standing.delivered += inner.record_count
            self._written(standing, Delivery(written, self._delivered(opened, standing, first, following)))
            self._settle(seat, entry)

        def refused(words: str) -> None:
            settled()
            held = replace(standing.written, state=State.HELD, reason=Reason.SINK_REFUSED, gap=opened.span)
            if standing.cursor.state is not State.HELD:
                _log.error("%s is held: the sink will not take %s: %s", opened.source, opened.span, words)
                standing.words = words
                place = standing.written.place or CloudPlace(seat.topic_id, max(seat.done_to, 0))
                self._note(standing, replace(held, place=place))
            self._settle(seat, entry)

        side.sink.stage(
            standing.sink_topic,
            seat.partition,
            Staged(opened.source, batches, sum(len(batch) for batch in batches), done, refused),
        )

    def _delivered(self, opened: Opened, standing: Standing, first: int, following: int) -> Delivered:
        facts = self._side.watch.facts
        topic = facts.local.get(standing.sink_topic)
        return Delivered(
            span=opened.span,
            sender=opened.session.member_id,
            session_id=opened.session.id,
            body_digest=opened.body_digest,
            sink_cluster=facts.local_cluster,
            sink_topic_id=topic.topic_id if topic is not None else bytes(16),
            sink_partition=opened.source.partition,
            sink_first=max(first, 0),
            sink_next=max(following, 0),
            sink_end=max(following, 0),
        )

    # What is written down

    def _note(self, standing: Standing, cursor: Cursor) -> None:
        """Adopt a cursor that no delivery waits for."""
        standing.cursor, standing.changed = cursor, True
        if cursor.next == standing.written.next or self._outstanding == 0:
            standing.written = cursor
            self._written(standing, Delivery(cursor))

    def _written(self, standing: Standing, delivery: Delivery) -> None:
        key = record_key(standing.sink_topic, standing.cursor.source)
        self._log.put(key, delivery.encode)

    def _settle(self, seat: CloudSeat, entry: list[int]) -> None:
        if seat.settle(entry):
            self._write_position(seat)

    def _write_position(self, seat: CloudSeat) -> None:
        if seat.done_to < 0 or not self._lane.open:
            return
        position = Position(seat.topic_id, seat.position)
        if self._positions.get(seat.where) != position:
            self._positions[seat.where] = position
            self._log.put(position_key(*seat.where), position.encode)

    def _caught_up(self, seat: CloudSeat) -> None:
        seat.catching_up_to = -1
        for standing in self.standings.values():
            cursor = standing.cursor
            if standing.cloud == seat.where and cursor.place is not None and cursor.state is State.FLOWING:
                standing.cursor = cursor.caught_up()
                standing.changed = True

    def changes(self) -> dict[bytes, bytes]:
        """Return the table entries that changed."""
        found = {}
        for source, standing in self.standings.items():
            if standing.changed:
                standing.changed = False
                found[record_key(standing.sink_topic or "-", source)] = msgspec.msgpack.encode(self.row(standing))
        return found

    def row(self, standing: Standing) -> dict[str, Any]:
        """Describe one source partition as status and table show it."""
        cursor, source = standing.written, standing.cursor.source
        state = standing.cursor.state
        reason = standing.cursor.reason
        lag = standing.last_stable - (cursor.next or 0) if standing.last_stable >= 0 else None
        return {
            "channel": source.channel,
            "site": source.site,
            "topic": source.topic,
            "topic_id": source.topic_id.hex(),
            "partition": source.partition,
            "state": str(state),
            "why": ": ".join(
                each for each in (str(reason) if reason and state is not State.FLOWING else "", standing.words) if each
            ),
            "cursor": cursor.next,
            "lag": max(lag, 0) if lag is not None else None,
            "session": standing.session.hex(),
            "records": standing.delivered,
        }

    async def close(self, *, orderly: bool) -> None:
        """Give up every partition; ``orderly`` waits for what is in flight, so that the next worker repeats little."""
        for seat in self.seats.values():
            self._unseat(seat)
        if orderly:
            until = asyncio.get_running_loop().time() + _CLOSE_WITHIN
            while self._outstanding and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.01)
            await self._log.flush()
        self._log.closed = True
