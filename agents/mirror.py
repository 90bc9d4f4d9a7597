"""The opening side of a lane: envelopes of cloud partitions become batches at the sink.

What an envelope is worth is decided in keys/ (opening, cursor); here each decision has its one branch. A cursor is
adopted for the next envelope at once, and written down when the sink has acknowledged (agents/lane_sink.py).
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from sealwire.agents import records
from sealwire.agents.cloud_seat import AHEAD, CloudSeat
from sealwire.agents.cloud_topic import opened_most
from sealwire.agents.dispatch import Dispatch
from sealwire.agents.lane_sink import LaneSink
from sealwire.agents.record_opening import open_record
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.topics import dealt
from sealwire.keys.cursor import CloudPlace, Deliver, Duplicate, Gap, Hold, Rules, State, Trim, advance
from sealwire.keys.delivery import Position
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.agents.lane import Lane
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.seat import Fetched
    from sealwire.agents.topics import Facts
    from sealwire.keys.opening import Opened

_log = logging.getLogger(__name__)
_MISSING = "cloud topic {} is missing: at the sending site, sealwire topics apply makes it"
_CLOSE_WITHIN = 3.0  # seconds
_READ_AGAIN = 5.0  # seconds after a cloud partition that could not be read


class OpenWork:
    """What one lane opens."""

    def __init__(self, lane: Lane, side: Opening) -> None:
        self._lane, self.side = lane, side
        self.seats: dict[tuple[str, int], CloudSeat] = {}
        self.sink = LaneSink(lane, side)
        self.standings = self.sink.standings
        self._positions: dict[tuple[str, int], Position] = {}
        self.closed = False

    # Seating

    @property
    def waits(self) -> str:
        """Say what begin() is at."""
        return self.sink.waits

    async def begin(self) -> None:
        """Read back what was delivered; nothing is seated before."""
        self._positions = await self.sink.begin()

    async def deal(self, facts: Facts) -> None:
        """Seat the cloud partitions of this lane, unless its cursors are lost."""
        if self.sink.lost:
            return
        for seat in self.seats.values():
            seat.expire()
            self._write_position(seat)
        self.look_at_sinks(gone=False)
        side = self.side
        side.trouble = {**facts.troubles}
        there: set[tuple[str, int]] = set()
        for route in facts.routes:
            cloud = facts.cloud.get(route.cloud_topic)
            if cloud is None:
                words = side.watch.forbidden("cloud", route.cloud_topic) or _MISSING.format(route.cloud_topic)
                side.trouble[route.cloud_topic] = words
                side.say(words)
                there.update(where for where in self.seats if where[0] == route.cloud_topic)  # the cloud may lie
                continue
            ours = dealt(route.cloud_topic, cloud.partitions, self._lane.number, side.settings.lanes)
            there.update((route.cloud_topic, partition) for partition in ours)
            for partition in ours:
                where = (route.cloud_topic, partition)
                known = self.seats.get(where)
                if known is not None and known.topic_id == cloud.topic_id and known.route == route:
                    continue
                if known is not None:
                    self._unseat(known)
                    if known.topic_id != cloud.topic_id:
                        _log.warning("%s[%d] was made anew in the cloud: it is read from its beginning", *where)
                seat = CloudSeat(route, partition, cloud.topic_id, -1, -1)
                self.seats[where] = seat
                await self._start(seat)
        for where in self.seats.keys() - there:
            self._unseat(self.seats.pop(where))
            _log.warning("%s[%d] is opened no more: its topic, or its mapping, is gone", *where)

    async def _start(self, seat: CloudSeat) -> None:
        position = self._positions.get(seat.where)
        if position is not None and position.topic_id == seat.topic_id:
            offset = position.offset
        else:
            offset = await self.side.cloud.log_start(*seat.where)
        seat.done_to = offset
        await self.sink.look(seat)
        place = self.standings.place_from(seat.topic_id, seat.partition)
        if place is not None and place < offset:
            seat.catching_up_to, offset = offset, place
        self._read_from(seat, offset)

    def _read_from(self, seat: CloudSeat, offset: int) -> None:
        if not self._lane.open or self.seats.get(seat.where) is not seat:
            return
        self._unseat(seat)
        seat.read_to = offset
        if held := self.side.held:
            seat.why = held
            return
        epoch = seat.epoch

        async def take(fetched: Fetched) -> None:
            await self._lane.hand((seat, epoch, fetched))

        def failed(error: Exception) -> None:
            if seat.epoch == epoch and self._lane.open:
                self._failed(seat, error)

        seat.seat = self.side.cloud.seat(*seat.where, offset, take, failed)

    def _unseat(self, seat: CloudSeat) -> None:
        seat.epoch += 1
        if seat.seat is not None:
            self.side.cloud.unseat(seat.seat)
            seat.seat = None

    def _failed(self, seat: CloudSeat, error: Exception) -> None:
        seat.seat = None
        if seat.why != str(error):  # it is tried again every few seconds
            _log.warning("%s[%d]: %s", *seat.where, error)
        if isinstance(error, OffsetOutOfRange):
            # The cloud's offsets prove nothing: cursors tell duplicates and gaps whatever is served from here on.
            seat.go_back(error.log_start)
            self._read_from(seat, error.log_start)
        else:
            seat.why = str(error)
            asyncio.get_running_loop().call_later(_READ_AGAIN, self._read_on, seat)

    def _read_on(self, seat: CloudSeat) -> None:
        if seat.seat is None:  # else someone reads again already, perhaps from further back
            self._read_from(seat, seat.read_to)

    def on_hold(self) -> None:
        """Nothing may be delivered from now on; or it may again, from where it was left."""
        for seat in self.seats.values():
            if self.side.held:
                self._unseat(seat)
                seat.why = self.side.held
            else:
                self._read_on(seat)

    def revisit(self, sessions: set[bytes]) -> None:
        """Sessions became known: read again from where their first envelopes were parked."""
        for seat in self.seats.values():
            known = [seat.parked.pop(session)[0] for session in sessions & set(seat.parked)]
            if known and min(known) < seat.read_to:
                self._read_again(seat, min(known))

    def _read_again(self, seat: CloudSeat, offset: int) -> None:
        seat.catching_up_to = max(seat.catching_up_to, seat.read_to)
        seat.go_back(offset)
        self.standings.looked_again(seat.where)
        self._read_from(seat, offset)

    def revisit_ahead(self) -> None:
        """Time passed: what was ahead of our clock may not be any more."""
        self.revisit({AHEAD})

    def read_again_from(self, places: list[tuple[int, CloudPlace]]) -> None:
        """Read cloud partitions again from places in them, but where it will come to that anyway."""
        for partition, place in places:
            for seat in self.seats.values():
                if (seat.partition, seat.topic_id) == (partition, place.topic_id) and place.offset < seat.read_to:
                    self._read_again(seat, place.offset)

    def look_at_sinks(self, *, gone: bool) -> None:
        """Hold what was delivered to a sink topic that is another one now."""
        for seat in self.seats.values():
            self.sink.look_again(seat, gone=gone)

    # Opening

    def take(self, load: tuple[CloudSeat, int, Fetched]) -> Iterator[None]:
        """Open every envelope of one answer, unless the seat is given up, or reads again elsewhere, in between."""
        seat, epoch, fetched = load
        if seat.epoch != epoch:
            return
        seat.why = ""
        entry = seat.took(fetched.next)
        for header, batch in fetched.scan.application():
            yield
            if seat.epoch != epoch:
                entry[0] = min(entry[0], header.base_offset)  # nothing from here on was looked at
                self.settle(seat, entry)
                return
            try:
                found = records.read(batch, opened_most(batch))
            except ValueError as error:
                self.side.refuse(Rejected(Reason.MALFORMED, str(error)), seat.where, header.base_offset, None)
                continue
            for record in found:
                if record.offset < seat.read_to:
                    continue
                if (one := open_record(self.side, seat, record)) is not None:
                    self._decide(seat, entry, one.opened, record.offset, one.buffer)
        seat.read_to = max(seat.read_to, fetched.next)
        fetched.release()
        self.settle(seat, entry)
        if 0 <= seat.catching_up_to <= seat.read_to:
            seat.catching_up_to = -1
            self.standings.caught_up(seat.where)
        if seat.again is not None:
            self._read_again(seat, seat.again)

    def _decide(self, seat: CloudSeat, entry: list[int], opened: Opened, offset: int, buffer: bytearray) -> None:
        side = self.side
        standing = self.standings.of(opened.source, seat.route.sink_topic, seat.where)
        standing.last_stable = max(standing.last_stable, opened.inner.last_stable)
        rules = Rules(site_floor=self.standings.site_floor(standing), begin_anywhere=seat.route.begin_anywhere)
        before = standing.cursor
        if before.place is not None and before.place.topic_id != seat.topic_id:
            before = replace(before, place=None)  # the cloud topic was made anew: nothing can be read again there
        after, decision = advance(before, opened, rules, CloudPlace(seat.topic_id, offset))
        match decision:
            case Deliver():
                Dispatch(self, seat, entry, standing, after, opened, buffer).begin(-1)
                return
            case Trim(from_offset):
                side.counters["trimmed"] += 1
                side.tallies[seat.route.channel].trimmed += 1
                Dispatch(self, seat, entry, standing, after, opened, buffer).begin(from_offset)
                return
            case Duplicate():
                side.counters["duplicates"] += 1
                side.tallies[seat.route.channel].duplicates += 1
            case Gap(span, reason):
                if before.state is not State.WAITING:
                    _log.warning("%s waits: %s is missing (%s)", opened.source, span, reason)
                standing.passed_over(after.gap or span, span.next)
                self.standings.note(standing, after)
            case Hold(reason):
                if before.state is not State.HELD:
                    _log.error("%s is held: %s, span %s", opened.source, reason, opened.span)
                self.standings.note(standing, after)
            case _:
                assert_never(decision)
        side.buffers.give_back(buffer)

    # What is written down

    def settle(self, seat: CloudSeat, entry: list[int]) -> None:
        """One delivery of an answer is done, or the looking at it."""
        if seat.settle(entry):
            self._write_position(seat)

    def _write_position(self, seat: CloudSeat) -> None:
        if seat.done_to < 0 or not self._lane.open:
            return
        position = Position(seat.topic_id, seat.position)
        if self._positions.get(seat.where) != position:
            self._positions[seat.where] = position
            self.sink.write_position(seat.where, position)

    def changes(self) -> dict[bytes, bytes]:
        """Return the table entries that changed."""
        return self.standings.changes()

    async def close(self, *, orderly: bool) -> None:
        """Give up every partition; ``orderly`` lets what is on its way count first. The rest is for a successor."""
        self.closed = True
        for seat in self.seats.values():
            self._unseat(seat)
        async with asyncio.timeout(_CLOSE_WITHIN):
            await self.sink.delivering.close(orderly=orderly)
