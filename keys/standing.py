"""Where a source partition stands at this site: its cursor, and how that is written down.

A written cursor is a version byte and one msgpack array, read as strictly as a statement. It holds no secret. The
version is 1, or 2 from the first order of a person's on: then the id of the last one stands behind the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span

VERSION: Final = 1
"""The first byte of every record of our own local topics; another one is of a newer release."""
ORDERED: Final = 2
"""The first byte of a cursor, or of a delivery record, that an order was applied to."""


class State(StrEnum):
    """The three states of a source partition."""

    FLOWING = "flowing"
    WAITING = "waiting"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class CloudPlace:
    """Where in the cloud topic a waiting or held source partition is to be read again from."""

    topic_id: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a source partition is delivered.

    ``next`` is the next source offset that the sink needs, or None where nothing was delivered yet. ``session_floor``
    is the newest ``made_at`` (ms) of a session that moved it or confirmed it; ``sealed_at`` (ms) is that of the
    envelope that moved it last. ``gap`` and ``reason`` say what it waits for or why it is held. ``place`` is the
    earliest place that must be read again; it stays until ``caught_up``, also while the cursor flows. ``order`` is the
    id of the order of a person's that was applied last.
    """

    source: SourcePartition
    next: int | None = None
    session_floor: int = 0
    sealed_at: int = 0
    state: State = State.FLOWING
    reason: Reason | None = None
    gap: Span | None = None
    place: CloudPlace | None = None
    order: bytes | None = None

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        return bytes((version_of(self),)) + wire.pack(pack_cursor(self))

    @staticmethod
    def decode(data: bytes) -> Cursor:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        body = versioned(data, VERSION, ORDERED)
        return unpack_cursor(wire.unpack(body, _ORDERED) if data[0] == ORDERED else wire.unpack(body, _DECODER))

    def caught_up(self) -> Cursor:
        """Return it without a place: everything from there on was read again.

        Raises:
            Misuse: it still waits or is held.
        """
        if self.state is not State.FLOWING:
            detail = f"{self.source} is {self.state}: its place is still needed"
            raise Misuse(detail)
        return replace(self, place=None)

    def confirmed(self, next_offset: int, made_at: int) -> Cursor:
        """Return it with the floor that a session's progress lifts: one that names exactly this ``next``."""
        if self.next != next_offset or made_at <= self.session_floor:
            return self
        return replace(self, session_floor=made_at)


class CursorFields(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A cursor's array; the first five are its source partition."""

    channel: str
    site: str
    topic: str
    topic_id: wire.Id16
    partition: wire.U32
    next: wire.Offset | None
    session_floor: wire.Time
    sealed_at: wire.Time
    state: State
    reason: Reason | None
    gap: tuple[wire.Offset, wire.Offset] | None
    place: tuple[wire.Id16, wire.Offset] | None


class OrderedFields(CursorFields, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The array of a cursor that an order was applied to."""

    order: wire.Id16


_DECODER: Final = msgspec.msgpack.Decoder(CursorFields)
_ORDERED: Final = msgspec.msgpack.Decoder(OrderedFields)


def version_of(cursor: Cursor) -> int:
    """Return the version byte that a cursor is written under."""
    return VERSION if cursor.order is None else ORDERED


def versioned(data: bytes, *known: int) -> bytes:
    """Return what stands behind the version byte, which must be one of ``known`` (VERSION where none is named).

    Raises:
        Rejected: UNKNOWN_VERSION, or MALFORMED where there is nothing.
    """
    if not data:
        raise Rejected(Reason.MALFORMED, "an empty record")
    if data[0] not in (known or (VERSION,)):
        raise Rejected(Reason.UNKNOWN_VERSION, f"version {data[0]} of a local record")
    return data[1:]


def pack_cursor(cursor: Cursor) -> CursorFields:
    """Return a cursor as the array that is written."""
    source, gap, place = cursor.source, cursor.gap, cursor.place
    fields = (
        source.channel,
        source.site,
        source.topic,
        source.topic_id,
        source.partition,
        cursor.next,
        cursor.session_floor,
        cursor.sealed_at,
        cursor.state,
        cursor.reason,
        None if gap is None else (gap.first, gap.next),
        None if place is None else (place.topic_id, place.offset),
    )
    return CursorFields(*fields) if cursor.order is None else OrderedFields(*fields, cursor.order)


def unpack_cursor(fields: CursorFields) -> Cursor:
    """Return the cursor of an array."""
    return Cursor(
        SourcePartition(fields.channel, fields.site, fields.topic, fields.topic_id, fields.partition),
        fields.next,
        fields.session_floor,
        fields.sealed_at,
        fields.state,
        fields.reason,
        None if fields.gap is None else Span(*fields.gap),
        None if fields.place is None else CloudPlace(*fields.place),
        fields.order if isinstance(fields, OrderedFields) else None,
    )
