"""What the ledger tells of senders: of whom what was delivered, from which source offsets to which sink offsets.

Delivery records come in the order of the ledger. Deliveries of one sender that touch at both ends are one stretch, or
no memory would hold a year of them. Told are bounds: at the sink, markers of transactions and records of other
producers may lie between those of a stretch, and the ledger names no single record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys.order import Kind
from sealwire.keys.source import SourcePartition, Span

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.keys.delivery import Delivered, Delivery

_MARKER: Final = 1  # sink offsets between two transactions of one producer


class Told(NamedTuple):
    """One delivery record, as it stands in the ledger: when it was written (ms), and whether in a transaction."""

    sink_topic: str
    delivery: Delivery
    at: int
    fenced: bool


@dataclass
class Stretch:
    """Deliveries of one sender, one behind the other: source offsets ``span`` are at the sink offsets ``sink``.

    ``sink`` is empty where the source lost the span, as its sender said. ``again``: these source offsets had been
    delivered before. ``shared``: in the same sink offsets are deliveries of another sender, too.
    """

    source: SourcePartition
    sink_topic: str
    sink_topic_id: bytes
    span: Span
    sink: Span
    first_at: int  # ms
    last_at: int
    again: bool = False
    shared: bool = False
    deliveries: int = 0
    sessions: int = 0
    _session: bytes = b""
    _fenced: bool = False

    @property
    def lost(self) -> bool:
        """Whether nothing of it is at the sink."""
        return not len(self.sink)

    def takes(self, other: Stretch) -> bool:
        """Tell whether another one, of the same place and sender, goes on where this one ends."""
        if (self.sink_topic_id, self.again, self.lost) != (other.sink_topic_id, other.again, other.lost):
            return False
        if other.span.first != self.span.next:
            return False
        apart = other.sink.first - self.sink.next
        # In one round all have the same sink offsets; a transaction ends with its marker, and nothing fits beside it.
        return self.lost or (self.sink.first <= other.sink.first and apart <= (_MARKER if self._fenced else 0))

    def take(self, other: Stretch) -> None:
        """Become one with what goes on."""
        self.span = Span(self.span.first, other.span.next)
        if not self.lost:
            self.sink = Span(self.sink.first, max(self.sink.next, other.sink.next))
        self.first_at, self.last_at = min(self.first_at, other.first_at), max(self.last_at, other.last_at)
        self.deliveries += other.deliveries
        self.sessions += other._session != self._session
        self._session, self._fenced = other._session, other._fenced


@dataclass
class Session:
    """What was delivered under one session."""

    channel: str
    first_at: int  # ms
    last_at: int
    deliveries: int = 0


@dataclass
class Sender:
    """All that was delivered from one member; ``offsets`` are source offsets, those delivered again counted again."""

    first_at: int  # ms
    last_at: int
    deliveries: int = 0
    offsets: int = 0
    lost: int = 0  # offsets that it said its source had lost
    places: set[tuple[str, SourcePartition]] = field(default_factory=set)  # sink topic and source partition
    sessions: dict[bytes, Session] = field(default_factory=dict)
    stretches: list[Stretch] = field(default_factory=list)


@dataclass
class _Last:
    """What was told last of one source partition at one sink topic; ``next``: None where nobody knows yet."""

    next: int | None = None
    sender: bytes = b""
    stretch: Stretch | None = None
    sink: Span = field(default=Span(0, 0))


class Provenance:
    """Takes delivery records, and knows of each sender what was delivered; stretches of those alone that are asked for.

    ``unfenced`` counts deliveries that no transaction made count: copies that a crash left are on no record.
    """

    def __init__(self, asked: Callable[[bytes], bool] = lambda _sender: True, channel: str | None = None) -> None:
        self._asked, self._channel = asked, channel
        self._last: dict[tuple[str, SourcePartition], _Last] = {}
        self.senders: dict[bytes, Sender] = {}
        self.unfenced = 0

    def tell(self, told: Told) -> None:
        """Take the next one of its lane."""
        source, order, done = told.delivery.cursor.source, told.delivery.order, told.delivery.delivered
        if self._channel is not None and source.channel != self._channel:
            return
        place = (told.sink_topic, source)
        last = self._last.setdefault(place, _Last())
        if order is not None and order.kind is Kind.REWIND:
            last.next = order.to
        if done is None:
            return
        self.unfenced += not told.fenced
        self._delivered(place, last, done, told)

    def _delivered(self, place: tuple[str, SourcePartition], last: _Last, done: Delivered, told: Told) -> None:
        span, sink = done.span, Span(done.sink_first, done.sink_next)
        again = last.next is not None and span.next <= last.next
        if last.next is not None and not again:
            span = Span(max(span.first, last.next), span.next)  # what was there already was trimmed
        found = Stretch(
            place[1],
            place[0],
            done.sink_topic_id,
            span,
            sink,
            told.at,
            told.at,
            again,
            deliveries=1,
            sessions=1,
            _session=done.session_id,
            _fenced=told.fenced,
        )
        others = bool(last.sender) and last.sender != done.sender
        if others and sink.first < last.sink.next and last.sink.first < sink.next:
            found.shared = True
            if last.stretch is not None:
                last.stretch.shared = True
        self._count(done, found)
        if not self._asked(done.sender):
            last.stretch = None
        elif last.stretch is not None and not others and last.stretch.takes(found):
            last.stretch.take(found)
        else:
            last.stretch = found
            self.senders[done.sender].stretches.append(found)
        last.sender, last.sink = done.sender, sink
        last.next = span.next if last.next is None else max(last.next, span.next)

    def _count(self, done: Delivered, found: Stretch) -> None:
        at, source = found.first_at, found.source
        sender = self.senders.setdefault(done.sender, Sender(at, at))
        sender.first_at, sender.last_at = min(sender.first_at, at), max(sender.last_at, at)
        sender.deliveries += 1
        if found.lost:
            sender.lost += len(found.span)
        else:
            sender.offsets += len(found.span)
        sender.places.add((found.sink_topic, source))
        session = sender.sessions.setdefault(done.session_id, Session(source.channel, at, at))
        session.first_at, session.last_at = min(session.first_at, at), max(session.last_at, at)
        session.deliveries += 1
