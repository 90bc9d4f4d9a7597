"""Record digests of stored batches: what a site has, in a form that another site can compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.agents.header import read_header
from sealwire.agents.records import OPENED_CAP, Malformed, each, opened, read_varint, varint, wrapped
from sealwire.keys.digests import record_digest

if TYPE_CHECKING:
    from collections.abc import Iterator


def digests(batch: memoryview, cap: int = OPENED_CAP) -> Iterator[tuple[int, bytes]]:
    """Give offset and digest of each record of one whole v2 batch, with the time that its readers see.

    Raises records.Malformed or codecs.TooLarge, whatever the bytes are.
    """
    header = read_header(batch)
    region = bytes(opened(batch, header, cap))
    base, start = header.base_offset, header.base_timestamp
    fixed = header.max_timestamp if header.log_append else None
    for timestamp_delta, offset_delta, body, stop in each(region, header.record_count):
        timestamp = wrapped(start + timestamp_delta) if fixed is None else fixed
        yield base + offset_delta, record_digest(timestamp, shortest(region[body:stop]))


def shortest(body: bytes) -> bytes:
    """Give a record's body with every length in its shortest form, -1 for null: what brokers make of it anew.

    Practically always it is the very one. A body that nobody can take apart stays as it is.
    """
    try:
        return body if _is_shortest(body) else _rewritten(body)
    except (IndexError, Malformed):
        return body


def _is_shortest(body: bytes) -> bool:
    position, left, names = 0, 2, False  # record key and value; then a name and a value for each header
    while left:
        byte = body[position]
        if byte > 0x7F:  # noqa: PLR2004 (a number of several bytes; the last is 0 where fewer would do)
            length, position = read_varint(body, position)
            if length < 0 or not body[position - 1]:
                return False
            position += length
        elif byte & 1:
            if byte != 1:
                return False
            position += 1
        else:
            position += 1 + (byte >> 1)
        left -= 1
        if not left and not names:
            begin = position
            count, position = read_varint(body, position)
            if count < 0 or (position - begin > 1 and not body[position - 1]):
                return False
            left, names = 2 * count, True
    return position == len(body)


def _rewritten(body: bytes) -> bytes:
    out: list[bytes] = []
    position = _field(body, 0, out)
    position = _field(body, position, out)
    count, position = read_varint(body, position)
    out.append(varint(count))
    for _ in range(count):
        position = _field(body, position, out)
        position = _field(body, position, out)
    if position != len(body) or count < 0:
        message = f"{len(body) - position} bytes are left over"
        raise Malformed(message)
    return b"".join(out)


def _field(body: bytes, position: int, out: list[bytes]) -> int:
    length, position = read_varint(body, position)
    if length < 0:
        out.append(varint(-1))
        return position
    stop = position + length
    if stop > len(body):
        message = f"a field of {length} bytes"
        raise Malformed(message)
    out.append(varint(length))
    out.append(body[position:stop])
    return stop
