"""Batches that a sink takes, from stored ones: small neighbours become one, and what can pass whole passes whole.

A produce request holds one batch a partition, and clients without linger are the rule: so merging is no slow path.
What a broker would refuse goes the slow path first (slow_path.passable), and is merged then like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import codecs
from sealwire.agents.header import HEADER_SIZE, NO_PRODUCER, PLAIN, BatchHeader, read_header
from sealwire.agents.records import OPENED_CAP, Malformed, closed, opened, read_varint, varint, wrapped
from sealwire.agents.room import Room
from sealwire.agents.slow_path import fitted, passable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SMALL = 64 * 1024  # bytes: batches below are merged
MERGED = 1_000_000  # bytes, uncompressed: no merged batch gets larger

_TABLE = 1 << 14
_GROWTH = 12  # bytes that a record may gain where it is numbered and dated anew

WIDE = Room(1 << 31, 1 << 31)  # any batch at all

Piece = tuple[memoryview, BatchHeader]  # a stored batch by its header, and what it lies in


class Ready(NamedTuple):
    """A batch to be stamped and produced.

    With it the first ``taken`` pieces are given whole, and everything before the source offset ``next``.
    """

    batch: memoryview | bytearray
    taken: int
    next: int


def merge(pieces: Iterable[Piece], room: Room = WIDE, cap: int = OPENED_CAP) -> Iterator[Ready]:
    """Give the batches that a topic has room for, from pieces that walk() accepted.

    Those of SMALL bytes and more go as they are, and so do those that open to too much. Merged are only neighbours of
    one codec, up to MERGED bytes uncompressed. Offset gaps inside and log-append timestamps, which brokers refuse, are
    taken out. Raises Malformed, codecs.TooLarge or RecordTooLarge at a piece that cannot be given, when those before
    it were.
    """
    group = _Group(room, cap)
    for piece in pieces:
        data, header = piece
        try:
            if not header.passes:
                data = memoryview(passable(header.cut_from(data), cap))
                header = read_header(data)
            if group.join(data, header, piece):
                continue
        except ValueError:
            yield from group.flush()
            raise
        yield from group.flush()
        group.begin(data, header, piece)
    yield from group.flush()


class _Group:
    """Neighbours that become one batch. The first is not opened before there is a second."""

    def __init__(self, room: Room, cap: int) -> None:
        self._room, self._cap = room, cap
        self._limit = min(MERGED, room.most)
        self._members: list[tuple[memoryview, BatchHeader, Piece]] = []
        self._done = 0  # pieces that were given
        self._region = bytearray(HEADER_SIZE)
        self._count = self._base = self._newest = self._codec = 0
        self._open = False  # it may still grow
        self._source: memoryview | None = None
        self._bytes = b""  # those of the source: single bytes are looked at faster there

    def begin(self, data: memoryview, header: BatchHeader, piece: Piece) -> None:
        """Take the first one."""
        self._members = [(data, header, piece)]
        self._region = bytearray(HEADER_SIZE)
        self._count, self._codec = 0, header.codec
        self._open = header.size < SMALL

    def join(self, data: memoryview, header: BatchHeader, piece: Piece) -> bool:
        """Take one more, if it fits. Raises Malformed."""
        if not self._open or header.codec != self._codec or header.size >= SMALL:
            return False
        if not self._count:
            first, self._members = self._members, []  # what is malformed is never given
            self._open = self._splice(*first[0][:2])
            self._members = first
        if not self._open or not self._splice(data, header):
            return False
        self._members.append((data, header, piece))
        return True

    def _splice(self, data: memoryview, header: BatchHeader) -> bool:
        """Add the records of one, unless they open to too much."""
        if header.codec != PLAIN:
            try:
                region: bytes | bytearray = opened(header.cut_from(data), header, self._limit)
            except codecs.TooLarge:
                return False
            position, end = 0, len(region)
        else:
            if data is not self._source:
                self._source, self._bytes = data, bytes(data)
            region, position, end = self._bytes, header.start + HEADER_SIZE, header.end
        before, count = len(self._region), header.record_count
        if before + end - position + _GROWTH * count > self._limit:
            return False
        if not self._count:
            self._base, self._newest = header.base_timestamp, header.max_timestamp
        elif header.max_timestamp > self._newest:
            self._newest = header.max_timestamp
        try:
            _append(self._region, region, position, end, self._count, count, header.base_timestamp - self._base)
        except Malformed:
            del self._region[before:]
            raise
        self._count += count
        return True

    def flush(self) -> Iterator[Ready]:
        """Give what there is."""
        members, self._members, self._open = self._members, [], False
        if len(members) > 1:
            like = BatchHeader(
                0, 0, -1, 2, 0, self._codec, self._count - 1, self._base, self._newest, *NO_PRODUCER, self._count
            )
            batch = closed(self._region, like)
            if len(batch) <= self._room.most:
                self._done += len(members)
                yield Ready(batch, self._done, members[-1][2][1].last_offset + 1)
                return
        for data, header, (stored_in, stored) in members:
            following = stored.last_offset + 1
            if header.size <= self._room.most:
                yield Ready(header.cut_from(data), self._done + 1, following)
            else:
                for made, after in fitted(stored.cut_from(stored_in), self._room, self._cap):
                    yield Ready(made, self._done + (after == following), after)
            self._done += 1


def _append(
    out: bytearray, region: bytes | bytearray, position: int, end: int, number: int, count: int, shift: int
) -> None:
    """Append ``count`` records, which are the region up to ``end``, numbered on from ``number``.

    Their timestamp deltas are moved by ``shift``. The hottest loop of a mirror that gets small batches: everything is
    inlined, and common numbers come from tables. Every index is checked against the end, by Python or by the comparison
    after each record. Raises Malformed.
    """
    varints, stamps, sizes, table = _VARINTS, _STAMPS, _VARINT_SIZES, _TABLE
    try:
        for offset in range(number, number + count):
            byte = region[position]
            start = position + 1
            if byte < 0x80:  # noqa: PLR2004
                length = byte
            else:
                length = byte & 0x7F | region[start] << 7
                start += 1
                if length > 0x3FFF:  # noqa: PLR2004
                    length, start = read_varint(region, position)
                    length <<= 1
            position = start + (length >> 1)
            body = start + 2
            delta = region[start + 1]
            if delta > 0x7F:  # noqa: PLR2004
                delta, body = read_varint(region, start + 1)
            else:
                delta = (delta >> 1) ^ -(delta & 1)
            while region[body] > 0x7F:  # noqa: PLR2004
                body += 1
            body += 1
            if length & 1 or not start < body <= position <= end:
                message = f"a record that ends {position - end} bytes after its batch"
                raise Malformed(message)
            delta += shift
            stamp = stamps[delta] if 0 <= delta < table else b"\0" + varint(wrapped(delta))
            where = varints[offset] if offset < table else varint(offset)
            length = position - body + len(stamp) + (sizes[offset] if offset < table else len(where))
            out += varints[length] if length < table else varint(length)
            out += stamp
            out += where
            out += region[body:position]
    except IndexError:
        message = "records end early"
        raise Malformed(message) from None
    if position != end:
        message = f"{end - position} bytes after the last record"
        raise Malformed(message)


_VARINTS = [varint(number) for number in range(_TABLE)]
_VARINT_SIZES = [len(encoded) for encoded in _VARINTS]
_STAMPS = [b"\0" + encoded for encoded in _VARINTS]  # a record's attributes (always 0) and its timestamp delta
