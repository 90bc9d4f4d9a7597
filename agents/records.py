"""Inside batches: trimmed, made acceptable to a broker, merged; and read, where single records matter.

A record's body (record key, value, headers, as bytes) is never taken apart to be written again: only the three numbers
before it are (length, timestamp delta, offset delta). So what is delivered is what was stored, odd headers included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import codecs, legacy
from sealwire.agents.header import HEADER_SIZE, PLAIN, BatchHeader, read_header, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPENED_CAP = 64 * 1024 * 1024  # bytes that one batch may open to
SMALL = 64 * 1024  # bytes: batches below are merged
MERGED = 1_000_000  # bytes, uncompressed: no merged batch gets larger

_TABLE = 1 << 14


class Malformed(ValueError):
    """The records of a batch are not what its header says."""


class Record(NamedTuple):
    """One record as views of its batch: absolute offset, timestamp in ms since 1970 UTC."""

    offset: int
    timestamp: int
    record_key: memoryview | None
    value: memoryview | None
    header_count: int


def varint(number: int) -> bytes:
    """Kafka's variable-length integer: zigzag, seven bits a byte, the lowest first (as in Protocol Buffers)."""
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 0x7F:  # noqa: PLR2004
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


_VARINTS = [varint(number) for number in range(_TABLE)]
_VARINT_SIZES = [len(encoded) for encoded in _VARINTS]
_STAMPS = [b"\0" + encoded for encoded in _VARINTS]  # a record's attributes (always 0) and its timestamp delta


def _read_varint(data: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    zigzag = shift = 0
    while True:
        byte = data[position]
        position += 1
        zigzag |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return (zigzag >> 1) ^ -(zigzag & 1), position
        shift += 7
        if shift > 63:  # noqa: PLR2004
            message = "a number of more than 64 bits"
            raise Malformed(message)


def opened(batch: memoryview, header: BatchHeader, cap: int = OPENED_CAP) -> bytes | bytearray:
    """Open the records of a batch. Raises codecs.TooLarge or Malformed."""
    try:
        return codecs.decompress(header.codec, batch[HEADER_SIZE : header.size], cap)
    except codecs.Unreadable as error:
        raise Malformed(str(error)) from error


class _Bare(NamedTuple):
    """Where one record lies in the opened bytes: ``body`` is what follows the offset delta."""

    timestamp_delta: int
    offset_delta: int
    body: int
    stop: int


def _each(region: bytes | bytearray | memoryview, count: int) -> Iterator[_Bare]:
    position, end = 0, len(region)
    try:
        for _ in range(count):
            length, start = _read_varint(region, position)
            position = start + length
            timestamp_delta, body = _read_varint(region, start + 1)
            offset_delta, body = _read_varint(region, body)
            if not start < body <= position <= end:
                message = f"a record of {length} bytes"
                raise Malformed(message)
            yield _Bare(timestamp_delta, offset_delta, body, position)
    except IndexError:
        message = "records end early"
        raise Malformed(message) from None
    if position != end:
        message = f"{end - position} bytes after the last record"
        raise Malformed(message)


def read(batch: memoryview, cap: int = OPENED_CAP) -> list[Record]:
    """List the records of one whole v2 batch. Raises Malformed or codecs.TooLarge, whatever the bytes are."""
    header = read_header(batch)
    region = batch[HEADER_SIZE : header.size] if header.codec == PLAIN else memoryview(opened(batch, header, cap))
    found: list[Record] = []
    for bare in _each(region, header.record_count):
        try:
            record_key, position = _field(region, bare.body, bare.stop)
            value, position = _field(region, position, bare.stop)
            header_count, position = _read_varint(region, position)
        except IndexError:
            message = "a record ends early"
            raise Malformed(message) from None
        if position > bare.stop:
            message = "a record ends early"
            raise Malformed(message)
        timestamp = header.max_timestamp if header.log_append else header.base_timestamp + bare.timestamp_delta
        found.append(Record(header.base_offset + bare.offset_delta, timestamp, record_key, value, header_count))
    return found


def _field(region: memoryview, position: int, stop: int) -> tuple[memoryview | None, int]:
    length, position = _read_varint(region, position)
    if length < 0:
        return None, position
    if position + length > stop:
        message = f"a field of {length} bytes"
        raise Malformed(message)
    return region[position : position + length], position + length


def trim(batch: memoryview, wanted: int, cap: int = OPENED_CAP) -> bytearray | None:
    """Leave out the records before offset ``wanted``; None when none is left.

    Offsets, timestamps and compression stay; it begins at its first record and still ends at the same last offset.
    """
    header = read_header(batch)
    region = opened(batch, header, cap)
    kept = [bare for bare in _each(region, header.record_count) if header.base_offset + bare.offset_delta >= wanted]
    if not kept:
        return None
    dropped = kept[0].offset_delta
    out = bytearray()
    for bare in kept:
        _write(out, bare.timestamp_delta, bare.offset_delta - dropped, region[bare.body : bare.stop])
    return _closed(
        out,
        header._replace(
            base_offset=header.base_offset + dropped,
            last_offset_delta=header.last_offset_delta - dropped,
            record_count=len(kept),
        ),
    )


def _write(out: bytearray, timestamp_delta: int, offset_delta: int, body: bytes | bytearray) -> None:
    before = b"\0" + varint(timestamp_delta) + varint(offset_delta)
    out += varint(len(before) + len(body))
    out += before
    out += body


def _closed(region: bytearray, header: BatchHeader) -> bytearray:
    batch = bytearray(HEADER_SIZE)
    batch += region if header.codec == PLAIN else codecs.compress(header.codec, region)
    write_header(batch, header)
    return batch


def upgrade(entry: memoryview, cap: int = OPENED_CAP) -> bytearray:
    """Make an entry of the old formats v0 or v1 one plain v2 batch, offsets and timestamps kept. Raises ValueError."""
    found = legacy.read_entry(bytes(entry), cap)
    if not found:
        message = "an old entry without records"
        raise Malformed(message)
    base, stamp = found[0].offset, found[0].timestamp
    out = bytearray()
    for record in found:
        body = b"".join(
            b"\x01" if data is None else varint(len(data)) + data for data in (record.record_key, record.value)
        )
        _write(out, record.timestamp - stamp, record.offset - base, body + b"\0")
    newest = max(record.timestamp for record in found)
    delta = found[-1].offset - base
    return _closed(out, BatchHeader(0, 0, base, -1, 2, 0, 0, delta, stamp, newest, -1, -1, -1, len(found)))


def merge(batches: Sequence[memoryview], limit: int = MERGED, cap: int = OPENED_CAP) -> list[memoryview | bytearray]:
    """Batches that a broker takes, in order, from stored ones that walk() accepted: small neighbours become one.

    Those of SMALL bytes and more go as they are, unless they have offset gaps inside or log-append timestamps, which
    brokers refuse: these are rewritten, with the times that readers of the source saw. Merged are only neighbours of
    one codec, up to ``limit`` bytes uncompressed. Still to be stamped (batches.restamp).
    """
    out: list[memoryview | bytearray] = []
    group: list[tuple[memoryview, BatchHeader]] = []
    size = codec = 0
    for batch in batches:
        header = read_header(batch)
        large = header.size >= SMALL and header.passes
        if group and (large or header.codec != codec or size + header.size > limit):
            out += _one_of(group, limit, cap)
            group, size = [], 0
        if large:
            out.append(batch)
            continue
        group.append((batch, header))
        size += header.size
        codec = header.codec
    if group:
        out += _one_of(group, limit, cap)
    return out


def _one_of(group: list[tuple[memoryview, BatchHeader]], limit: int, cap: int) -> list[memoryview | bytearray]:
    """Neighbours of one codec as one batch, or as several where they open to more than ``limit`` bytes."""
    first = group[0][1]
    if len(group) == 1 and first.passes:
        return [group[0][0]]
    done: list[memoryview | bytearray] = []
    region = bytearray()
    count, base, newest = 0, 0, 0
    for batch, header in group:
        stamp = header.max_timestamp if header.log_append else header.base_timestamp
        piece = bytes(batch[HEADER_SIZE : header.size] if first.codec == PLAIN else opened(batch, header, cap))
        if count and len(region) + len(piece) > limit:
            done.append(_closed(region, _contiguous(first, count, base, newest)))
            region, count = bytearray(), 0
        if not count:
            base, newest = stamp, header.max_timestamp
        elif header.max_timestamp > newest:
            newest = header.max_timestamp
        _splice(region, piece, header, count, stamp - base)
        count += header.record_count
    done.append(_closed(region, _contiguous(first, count, base, newest)))
    return done


def _contiguous(like: BatchHeader, count: int, base: int, newest: int) -> BatchHeader:
    return like._replace(
        attributes=like.codec,
        last_offset_delta=count - 1,
        base_timestamp=base,
        max_timestamp=newest,
        record_count=count,
    )


def _splice(out: bytearray, region: bytes, header: BatchHeader, number: int, shift: int) -> None:
    """Append all records of ``region``, numbered on from ``number``, their timestamp deltas moved by ``shift``.

    The hottest loop of a mirror that gets small batches: everything is inlined, and common numbers come from tables.
    Every index is checked against the end, by Python or by the comparison after each record.
    """
    varints, stamps, sizes, table = _VARINTS, _STAMPS, _VARINT_SIZES, _TABLE
    fixed = header.log_append
    position, end = 0, len(region)
    try:
        for offset in range(number, number + header.record_count):
            byte = region[position]
            start = position + 1
            if byte < 0x80:  # noqa: PLR2004
                length = byte
            else:
                length = byte & 0x7F | region[start] << 7
                start += 1
                if length > 0x3FFF:  # noqa: PLR2004
                    length, start = _read_varint(region, position)
                    length <<= 1
            position = start + (length >> 1)
            body = start + 2
            delta = region[start + 1]
            if delta > 0x7F:  # noqa: PLR2004
                delta, body = _read_varint(region, start + 1)
            else:
                delta = (delta >> 1) ^ -(delta & 1)
            while region[body] > 0x7F:  # noqa: PLR2004
                body += 1
            body += 1
            if length & 1 or not start < body <= position <= end:
                message = f"a record that ends at byte {position} of {end}"
                raise Malformed(message)
            delta = shift if fixed else delta + shift
            stamp = stamps[delta] if 0 <= delta < table else b"\0" + varint(delta)
            count = varints[offset] if offset < table else varint(offset)
            length = position - body + len(stamp) + (sizes[offset] if offset < table else len(count))
            out += varints[length] if length < table else varint(length)
            out += stamp
            out += count
            out += region[body:position]
    except IndexError:
        message = "records end early"
        raise Malformed(message) from None
    if position != end:
        message = f"{end - position} bytes after the last record"
        raise Malformed(message)
