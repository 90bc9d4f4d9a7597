"""The 61 bytes before the records of a batch (message format v2, KIP-98): read, and written again in place."""

from __future__ import annotations

import struct
from typing import NamedTuple

from crc32c import crc32c

HEADER_SIZE = 61
LENGTH_END = 12  # the length counts from here on
CRC_FROM = 21  # the CRC-32C covers everything from the attributes on, not base offset, size, leader epoch

PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)

CODEC = 0x07
_LOG_APPEND = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
_HORIZON = 0x40
KNOWN_ATTRIBUTES = 0x7F

_LAYOUT = struct.Struct(">qiibIhiqqqhii")
_PLACE = struct.Struct(">qiib")  # base offset, length, leader epoch, magic
_STAMP = struct.Struct(">qhi")  # producer id, producer epoch, base sequence
_AT_PRODUCER = 43
_unpack, _new = _LAYOUT.unpack_from, tuple.__new__

NO_PRODUCER = (-1, -1, -1)


class BatchHeader(NamedTuple):
    """What one batch says about itself, field by field as it is stored, and at which byte it was found (``start``)."""

    base_offset: int
    length: int  # bytes, from the leader epoch on
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int
    start: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return self.length + LENGTH_END

    @property
    def end(self) -> int:
        """Where the next batch starts."""
        return self.start + self.length + LENGTH_END

    @property
    def last_offset(self) -> int:
        """The highest offset that belongs to this batch, whether or not a record is left there."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> int:
        """0 plain, 1 gzip, 2 snappy, 3 lz4, 4 zstd; others do not exist."""
        return self.attributes & CODEC

    @property
    def log_append(self) -> bool:
        """The broker's clock counts: every record has ``max_timestamp``, whatever it says itself."""
        return self.attributes & _LOG_APPEND != 0

    @property
    def transactional(self) -> bool:
        """It was written inside a transaction, which may have been aborted."""
        return self.attributes & TRANSACTIONAL != 0

    @property
    def control(self) -> bool:
        """It holds a marker of the broker, no records of an application."""
        return self.attributes & CONTROL != 0

    @property
    def has_horizon(self) -> bool:
        """A cleaner put the delete horizon where the base timestamp was; deltas count from there (KIP-534)."""
        return self.attributes & _HORIZON != 0

    @property
    def passes(self) -> bool:
        """A broker takes it as it is, once stamped: no offset gaps inside and the producer's own timestamps."""
        return self.record_count == self.last_offset_delta + 1 and not self.log_append

    def cut_from(self, data: memoryview) -> memoryview:
        """Give the whole batch, header and records, as a view of ``data``."""
        return data[self.start : self.start + self.length + LENGTH_END]


def read_header(data: memoryview | bytes | bytearray, start: int = 0) -> BatchHeader:
    """Read the header at ``start``; the caller has made sure that 61 bytes are there and that the magic is 2."""
    return _new(BatchHeader, (*_unpack(data, start), start))  # _make() without its length check


def checksum(data: memoryview, start: int, size: int) -> int:
    """Compute the CRC-32C of the batch of ``size`` bytes at ``start``, as its header should have it."""
    return int(crc32c(data[start + CRC_FROM : start + size]))


def write_header(batch: bytearray, header: BatchHeader) -> None:
    """Write ``header`` over the first 61 bytes of ``batch``, with size and CRC as its bytes now are."""
    _LAYOUT.pack_into(
        batch,
        0,
        header.base_offset,
        len(batch) - 12,
        header.leader_epoch,
        2,
        0,
        header.attributes,
        header.last_offset_delta,
        header.base_timestamp,
        header.max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.record_count,
    )
    with memoryview(batch) as view:
        struct.pack_into(">I", batch, 17, checksum(view, 0, len(batch)))


def rebase(batch: memoryview, header: BatchHeader) -> None:
    """Give a batch that was stamped to be produced its stored offset again; no checksum covers that."""
    struct.pack_into(">q", batch, 0, header.base_offset)


def restamp(
    batch: memoryview | bytearray,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    *,
    transactional: bool = False,
) -> None:
    """Make a stored batch one that can be produced, in place: only its envelope changes, no byte of a record.

    Base offset 0 and leader epoch -1 (the broker sets them), producer id, epoch and sequence, the transactional bit as
    asked. The delete-horizon bit is cleared, or tombstones would be removed early at the sink; the base timestamp stays
    as it is, because the deltas count from the horizon where that bit was set (KIP-534).
    """
    view = memoryview(batch)
    (length,) = struct.unpack_from(">i", view, 8)
    _PLACE.pack_into(view, 0, 0, length, -1, 2)
    (attributes,) = struct.unpack_from(">h", view, CRC_FROM)
    attributes &= ~(_HORIZON | TRANSACTIONAL)
    if transactional:
        attributes |= TRANSACTIONAL
    struct.pack_into(">h", view, CRC_FROM, attributes)
    _STAMP.pack_into(view, _AT_PRODUCER, producer_id, producer_epoch, base_sequence)
    struct.pack_into(">I", view, 17, checksum(view, 0, length + 12))
