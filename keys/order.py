"""What a person decides about a source partition: to pass a span that is missing, or to go back.

An order names the state that it was given for: one that has changed since is left alone, and the person looks again.
A cursor remembers the order that was applied to it last, and the next order names that one: so each is applied once,
however often it is read, even where a source partition comes to stand as it stood before. The session floor stays as
it is: what was too old to be believed is so after an order as well.

A written order is a version byte and one msgpack array, read as strictly as a statement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import VERSION, Cursor, State, versioned

if TYPE_CHECKING:
    from sealwire.keys.primitives import Random

ID_SIZE: Final = 16
WORDS_CAP: Final = 1000
"""The most characters of who gave an order, and of why."""
NEVER_PASSED: Final = frozenset({Reason.REGRESSED, Reason.SINK_CHANGED, Reason.CHARTER_OLD, Reason.CURSORS_LOST})
"""What is held for these does not wait for a span: to pass one would help nobody."""


class Kind(StrEnum):
    """What a person may order."""

    ACCEPT_GAP = "accept-gap"
    REWIND = "rewind"


@dataclass(frozen=True, slots=True)
class Expected:
    """How a source partition stands when an order is given.

    ``after`` is the id of the order that was applied to it last. A source partition that flows may have moved on from
    ``next`` when the order arrives; one that waits or is held must stand exactly so.
    """

    state: State
    reason: Reason | None
    next: int | None
    gap: Span | None
    after: bytes | None = None

    @staticmethod
    def of(cursor: Cursor) -> Expected:
        """Say how a cursor stands."""
        return Expected(cursor.state, cursor.reason, cursor.next, cursor.gap, cursor.order)

    def fits(self, cursor: Cursor) -> bool:
        """Tell whether a cursor stands so."""
        now = Expected.of(cursor)
        if self.state is State.FLOWING and self.next is not None and (now.next or 0) > self.next:
            now = replace(now, next=self.next)
        return now == self


@dataclass(frozen=True, slots=True)
class Order:
    """A person's word about one source partition, in the state that it ``expects``.

    ``to`` is the next source offset that the sink needs afterwards: the end of the span that ACCEPT_GAP passes, or
    where REWIND goes back to (None: nothing was delivered yet, and nothing is passed). ``again`` has the cloud read
    again from the place that the cursor keeps; without it reading goes on from where it is, and what lies between comes
    by a reseal. ``who`` and ``why`` are in words, ``at`` in ms.
    """

    id: bytes
    kind: Kind
    source: SourcePartition
    expects: Expected
    to: int | None
    again: bool
    who: str
    at: int
    why: str

    @property
    def span(self) -> Span:
        """The source offsets that are passed without being delivered, or that are needed once more; may be empty."""
        here, to = self.expects.next or 0, self.to or 0
        return Span(min(here, to), max(here, to))

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        return bytes((VERSION,)) + wire.pack(pack_order(self))

    @staticmethod
    def decode(data: bytes) -> Order:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        return unpack_order(wire.unpack(versioned(data), _DECODER))


def give(
    kind: Kind,
    source: SourcePartition,
    expects: Expected,
    to: int | None,
    who: str,
    why: str,
    now: int,
    random: Random,
    *,
    again: bool = True,
) -> Order:
    """Make an order for a source partition that stands as ``expects`` says.

    Raises:
        Misuse: it could never be applied (``possible`` tells), or says too much in words.
    """
    order = Order(random(ID_SIZE), kind, source, expects, to, again, who, now, why)
    if not possible(kind, expects, to):
        detail = f"{kind} to {to} cannot be ordered where {expects}"
        raise Misuse(detail)
    try:
        return Order.decode(order.encode())
    except Rejected as refusal:
        raise Misuse(f"no order can say this: {refusal}") from None


def possible(kind: Kind, expects: Expected, to: int | None) -> bool:
    """Tell whether an order to go to ``to`` makes sense in a state.

    A span is passed from where the cursor stands, and only as far as it is named: what would be passed beside it may be
    had from the cloud or from the source. Back goes only what was delivered.
    """
    if kind is Kind.REWIND:
        return (expects.next is None) == (to is None) and (to or 0) <= (expects.next or 0)
    gap, here = expects.gap, expects.next
    if gap is None or to is None or expects.state is State.FLOWING or expects.reason in NEVER_PASSED:
        return False
    return (here is None or gap.first <= here) and (here or 0) < to <= gap.next


def apply(cursor: Cursor, order: Order) -> Cursor | None:
    """Return the cursor after an order, or None where it is not for this cursor, or not for how that stands now.

    What waits or is held flows from then on; whether something still lacks shows when the cloud is read again.
    """
    if cursor.source != order.source or not order.expects.fits(cursor):
        return None
    if not possible(order.kind, order.expects, order.to):
        return None
    place = cursor.place if order.again else None
    return replace(cursor, next=order.to, state=State.FLOWING, reason=None, gap=None, place=place, order=order.id)


class _Source(wire.Fields, frozen=True):
    channel: str
    site: str
    topic: str
    topic_id: wire.Id16
    partition: wire.U32


class _Expected(wire.Fields, frozen=True):
    state: State
    reason: Reason | None
    next: wire.Offset | None
    gap: tuple[wire.Offset, wire.Offset] | None
    after: wire.Id16 | None


_Words = Annotated[str, msgspec.Meta(min_length=1, max_length=WORDS_CAP)]


class OrderFields(wire.Fields, frozen=True):
    """An order's array."""

    id: wire.Id16
    kind: Kind
    source: _Source
    expects: _Expected
    to: wire.Offset | None
    again: bool
    who: _Words
    at: wire.Time
    why: _Words


_DECODER: Final = msgspec.msgpack.Decoder(OrderFields)


def pack_order(order: Order) -> OrderFields:
    """Return an order as the array that is written."""
    source, seen = order.source, order.expects
    gap = None if seen.gap is None else (seen.gap.first, seen.gap.next)
    return OrderFields(
        order.id,
        order.kind,
        _Source(source.channel, source.site, source.topic, source.topic_id, source.partition),
        _Expected(seen.state, seen.reason, seen.next, gap, seen.after),
        order.to,
        order.again,
        order.who,
        order.at,
        order.why,
    )


def unpack_order(fields: OrderFields) -> Order:
    """Return the order of an array."""
    seen = fields.expects
    gap = None if seen.gap is None else Span(*seen.gap)
    return Order(
        fields.id,
        fields.kind,
        SourcePartition(**msgspec.structs.asdict(fields.source)),
        Expected(seen.state, seen.reason, seen.next, gap, seen.after),
        fields.to,
        fields.again,
        fields.who,
        fields.at,
        fields.why,
    )
