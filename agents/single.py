"""Batches of a single record without headers: envelopes, statements, cursors."""

from __future__ import annotations

import struct

from sealwire.agents.header import HEADER_SIZE, NO_PRODUCER, BatchHeader, restamp, write_header
from sealwire.agents.records import varint


def record_frame(value_size: int, timestamp: int, record_key: bytes | None = None) -> tuple[bytes, bytes]:
    """Make what stands before and after a value of ``value_size`` bytes (-1: null) in a batch of this one record.

    It has no headers. ``timestamp``: ms since 1970 UTC. head + value + tail is a batch for produce(), which writes the
    checksum.
    """
    named = b"\x01" if record_key is None else varint(len(record_key)) + record_key
    before = b"\0\0\0" + named + varint(value_size)  # attributes, timestamp delta 0, offset delta 0
    tail = b"\0"  # no headers
    content = max(value_size, 0)
    record = varint(len(before) + content + len(tail)) + before
    head = bytearray(HEADER_SIZE)
    header = BatchHeader(0, 0, -1, 2, 0, 0, 0, timestamp, timestamp, *NO_PRODUCER, 1)
    write_header(head, header)
    struct.pack_into(">i", head, 8, HEADER_SIZE + len(record) + content + len(tail) - 12)
    return bytes(head) + record, tail


def seal_frame(batch: bytearray | memoryview) -> None:
    """Write the checksum of a batch assembled around a value; produce() does this by itself."""
    restamp(batch)


def record_batch(value: bytes | None, timestamp: int, record_key: bytes | None = None) -> bytearray:
    """Make a batch of one record without headers, ready for produce()."""
    head, tail = record_frame(-1 if value is None else len(value), timestamp, record_key)
    return bytearray(b"".join((head, value or b"", tail)))
