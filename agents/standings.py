"""Where the source partitions of a lane stand at the sink: tentatively, acknowledged, and written down."""

from __future__ import annotations

import functools
import logging
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from sealwire.agents import clock
from sealwire.agents.stale_words import explain
from sealwire.keys.cursor import CloudPlace, Cursor, State
from sealwire.keys.delivery import Delivery, read_record_key, record_key
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.agents.cloud_seat import CloudSeat
    from sealwire.agents.cursors import CursorLog
    from sealwire.keys.delivery import Delivered
    from sealwire.keys.order import Order
    from sealwire.keys.outlook import Awaited, Stale, Word
    from sealwire.keys.source import SourcePartition, Span


_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Standing:
    """One source partition: ``cursor`` is tentative, ``acked`` what the sink has acknowledged, ``written`` what counts.

    ``last`` is what was delivered last, as far as the sink has acknowledged it. ``turn`` counts how often everything on
    its way was given up. ``said`` is the newest word of its sender, ``awaited`` what the
    cursor is to reach by such words.
    """

    cursor: Cursor
    acked: Cursor
    written: Cursor
    sink_topic: str
    cloud: tuple[str, int]
    session: bytes = b""
    last_stable: int = -1
    delivered: int = 0
    last: Delivered | None = None
    turn: int = 0
    flight: deque[Cursor] = field(default_factory=deque)  # for each delivery at the sink, what is written with it
    skipped: int | None = None  # of what was passed over beyond a gap since reading last began, the lowest beginning
    words: str = ""
    since: int | None = None  # ms: when it began to wait or to be held; None where that was before this worker
    changed: bool = True
    said: Word | None = None
    awaited: Awaited | None = None
    stale: Stale | None = None

    def tell(self, stale: Stale | None) -> None:
        """Note whether it is stale, and why."""
        self.stale, self.changed = stale, self.changed or stale != self.stale

    def passed_over(self, gap: Span, beginning: int) -> None:
        """Note that an envelope beyond a gap was passed over, which is needed once the cursor is at ``beginning``."""
        self.words = f"{gap} is missing"
        self.skipped = beginning if self.skipped is None else min(self.skipped, beginning)

    def lies_between(self, after: Cursor) -> bool:
        """Tell whether what a cursor needs next was passed over: it stands between its place and here."""
        return self.skipped is not None and self.skipped <= (after.next or 0)

    def row(self) -> dict[str, Any]:
        """Describe it as status and table show it."""
        cursor, source, state = self.written, self.cursor.source, self.cursor.state
        reason = str(self.cursor.reason) if self.cursor.reason and state is not State.FLOWING else ""
        gap, order = self.cursor.gap, self.cursor.order
        end = max(self.last_stable, self.said.last_stable if self.said is not None else -1)
        # Where nothing was sealed yet, the source's log may begin anywhere before its end.
        begun = cursor.next is not None or self.last_stable >= 0 or (self.said is not None and self.said.next > 0)
        lag = end - (cursor.next or 0) if end >= 0 and (begun or end == 0) else None
        return {
            **source.fields,
            "state": str(state),
            "why": ": ".join(each for each in (reason, self.words) if each),
            "stale": explain(self.stale) if self.stale is not None else "",
            "stale_since_ms": self.stale.since if self.stale is not None else None,
            "source": self.said.state.name.lower().replace("_", " ") if self.said is not None else "",
            "cursor": cursor.next,
            "lag": max(lag, 0) if lag is not None else None,
            "session": self.session.hex(),
            "records": self.delivered,
            "next": self.cursor.next,
            "reason": reason,
            "gap": [gap.first, gap.next] if gap is not None else None,
            "since_ms": self.since if state is not State.FLOWING else None,
            "order": order.hex() if order is not None else None,
        }


class Standings:
    """All source partitions of one lane, and the delivery records that tell of them."""

    def __init__(self, log: CursorLog) -> None:
        self._log = log
        self._known: dict[SourcePartition, Standing] = {}

    def __iter__(self) -> Iterator[Standing]:
        """Go through all of them."""
        return iter(self._known.values())

    def begin(self, record_key: bytes, delivery: Delivery) -> None:
        """Take up one that was read back."""
        cursor, (sink_topic, _source) = delivery.cursor, read_record_key(record_key)
        cloud = ("", cursor.source.partition)
        self._known[cursor.source] = Standing(cursor, cursor, cursor, sink_topic, cloud, last=delivery.delivered)

    def at(self, sink_topic: str, partition: int) -> list[Standing]:
        """Return those that are delivered into a sink partition."""
        return [each for each in self if (each.sink_topic, each.cursor.source.partition) == (sink_topic, partition)]

    def known(self, source: SourcePartition) -> Standing | None:
        """Return the standing of a source partition that was met before."""
        return self._known.get(source)

    def of(self, source: SourcePartition, sink_topic: str, cloud: tuple[str, int]) -> Standing:
        """Return the standing of a source partition met at a cloud partition; of a new one, an empty cursor."""
        standing = self._known.get(source)
        if standing is None:
            fresh = Cursor(source)
            standing = self._known[source] = Standing(fresh, fresh, fresh, sink_topic, cloud)
        standing.sink_topic, standing.cloud, standing.changed = sink_topic, cloud, True
        return standing

    def site_floor(self, standing: Standing) -> int:
        """Return the highest session floor of the site in this cloud partition, for one that is met the first time.

        A cloud partition is told by its sink: which of them were read back after a start is known from the first
        envelope on.
        """
        if standing.cursor.next is not None:
            return 0
        source = standing.cursor.source
        return max(
            (
                each.cursor.session_floor
                for each in self
                if (each.cursor.source.site, each.cursor.source.partition, each.sink_topic)
                == (source.site, source.partition, standing.sink_topic)
            ),
            default=0,
        )

    def place_from(self, topic_id: bytes, partition: int) -> int | None:
        """Return the earliest cloud offset that one of them must be read again from, if any must."""
        places = [
            each.cursor.place.offset
            for each in self
            if each.cursor.place is not None
            and each.cursor.place.topic_id == topic_id
            and each.cursor.source.partition == partition
        ]
        return min(places, default=None)

    def note(
        self, standing: Standing, cursor: Cursor, delivered: Delivered | None = None, order: Order | None = None
    ) -> None:
        """Adopt a cursor that no whole delivery brings: it waits, is held, or passed a span without batches.

        An ``order`` that moved it takes that nothing is on its way to the sink; where that went counts no more.
        """
        if cursor.state is not State.FLOWING and standing.acked.state is State.FLOWING:
            standing.since = standing.since or clock.now()
        standing.cursor, standing.changed = cursor, True
        if standing.flight:  # it rests on the delivery before it, and is written together with that
            standing.flight[-1] = cursor
            return
        standing.last = None if order is not None else delivered or standing.last
        moved = delivered is not None or order is not None
        self._write(standing, Delivery(cursor, standing.last, order), enter=moved)

    def hold_changed(self, standing: Standing, words: str, seat: CloudSeat) -> None:
        """Hold a source partition whose sink is another one, as ``words`` say; empty ones hold nothing."""
        if not words:
            return
        standing.words = standing.words or words
        if standing.cursor.state is State.HELD:
            return
        _log.error("%s is held: %s", standing.cursor.source, words)
        standing.flight.clear()
        standing.turn += 1
        standing.words, before = words, standing.acked
        place = before.place or CloudPlace(seat.topic_id, max(seat.position, 0))
        self.note(standing, replace(before, state=State.HELD, reason=Reason.SINK_CHANGED, gap=None, place=place))

    def confirm(self, standing: Standing, made_at: int) -> None:
        """Lift the session floor to a session (its ``made_at``) that stated exactly where the cursor stands."""
        cursor = standing.cursor
        if cursor.next is not None and made_at > cursor.session_floor and not standing.flight:
            self.note(standing, cursor.confirmed(cursor.next, made_at))

    def sent(self, standing: Standing, after: Cursor) -> None:
        """Adopt the cursor after a delivery that is on its way; it is written when the sink has acknowledged."""
        standing.cursor, standing.changed = after, True
        standing.flight.append(after)

    def delivered(self, standing: Standing, delivered: Delivered) -> None:
        """Write the cursor after the oldest delivery on its way, which the sink has acknowledged."""
        standing.last = delivered
        self._write(standing, Delivery(standing.flight.popleft(), delivered), enter=True)

    def refused(self) -> set[str]:
        """Name the sink topics that refused something which is held."""
        return {each.sink_topic for each in self if each.cursor.reason is Reason.SINK_REFUSED}

    def release(self, sink_topic: str) -> list[tuple[int, CloudPlace]]:
        """Let go of what a sink topic refused; return the partitions, and where they are to be read again from."""
        found: list[tuple[int, CloudPlace]] = []
        for standing in self:
            cursor = standing.cursor
            if standing.sink_topic != sink_topic or cursor.reason is not Reason.SINK_REFUSED or cursor.place is None:
                continue
            standing.words = ""
            self.note(standing, replace(cursor, state=State.FLOWING, reason=None, gap=None))
            found.append((cursor.source.partition, cursor.place))
        return found

    def looked_again(self, cloud: tuple[str, int]) -> None:
        """What was passed over at a cloud partition is about to be read again."""
        for standing in self:
            if standing.cloud == cloud:
                standing.skipped = None

    def caught_up(self, cloud: tuple[str, int]) -> None:
        """Everything of a cloud partition was read again: those that flow need their place no more."""
        for standing in self:
            cursor = standing.cursor
            flows = cursor.state is State.FLOWING and standing.skipped is None
            if standing.cloud == cloud and cursor.place is not None and flows:
                self.note(standing, cursor.caught_up())

    def _write(self, standing: Standing, delivery: Delivery, *, enter: bool) -> None:
        standing.acked, standing.changed = delivery.cursor, True
        if delivery.cursor.state is State.FLOWING:
            standing.since = None
        key = record_key(standing.sink_topic, delivery.cursor.source)
        self._log.put(key, delivery.encode)
        if enter:
            self._log.enter(key, delivery.encode)
        self._log.later(functools.partial(self._counts, standing, delivery.cursor))

    @staticmethod
    def _counts(standing: Standing, cursor: Cursor) -> None:
        standing.written, standing.changed = cursor, True

    def changes(self) -> dict[bytes, bytes]:
        """Return the table entries that changed since the last call."""
        found = {}
        for source, standing in self._known.items():
            if standing.changed:
                standing.changed = False
                found[record_key(standing.sink_topic or "-", source)] = msgspec.msgpack.encode(standing.row())
        return found
