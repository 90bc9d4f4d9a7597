"""Records inside a batch, read where single ones matter; and the numbers that stand before each.

What follows the three numbers of a record (its body: record key, value, headers) is never taken apart to be written
again, here or on the slow path or when merging. So what is delivered is what was stored, odd headers included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import codecs
from sealwire.agents.header import HEADER_SIZE, PLAIN, BatchHeader, read_header, write_header

if TYPE_CHECKING:
    from collections.abc import Iterator

OPENED_CAP = 64 * 1024 * 1024  # bytes that one batch may open to

_SIGN, _WORD = 1 << 63, (1 << 64) - 1


class Malformed(ValueError):
    """The records of a batch are not what its header says."""


class Record(NamedTuple):
    """One record as views of its batch: absolute offset, timestamp in ms since 1970 UTC."""

    offset: int
    timestamp: int
    record_key: memoryview | None
    value: memoryview | None
    header_count: int


class Bare(NamedTuple):
    """Where one record lies in the opened bytes: ``body`` is what follows the offset delta."""

    timestamp_delta: int
    offset_delta: int
    body: int
    stop: int


def wrapped(number: int) -> int:
    """Return a sum of timestamps as 64 bits hold it, which is how every client of Kafka's reckons."""
    return (number + _SIGN & _WORD) - _SIGN


def varint(number: int) -> bytes:
    """Kafka's variable-length integer: zigzag, seven bits a byte, the lowest first (as in Protocol Buffers)."""
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 0x7F:  # noqa: PLR2004
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def read_varint(data: bytes | bytearray | memoryview, position: int) -> tuple[int, int]:
    """Return the number at ``position`` and where the next byte is. Raises Malformed, or IndexError at the end."""
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


def closed(batch: bytearray, header: BatchHeader) -> bytearray:
    """Make a whole batch of 61 bytes of room and opened records, with the codec and all else that ``header`` says.

    Without compression it is the very one.
    """
    if header.codec != PLAIN:
        with memoryview(batch) as view:
            squeezed = codecs.compress(header.codec, view[HEADER_SIZE:])
        batch = bytearray(HEADER_SIZE)
        batch += squeezed
    write_header(batch, header)
    return batch


def each(region: bytes | bytearray | memoryview, count: int) -> Iterator[Bare]:
    """Go through ``count`` opened records. Raises Malformed unless they are exactly the region."""
    position, end = 0, len(region)
    try:
        for _ in range(count):
            length, start = read_varint(region, position)
            position = start + length
            timestamp_delta, body = read_varint(region, start + 1)
            offset_delta, body = read_varint(region, body)
            if not start < body <= position <= end:
                message = f"a record of {length} bytes"
                raise Malformed(message)
            yield Bare(timestamp_delta, offset_delta, body, position)
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
    for bare in each(region, header.record_count):
        try:
            record_key, position = _field(region, bare.body, bare.stop)
            value, position = _field(region, position, bare.stop)
            header_count, position = read_varint(region, position)
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
    length, position = read_varint(region, position)
    if length < 0:
        return None, position
    if position + length > stop:
        message = f"a field of {length} bytes"
        raise Malformed(message)
    return region[position : position + length], position + length
