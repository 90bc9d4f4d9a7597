"""What is written with a delivery: the delivery record, and how far a cloud partition was read.

A delivery record is written in the same transaction as the batches that it speaks of (where the sink has none: after
their acknowledgement), so the last one of a source partition is the truth about it. Both records begin with a version
byte and are read as strictly as a statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.order import Order, OrderFields, pack_order, unpack_order
from sealwire.keys.source import SourcePartition, Span, read_name, write_name
from sealwire.keys.standing import (
    ORDERED,
    VERSION,
    Cursor,
    CursorFields,
    OrderedFields,
    pack_cursor,
    unpack_cursor,
    version_of,
    versioned,
)

if TYPE_CHECKING:
    from sealwire.keys.primitives import Buffer


@dataclass(frozen=True, slots=True)
class Delivered:
    """What was delivered, from whom, and where it went.

    ``sink_first`` and ``sink_next`` are the sink offsets [first, next) of its batches (equal where there were none,
    since the source lost the span); ``sink_end`` is the end of the sink partition after it: a sink that ends before it
    later is another one, or was restored. ``sink_cluster`` is the cluster's id.
    """

    span: Span
    sender: bytes
    session_id: bytes
    body_digest: bytes
    sink_cluster: str
    sink_topic_id: bytes
    sink_partition: int
    sink_first: int
    sink_next: int
    sink_end: int


@dataclass(frozen=True, slots=True)
class SinkNow:
    """What a sink is now: its cluster's id ("" where that is not known), its topic's, and where its partition ends.

    ``end`` None: that was not asked for.
    """

    cluster: str
    topic_id: bytes
    end: int | None


def changed(last: Delivered, sink: SinkNow | None) -> str:
    """Say why a sink (None: a topic that is gone) is not the one of the last delivery, or is behind it; empty if it is.

    What follows must not be delivered there: what came before is not there, or not all of it.
    """
    if sink is None:
        return "the sink topic is gone"
    if sink.cluster and last.sink_cluster and sink.cluster != last.sink_cluster:
        return f"the sink is cluster {sink.cluster}, and the last delivery went to {last.sink_cluster}"
    if any(last.sink_topic_id) and sink.topic_id != last.sink_topic_id:
        return "the sink topic was made anew since the last delivery"
    if sink.end is not None and sink.end < last.sink_end:
        return f"the sink ends at {sink.end}, and the last delivery ended at {last.sink_end}"
    return ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery record: the cursor after it, and what was delivered last (None: nothing, or a person moved it since).

    In the ledger there are only those whose ``delivered`` moved the cursor, and those with an order; among the cursors
    it is kept while a source partition waits or is held.
    ``order`` is there where a person moved it.
    """

    cursor: Cursor
    delivered: Delivered | None = None
    order: Order | None = None

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        done = self.delivered
        packed = None
        if done is not None:
            packed = _Delivered(
                done.span.first,
                done.span.next,
                done.sender,
                done.session_id,
                done.body_digest,
                done.sink_cluster,
                done.sink_topic_id,
                done.sink_partition,
                done.sink_first,
                done.sink_next,
                done.sink_end,
            )
        cursor = pack_cursor(self.cursor)
        fields: _Delivery | _Ordered = (
            _Ordered(cursor, packed, None if self.order is None else pack_order(self.order))
            if isinstance(cursor, OrderedFields)
            else _Delivery(cursor, packed)
        )
        return bytes((version_of(self.cursor),)) + wire.pack(fields)

    @staticmethod
    def decode(data: bytes) -> Delivery:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        body = versioned(data, VERSION, ORDERED)
        fields = wire.unpack(body, _ORDERED) if data[0] == ORDERED else wire.unpack(body, _DELIVERY)
        order = fields.order if isinstance(fields, _Ordered) else None
        done = fields.delivered
        delivered = None
        if done is not None:
            delivered = Delivered(
                Span(done.first, done.next),
                done.sender,
                done.session_id,
                done.body_digest,
                done.sink_cluster,
                done.sink_topic_id,
                done.sink_partition,
                done.sink_first,
                done.sink_next,
                done.sink_end,
            )
        return Delivery(unpack_cursor(fields.cursor), delivered, None if order is None else unpack_order(order))


@dataclass(frozen=True, slots=True)
class Position:
    """A position record: the cloud partition of this topic id is read up to, and without, ``offset``."""

    topic_id: bytes
    offset: int

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        return bytes((VERSION,)) + wire.pack(_Position(self.topic_id, self.offset))

    @staticmethod
    def decode(data: bytes) -> Position:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        fields = wire.unpack(versioned(data), _POSITION)
        return Position(fields.topic_id, fields.offset)


def record_key(sink_topic: str, source: SourcePartition) -> bytes:
    """Return the record key of a delivery record: one per sink topic and source partition (its channel included)."""
    return write_name(sink_topic) + source.encode()


def read_record_key(data: Buffer) -> tuple[str, SourcePartition]:
    """Undo ``record_key``.

    Raises:
        Rejected: MALFORMED.
    """
    view = memoryview(data)
    sink_topic, position = read_name(view, 0)
    return sink_topic, SourcePartition.decode(bytes(view[position:]))


class _Delivered(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    first: wire.Offset
    next: wire.Offset
    sender: wire.Id
    session_id: wire.Id
    body_digest: wire.Id
    sink_cluster: str
    sink_topic_id: wire.Id16
    sink_partition: wire.U32
    sink_first: wire.Offset
    sink_next: wire.Offset
    sink_end: wire.Offset


class _Delivery(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    cursor: CursorFields
    delivered: _Delivered | None


class _Ordered(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    cursor: OrderedFields
    delivered: _Delivered | None
    order: OrderFields | None


class _Position(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    topic_id: wire.Id16
    offset: wire.Offset


_DELIVERY: Final = msgspec.msgpack.Decoder(_Delivery)
_ORDERED: Final = msgspec.msgpack.Decoder(_Ordered)
_POSITION: Final = msgspec.msgpack.Decoder(_Position)
