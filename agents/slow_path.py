"""The slow path: a batch that cannot pass whole is taken apart and made anew, record by record.

It is for what starts before the wanted offset, has offset gaps inside (a cleaner's work) or the broker's timestamps,
both of which brokers refuse, or is larger than a topic takes. All that a reader of the source sees of a record stays:
offset, timestamp, and its body (record key, value, headers) byte for byte. So decode() and encode() again is the
identity on records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents.header import HEADER_SIZE, NO_PRODUCER, BatchHeader, read_header
from sealwire.agents.records import OPENED_CAP, closed, each, opened, varint, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sealwire.agents.room import Room


class Loose(NamedTuple):
    """One record out of its batch: absolute offset, timestamp in ms, and record key, value and headers as stored."""

    offset: int
    timestamp: int
    body: bytes | bytearray


class RecordTooLarge(ValueError):
    """A single record is larger than a topic takes: a batch of it alone has ``size`` bytes, ``most`` are allowed."""

    def __init__(self, offset: int, size: int, most: int) -> None:
        super().__init__(f"the record at source offset {offset} makes a batch of {size} bytes, and {most} are allowed")
        self.offset, self.size, self.most = offset, size, most


def decode(batch: memoryview | bytearray, cap: int = OPENED_CAP) -> list[Loose]:
    """List the records of one whole v2 batch, with the times that its readers see (KIP-32: maybe the broker's).

    Raises Malformed, or codecs.TooLarge when it opens to more than ``cap`` bytes.
    """
    header = read_header(batch)
    region = opened(memoryview(batch), header, cap)
    base, start, fixed = header.base_offset, header.base_timestamp, header.log_append
    return [
        Loose(
            base + bare.offset_delta,
            header.max_timestamp if fixed else wrapped(start + bare.timestamp_delta),
            region[bare.body : bare.stop],
        )
        for bare in each(region, header.record_count)
    ]


def encode(found: Sequence[Loose], codec: int, leader_epoch: int = -1, end: int = -1) -> bytearray:
    """Make one batch of records, at least one, in the order of their offsets; it ends before the offset ``end``.

    Without ``end`` it ends at its last record. Its timestamps are its own, and no delete horizon is left (KIP-534).
    """
    base, start = found[0].offset, found[0].timestamp
    batch = bytearray(HEADER_SIZE)
    for offset, timestamp, body in found:
        before = b"\0" + varint(wrapped(timestamp - start)) + varint(offset - base)
        batch += varint(len(before) + len(body))
        batch += before
        batch += body
    newest, delta = max(record.timestamp for record in found), max(end - 1, found[-1].offset) - base
    header = BatchHeader(base, 0, leader_epoch, 2, 0, codec, delta, start, newest, *NO_PRODUCER, len(found))
    return closed(batch, header)


def trim(batch: memoryview, wanted: int, cap: int = OPENED_CAP) -> bytearray | None:
    """Leave out the records before offset ``wanted``; None when none is left. Its end and its codec stay."""
    header = read_header(batch)
    kept = [record for record in decode(batch, cap) if record.offset >= wanted]
    return encode(kept, header.codec, header.leader_epoch, header.last_offset + 1) if kept else None


def passable(batch: memoryview | bytearray, cap: int = OPENED_CAP) -> bytearray:
    """Make a batch without offset gaps and with timestamps of its own: what a broker takes from a producer."""
    header = read_header(batch)
    found = decode(batch, cap)
    base = header.base_offset
    return encode([record._replace(offset=base + at) for at, record in enumerate(found)], header.codec)


def divide(batch: memoryview | bytearray, count: int, cap: int = OPENED_CAP) -> list[bytearray]:
    """Cut a batch between its records into about ``count`` batches of about one size, two at least.

    A batch of one record, which nothing divides, is returned alone.
    """
    header = read_header(batch)
    found = decode(batch, cap)
    share = sum(len(record.body) for record in found) // max(count, 2) + 1
    runs: list[list[Loose]] = [[]]
    size = 0
    for record in found:
        if runs[-1] and (size + len(record.body) > share or (len(runs) == 1 and record is found[-1])):
            runs.append([])
            size = 0
        runs[-1].append(record)
        size += len(record.body)
    ends = [run[0].offset for run in runs[1:]] + [header.last_offset + 1]
    return [encode(run, header.codec, header.leader_epoch, end) for run, end in zip(runs, ends, strict=True)]


def fitted(
    batch: memoryview | bytearray, room: Room, cap: int = OPENED_CAP
) -> Iterator[tuple[memoryview | bytearray, int]]:
    """Give a stored batch as batches that a broker takes and a topic has room for, each with the offset after it.

    It is the very one where it passes, else cut between its records. Raises RecordTooLarge when it comes to a single
    record that does not fit; what is before it was given.
    """
    header = read_header(batch)
    made = batch if header.passes else passable(batch, cap)
    size = len(made)
    if size <= room.most or (header.record_count == 1 and size <= room.alone):
        yield made, header.last_offset + 1
    elif header.record_count == 1:
        raise RecordTooLarge(decode(batch, cap)[0].offset, size, room.alone)
    else:
        for piece in divide(batch, -(-size // room.most), cap):
            yield from fitted(piece, room, cap)
