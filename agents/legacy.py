"""Message formats v0 and v1, which no client writes any more but an old topic may still hold: read, never written."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents import codecs

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODEC = 0x07
_LOG_APPEND = 0x08


class OldRecord(NamedTuple):
    """One record of an old format: absolute offset, timestamp in ms (-1 in v0), record key and value."""

    offset: int
    timestamp: int
    record_key: bytes | None
    value: bytes | None


def read_entry(entry: bytes, cap: int) -> list[OldRecord]:
    """List the records of one entry of a v0 or v1 log, inner ones where it is compressed.

    Raises ValueError (struct.error included) for bytes that are not such an entry.
    """
    try:
        ((attributes, wrapper),) = _messages(entry)
        if not attributes & _CODEC:
            return [wrapper]
        inner = codecs.decompress(attributes & _CODEC, wrapper.value or b"", cap)
        found = [record for _, record in _messages(bytes(inner))]
    except struct.error as error:
        raise ValueError(str(error)) from error
    if not found:
        return []
    # v1: inner offsets are relative and the wrapper has the last one's; v0: they are absolute, so the shift is 0
    shift = wrapper.offset - found[-1].offset
    stamp = wrapper.timestamp if attributes & _LOG_APPEND else None
    return [
        record._replace(offset=record.offset + shift, timestamp=record.timestamp if stamp is None else stamp)
        for record in found
    ]


def _messages(data: bytes) -> Iterator[tuple[int, OldRecord]]:
    position = 0
    while position < len(data):
        offset, size, crc, magic, attributes = struct.unpack_from(">qiIbb", data, position)
        stop = position + 12 + size
        if stop > len(data) or size <= 0 or magic not in {0, 1} or zlib.crc32(data[position + 16 : stop]) != crc:
            message = f"an old message at byte {position}"
            raise ValueError(message)
        body = position + 18
        timestamp = -1
        if magic:
            (timestamp,) = struct.unpack_from(">q", data, body)
            body += 8
        record_key, body = _field(data, body, stop)
        value, body = _field(data, body, stop)
        yield attributes, OldRecord(offset, timestamp, record_key, value)
        position = stop


def _field(data: bytes, position: int, stop: int) -> tuple[bytes | None, int]:
    (length,) = struct.unpack_from(">i", data, position)
    position += 4
    if length < 0:
        return None, position
    if position + length > stop:
        message = f"a field of {length} bytes"
        raise ValueError(message)
    return data[position : position + length], position + length
