"""From an opened envelope to the sink: its batches judged, trimmed and staged; its cursor moved when they are there."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sealwire.agents.batches import Implausible, walk
from sealwire.agents.header import read_header
from sealwire.agents.sink import Staged
from sealwire.agents.slow_path import trim
from sealwire.keys.cursor import CloudPlace, State
from sealwire.keys.delivery import Delivered
from sealwire.keys.inner import Kind
from sealwire.keys.reason import Reason
from sealwire.keys.source import Span

if TYPE_CHECKING:
    from sealwire.agents.cloud_seat import CloudSeat
    from sealwire.agents.merging import Piece
    from sealwire.agents.mirror import OpenWork
    from sealwire.agents.standings import Standing
    from sealwire.keys.cursor import Cursor
    from sealwire.keys.opening import Opened

_log = logging.getLogger(__name__)
_BESIDE = 4096  # bytes that an envelope on its way takes besides its own: of small ones there would be no end


def pieces(opened: Opened, from_offset: int) -> list[Piece]:
    """Return the batches of an envelope from a source offset on; raises Implausible for what no broker has stored."""
    inner, data = opened.inner, opened.batches
    headers = walk(data, inner.first, inner.next)
    count = sum([header.record_count for header in headers])
    if (count, len(headers)) != (inner.record_count, inner.batch_count):
        message = (
            f"{count} records in {len(headers)} batches, not {inner.record_count} in {inner.batch_count} as stated"
        )
        raise Implausible(message)
    if from_offset > inner.first:
        headers = [header for header in headers if header.last_offset >= from_offset]
    kept = [(data, header) for header in headers]
    if kept and kept[0][1].base_offset < from_offset:
        trimmed = trim(kept[0][1].cut_from(data), from_offset)
        whole = None if trimmed is None else memoryview(trimmed)
        kept[:1] = [] if whole is None else [(whole, read_header(whole))]
    return kept


class Dispatch:
    """One envelope on its way to the sink."""

    def __init__(
        self,
        work: OpenWork,
        seat: CloudSeat,
        entry: list[int],
        standing: Standing,
        after: Cursor,
        opened: Opened,
        buffer: bytearray,
    ) -> None:
        self._work, self._seat, self._entry = work, seat, entry
        self._standing, self._after, self._opened, self._buffer = standing, after, opened, buffer
        self._turn, self._empty = standing.turn, False
        self._size = len(opened.batches)
        self._held = max(len(buffer), self._size) + _BESIDE
        self._tally = work.side.tallies[opened.source.channel]

    def begin(self, from_offset: int) -> None:
        """Stage the batches from a source offset on; the tentative cursor moves at once, the written one later."""
        work, standing, opened = self._work, self._standing, self._opened
        try:
            batches = pieces(opened, from_offset)
        except ValueError as error:
            _log.error("%s is held: an implausible span: %s", opened.source, error)
            standing.words = str(error)
            held = replace(standing.cursor, state=State.HELD, reason=Reason.IMPLAUSIBLE, gap=opened.span)
            place = CloudPlace(self._seat.topic_id, max(self._seat.done_to, 0))
            work.standings.note(standing, replace(held, place=held.place or place))
            work.side.buffers.give_back(self._buffer)
            return
        standing.words, standing.session = "", opened.session.id
        if standing.lies_between(self._after) and self._after.place is not None:
            self._seat.look_again(self._after.place.offset)
        work.side.counters["envelopes"] += 1
        work.side.counters["records"] += opened.inner.record_count
        self._tally.taken.add(opened.inner.record_count, self._size)
        self._empty = not batches
        if self._empty and opened.inner.kind is not Kind.LOST:  # a loss is told in its turn, for the ledger to have it
            work.standings.note(standing, self._after)
            work.side.buffers.give_back(self._buffer)
            return
        work.standings.sent(standing, self._after)
        self._entry[1] += 1
        work.side.budget.add(self._held)
        staged = Staged(
            opened.source,
            batches,
            self._size,
            work.sink.delivering,
            self._done,
            self._refused,
            self._wanted,
            self._over,
        )
        work.side.sink.stage(standing.sink_topic, self._seat.partition, staged)

    def _wanted(self) -> bool:
        """Tell whether it is still to be produced; what its lane gives up, somebody stages again."""
        return not self._work.closed and self._turn == self._standing.turn

    def _over(self) -> None:
        self._work.side.budget.release(self._held)
        self._work.side.buffers.give_back(self._buffer)

    def _done(self, first: int, following: int) -> None:
        self._over()
        if self._turn == self._standing.turn:
            self._work.standings.delivered(self._standing, self._delivered(first, following))
            self._work.sink.log.later(self._count)
        self._work.settle(self._seat, self._entry)

    def _count(self) -> None:
        self._standing.delivered += self._opened.inner.record_count
        self._tally.deliver(self._opened.inner.record_count, self._size)

    def _refused(self, words: str, reached: int, first: int, following: int) -> None:
        """The sink never takes it: its source partition is held with the sink's own words, the others go on.

        What lies before the source offset ``reached`` is stored, and never comes again.
        """
        self._over()
        standing, span = self._standing, self._opened.span
        if self._turn != standing.turn:
            self._work.settle(self._seat, self._entry)
            return
        standing.flight.clear()
        delivered = None
        if standing.cursor.state is not State.HELD:
            before = standing.acked
            if span.first < reached < span.next:
                span = Span(reached, span.next)
                before = replace(self._after, next=reached, place=before.place)
                delivered = replace(self._delivered(first, following), span=Span(self._opened.span.first, reached))
            _log.error("%s is held: the sink will not take %s: %s", self._opened.source, span, words)
            standing.words = words
            standing.cursor = replace(
                before,
                state=State.HELD,
                reason=Reason.SINK_REFUSED,
                gap=span,
                place=before.place or CloudPlace(self._seat.topic_id, max(self._seat.done_to, 0)),
            )
        self._work.standings.note(standing, standing.cursor, delivered)
        self._work.settle(self._seat, self._entry)

    def _delivered(self, first: int, following: int) -> Delivered:
        facts, opened = self._work.side.watch.facts, self._opened
        topic, last = facts.local.get(self._standing.sink_topic), self._standing.last
        if self._empty:  # nothing of it is there
            first = following = max(following, last.sink_end if last is not None else 0)
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
