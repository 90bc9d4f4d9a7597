"""The inner header: what an envelope says of its batches, and only its readers can read (FORMAT.md, "Inner header")."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sealwire.keys import wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import PARTITION_CAP, TOPIC_ID_SIZE, SourcePartition, Span, good_topic, read_name, write_name

LOG_START: Final = 1
"""Flag: the source partition begins here; it counts only where there is no cursor yet."""
RESEAL: Final = 2
"""Flag: sealed again because a mirror asked; such an envelope never lifts the session floor."""
BATCH_LEAST: Final = 61
"""The bytes of a record batch's header (message format v2): no batch is smaller."""

_FLAGS: Final = LOG_START | RESEAL
_FRONT: Final = struct.Struct(">BBBB")
_BACK: Final = struct.Struct(">16sIqqqiqIIIIBH")


class Kind(IntEnum):
    """What an envelope tells of its span."""

    RECORDS = 1
    LOST = 2


class Layout(IntEnum):
    """How source records stand in cloud records. RECORD is reserved: its number is registered, nothing opens it."""

    BATCH = 1
    RECORD = 2


class Compression(IntEnum):
    """How the sealer compressed the batches (beside what their producer did)."""

    NONE = 0
    ZSTD = 1


class Cause(IntEnum):
    """Why the source lost a span."""

    NONE = 0
    DELETED = 1  # the source no longer has it: retention, DeleteRecords
    TRUNCATED = 2  # the source's end went back
    UNREADABLE = 3  # the source gives bytes that are no batches


@dataclass(frozen=True, slots=True)
class Inner:
    """What an envelope says of its batches.

    Offsets are source offsets; ``last_stable`` is the source's last stable offset when they were read; ``sealed_at``
    is ms since 1970 UTC; sizes are bytes; ``flags`` is a sum of LOG_START and RESEAL.
    """

    kind: Kind
    layout: Layout
    compression: Compression
    flags: int
    site: str
    topic: str
    topic_id: bytes
    partition: int
    first: int
    next: int
    last_stable: int
    leader_epoch: int
    sealed_at: int
    record_count: int
    batch_count: int
    uncompressed_size: int
    padding_size: int = 0
    cause: Cause = Cause.NONE

    @property
    def span(self) -> Span:
        """The source offsets that it covers."""
        return Span(self.first, self.next)

    @property
    def log_start(self) -> bool:
        """Whether the source partition begins here."""
        return bool(self.flags & LOG_START)

    @property
    def reseal(self) -> bool:
        """Whether it was sealed again because a mirror asked."""
        return bool(self.flags & RESEAL)

    def source(self, channel: str) -> SourcePartition:
        """Return the source partition that it speaks of on ``channel``."""
        return SourcePartition(channel, self.site, self.topic, self.topic_id, self.partition)

    @property
    def size(self) -> int:
        """How many bytes ``encode`` gives."""
        return _FRONT.size + 4 + len(self.site.encode()) + len(self.topic.encode()) + _BACK.size

    def encode(self) -> bytes:
        """Write it as it stands before the batches.

        Raises:
            Misuse: a number or a name that the layout cannot hold.
        """
        try:
            front = _FRONT.pack(self.kind, self.layout, self.compression, self.flags)
            back = _BACK.pack(
                self.topic_id,
                self.partition,
                self.first,
                self.next,
                self.last_stable,
                self.leader_epoch,
                self.sealed_at,
                self.record_count,
                self.batch_count,
                self.uncompressed_size,
                self.padding_size,
                self.cause,
                0,
            )
        except struct.error as error:
            raise Misuse(str(error)) from None
        return b"".join((front, write_name(self.site), write_name(self.topic), back))

    def fault(self) -> tuple[Reason, str] | None:
        """Return what its fields say that cannot be, or nothing.

        Both sides ask the same question: the sealer before it writes, the opener before it allocates anything.
        """
        return self._fault_of_fields() or self._fault_of_counts()

    def _fault_of_fields(self) -> tuple[Reason, str] | None:
        if len(self.topic_id) != TOPIC_ID_SIZE or self.partition > PARTITION_CAP:
            return Reason.MALFORMED, f"topic id of {len(self.topic_id)} bytes, partition {self.partition}"
        if not wire.good_name(self.site) or not good_topic(self.topic):
            return Reason.MALFORMED, "a site or topic name that cannot be"
        if self.sealed_at < 0 or self.leader_epoch < -1:
            return Reason.MALFORMED, f"sealed at {self.sealed_at}, leader epoch {self.leader_epoch}"
        if (self.kind is Kind.LOST) is (self.cause is Cause.NONE):
            return Reason.MALFORMED, "a cause belongs to a lost span, and only there"
        if self.compression is Compression.ZSTD and not self.uncompressed_size:
            return Reason.MALFORMED, "nothing, compressed"
        return None

    def _fault_of_counts(self) -> tuple[Reason, str] | None:
        records, batches, size = self.record_count, self.batch_count, self.uncompressed_size
        if not 0 <= self.first < self.next:
            return Reason.IMPLAUSIBLE, f"span {self.span}"
        if records > self.next - self.first or batches > records:
            return Reason.IMPLAUSIBLE, f"{records} records in {batches} batches and {self.span}"
        if self.kind is Kind.LOST and records:
            return Reason.IMPLAUSIBLE, "records in a lost span"
        if bool(records) is not bool(batches) or bool(batches) is not bool(size):
            return Reason.IMPLAUSIBLE, "records without bytes, or bytes without records"
        if size < batches * BATCH_LEAST:
            return Reason.IMPLAUSIBLE, f"{batches} batches in {size} bytes"
        return None

    @classmethod
    def decode(cls, data: memoryview) -> tuple[Inner, int]:
        """Read one from the start of ``data``; return it and the position after it.

        Raises:
            Rejected: MALFORMED, UNKNOWN_EXTENSION, LAYOUT_RESERVED, IMPLAUSIBLE.
        """
        if len(data) < _FRONT.size:
            raise Rejected(Reason.MALFORMED, "the inner header is cut short")
        kind, layout, compression, flags = _FRONT.unpack_from(data)
        if layout == Layout.RECORD:
            raise Rejected(Reason.LAYOUT_RESERVED, "layout `record` is reserved")
        site, position = read_name(data, _FRONT.size)
        topic, position = read_name(data, position)
        end = position + _BACK.size
        if end > len(data):
            raise Rejected(Reason.MALFORMED, "the inner header is cut short")
        (*numbers, cause, extensions) = _BACK.unpack_from(data, position)
        if extensions or flags & ~_FLAGS:
            raise Rejected(Reason.UNKNOWN_EXTENSION, f"{extensions} bytes of extensions, flags {flags:#04x}")
        topic_id, partition, first, after, stable, epoch, sealed_at, records, batches, uncompressed, padding = numbers
        try:
            inner = cls(
                Kind(kind),
                Layout(layout),
                Compression(compression),
                flags,
                site,
                topic,
                topic_id,
                partition,
                first,
                after,
                stable,
                epoch,
                sealed_at,
                records,
                batches,
                uncompressed,
                padding,
                Cause(cause),
            )
        except ValueError as error:
            raise Rejected(Reason.MALFORMED, str(error)) from None
        fault = inner.fault()
        if fault:
            raise Rejected(*fault)
        return inner, end
