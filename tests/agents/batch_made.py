"""Batches for tests, made by aiokafka's own builder: another hand than the code under test."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from crc32c import crc32c

from sealwire.agents import codecs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOW = 1_760_000_000_000


class Made(NamedTuple):
    """One record as an application made it."""

    timestamp: int
    record_key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def some(count: int, start: int = 0, size: int = 40) -> list[Made]:
    """Records that differ, with and without record keys and headers."""
    return [
        Made(NOW + i * 7, b"k%d" % i if i % 3 else None, b"v%d" % i * (size // 4), [("h", b"1"), ("h", None)][: i % 3])
        for i in range(start, start + count)
    ]


def build(
    made: Sequence[Made],
    base: int = 0,
    codec: int = 0,
    *,
    offsets: Sequence[int] | None = None,
    last_delta: int | None = None,
    attributes: int = 0,
    producer: int = -1,
    leader_epoch: int = 4,
    max_timestamp: int | None = None,
) -> bytes:
    """A stored v2 batch; ``offsets`` are deltas, ``attributes`` bits to set beside the codec."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, producer, 3 if producer >= 0 else -1, 0, 1 << 30)
    for delta, record in zip(offsets or range(len(made)), made, strict=True):
        builder.append(delta, *record[:3], record.headers)
    batch = bytearray(builder.build())
    struct.pack_into(">q", batch, 0, base)
    struct.pack_into(">i", batch, 12, leader_epoch)
    struct.pack_into(">h", batch, 21, struct.unpack_from(">h", batch, 21)[0] | attributes)
    if last_delta is not None:
        struct.pack_into(">i", batch, 23, last_delta)
    if max_timestamp is not None:
        struct.pack_into(">q", batch, 35, max_timestamp)
    return resum(batch)


def with_horizon(made: Sequence[Made], base: int, horizon: int) -> bytes:
    """A plain batch that a cleaner gave a delete horizon (KIP-534), and whose first record it removed.

    The horizon stands where the base timestamp was, and the deltas count from there.
    """
    whole = bytearray(build([Made(horizon, b"gone", None, []), *made], base))
    first = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, 1 << 20)
    first.append(0, horizon, b"gone", None, [])
    del whole[61 : len(first.build())]
    struct.pack_into(">i", whole, 8, len(whole) - 12)
    struct.pack_into(">h", whole, 21, 0x40)
    struct.pack_into(">i", whole, 57, len(made))
    return resum(whole)


def control(base: int, producer: int, *, commit: bool) -> bytes:
    """The marker with which a broker ends a transaction."""
    marker = struct.pack(">hh", 0, int(commit))
    return build([Made(NOW, marker, struct.pack(">hi", 0, 0), [])], base, attributes=0x30, producer=producer)


def bomb(codec: int, size: int) -> memoryview:
    """A batch of one record, so it says, that opens to ``size`` zeros."""
    header = build(some(1))[:61]
    body = codecs.compress(codec, bytes(size))
    batch = bytearray(header + body)
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, codec)
    return memoryview(resum(batch))


def resum(batch: bytearray) -> bytes:
    """The batch with its checksum as it should be."""
    struct.pack_into(">I", batch, 17, crc32c(bytes(batch[21:])))
    return bytes(batch)


def apart(data: memoryview | bytearray | bytes) -> list[memoryview]:
    """The batches that lie one after the other."""
    view, found = memoryview(data), []
    while view:
        size = struct.unpack_from(">i", view, 8)[0] + 12
        found.append(view[:size])
        view = view[size:]
    return found


def unbuild(batches: Iterable[memoryview | bytearray | bytes]) -> list[Made]:
    """Every record of the batches, as aiokafka reads them; checksums are checked."""
    found = []
    for batch in (each for part in batches for each in apart(part)):
        opened = DefaultRecordBatch(bytes(batch))
        assert opened.validate_crc()
        found += [Made(record.timestamp, record.key, record.value, record.headers) for record in opened]
    return found
