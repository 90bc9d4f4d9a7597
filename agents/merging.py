"""Batches that a sink takes, from stored ones: small neighbours become one, and what can pass whole passes whole.

A produce request holds one batch a partition, and clients without linger are the rule: so merging is no slow path.
What a broker would refuse goes the slow path first (slow_path.passable), and is merged then like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import codecs
from sealwire.agents.header import CODEC, HEADER_SIZE, LENGTH_END, NO_PRODUCER, PLAIN, BatchHeader, read_header
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

_SMALL = SMALL - LENGTH_END  # what the length of a batch says

_Run = tuple[bytes | bytearray, int, int, int, int]  # records in [begin, end) of it, their count, base timestamp
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
            if header.record_count != header.last_offset_delta + 1 or header.log_append:  # it does not pass
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
        self._runs: list[_Run] = []  # the records of each member
        self._size = HEADER_SIZE  # bytes that they take at most
        self._done = 0  # pieces that were given
        self._codec = PLAIN
        self._open = False  # it may still grow
        self._source: memoryview | None = None
        self._bytes = b""  # those of the source: single bytes are looked at faster there

    def begin(self, data: memoryview, header: BatchHeader, piece: Piece) -> None:
        """Take the first one."""
        self._members, self._runs, self._size = [(data, header, piece)], [], HEADER_SIZE
        self._codec = header.codec
        self._open = header.length < _SMALL

    def join(self, data: memoryview, header: BatchHeader, piece: Piece) -> bool:
        """Take one more, if it fits. Raises Malformed."""
        if not self._open or header.attributes & CODEC != self._codec or header.length >= _SMALL:
            return False
        if not self._runs:
            first, self._members = self._members, []  # what is malformed is never given
            self._open = self._take(*first[0][:2])
            self._members = first
        if not self._open or not self._take(data, header):
            return False
        self._members.append((data, header, piece))
        return True

    def _take(self, data: memoryview, header: BatchHeader) -> bool:
        """Note where the records of one are, unless they open to too much."""
        region: bytes | bytearray
        if self._codec != PLAIN:
            try:
                region = opened(header.cut_from(data), header, self._limit)
            except codecs.TooLarge:
                return False
            position, end = 0, len(region)
        else:
            if data is not self._source:
                self._source, self._bytes = data, bytes(data)
            region, position = self._bytes, header.start + HEADER_SIZE
            end = header.start + header.length + LENGTH_END
        count = header.record_count
        size = self._size + end - position + _GROWTH * count
        if size > self._limit:
            return False
        self._size = size
        self._runs.append((region, position, end, count, header.base_timestamp))
        return True

    def flush(self) -> Iterator[Ready]:
        """Give what there is. Raises Malformed at a member that is, when those before it were given."""
        members, self._members, self._open = self._members, [], False
        broken: Malformed | None = None
        if len(members) > 1:
            region, ends = bytearray(HEADER_SIZE), [HEADER_SIZE]
            try:
                _append(region, self._runs[: len(members)], ends)
            except Malformed as error:
                broken = error
            del region[ends[-1] :], members[len(ends) - 1 :]
        if len(members) > 1:
            batch = closed(region, self._header([header for _, header, _ in members]))
            if len(batch) <= self._room.most:
                self._done += len(members)
                yield Ready(batch, self._done, members[-1][2][1].last_offset + 1)
                members = []
        for data, header, (stored_in, stored) in members:
            following = stored.last_offset + 1
            if header.size <= self._room.most:
                yield Ready(header.cut_from(data), self._done + 1, following)
            else:
                for made, after in fitted(stored.cut_from(stored_in), self._room, self._cap):
                    yield Ready(made, self._done + (after == following), after)
            self._done += 1
        if broken is not None:
            raise broken

    def _header(self, headers: list[BatchHeader]) -> BatchHeader:
        count, newest = sum([each.record_count for each in headers]), max([each.max_timestamp for each in headers])
        base = headers[0].base_timestamp
        return BatchHeader(0, 0, -1, 2, 0, self._codec, count - 1, base, newest, *NO_PRODUCER, count)


def _append(out: bytearray, runs: list[_Run], ends: list[int]) -> None:
    """Append the records of all runs, numbered from 0 on and dated from the base timestamp of the first.

    After each run it is noted where it ends in ``out``. The hottest loop of a mirror that gets small batches:
    everything is inlined, and common numbers come from tables. Every index is checked against the end, by Python or by
    the comparison after each record. Raises Malformed.
    """
    varints, stamps, sizes, table = _VARINTS, _STAMPS, _VARINT_SIZES, _TABLE
    number, base = 0, runs[0][4]
    try:
        for region, begin, end, count, timestamp in runs:
            position, shift = begin, timestamp - base
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
            if position != end:
                message = f"{end - position} bytes after the last record"
                raise Malformed(message)
            number += count
            ends.append(len(out))
    except IndexError:
        message = "records end early"
        raise Malformed(message) from None


_VARINTS = [varint(number) for number in range(_TABLE)]
_VARINT_SIZES = [len(encoded) for encoded in _VARINTS]
_STAMPS = [b"\0" + encoded for encoded in _VARINTS]  # a record's attributes (always 0) and its timestamp delta
