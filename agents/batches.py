"""Whole record batches by their headers alone: found, cut into chunks, judged. No record is looked at here."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.agents import slow_path
from sealwire.agents.header import (
    CODEC,
    HEADER_SIZE,
    KNOWN_ATTRIBUTES,
    PLAIN,
    ZSTD,
    BatchHeader,
    checksum,
    read_header,
    restamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "MAX_HOLE",
    "BatchHeader",
    "Caps",
    "Chunk",
    "Corrupt",
    "Implausible",
    "Limits",
    "OldFormat",
    "Scan",
    "cut",
    "restamp",
    "scan",
    "walk",
]

Aborted = tuple[int, int]  # producer id and first offset of one aborted transaction, as a fetch response lists them

MAX_HOLE = 2**20
"""Offsets that may be left out between two records of a span, and at either end: an envelope with more is held."""

_NO_OFFSET = 2**63 - 1  # the offset after a batch must be one that can be asked for, and written down
_SMALLEST = 17  # bytes up to and with the magic, in every format
_OLD_SMALLEST = 26
_LIKELY_RATIO = 5  # how much larger a compressed batch is reckoned to be once opened: an estimate, not a cap


class Corrupt(ValueError):
    """The broker served bytes that are not what it was given: a checksum or a length is wrong."""


class OldFormat(ValueError):
    """A log goes on in message format v0 or v1, which no broker of today writes, and nothing here reads."""

    def __init__(self, offset: int, magic: int) -> None:
        super().__init__(
            f"the record at offset {offset} is in message format v{magic}, which Kafka 4 no longer writes and sealwire "
            "does not carry: read the topic with a client of Kafka 3 or later and write it again, into a new topic, or "
            "delete what is that old (kafka-delete-records.sh)"
        )
        self.offset, self.magic = offset, magic


class Implausible(ValueError):
    """A sender sealed batches that no broker can have stored inside that span."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a chunk may get before it is cut; ``opened_bytes`` is held against an estimate."""

    stored_bytes: int = 900_000
    records: int = 100_000
    opened_bytes: int = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Caps:
    """What a mirror believes a sender at most: records and offset gaps, and the bytes that one batch may open to."""

    records: int = 1_000_000
    max_hole: int = MAX_HOLE
    opened_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scan:
    """The whole batches that lie in ``data``, in order, a torn last one left out."""

    data: memoryview
    headers: tuple[BatchHeader, ...]
    next: int  # the offset after the last whole batch; the wanted one where there is none
    size: int  # bytes up to the torn one

    def application(self) -> Iterator[tuple[BatchHeader, memoryview]]:
        """Go through the batches that hold records of an application: neither markers nor what a cleaner emptied."""
        for header in self.headers:
            if header.record_count and not header.control:
                yield header, header.cut_from(self.data)


@dataclass(slots=True)
class Chunk:
    """Whole batches of one source partition: one event, at most one envelope. It covers the offsets up to ``next``.

    Its batches have offsets in [start, end); without batches it only says that there is nothing up to ``next``. What
    lies side by side is one part.
    """

    start: int = -1
    end: int = -1
    next: int = -1
    parts: list[memoryview] = field(default_factory=list)
    size: int = 0
    record_count: int = 0
    batch_count: int = 0
    opened_size: int = 0  # estimate
    plain: bool = True  # every batch came uncompressed
    leader_epoch: int = -1
    last_stable: int = -1
    _source: memoryview | None = None  # of the last part, which is [_begin, _end) of it
    _begin: int = 0
    _end: int = 0

    def takes(self, header: BatchHeader, limits: Limits) -> bool:
        """Tell whether one more batch would pass no limit."""
        size = header.size
        return (
            self.size + size <= limits.stored_bytes
            and self.record_count + header.record_count <= limits.records
            and self.opened_size + (size if header.codec == PLAIN else size * _LIKELY_RATIO) <= limits.opened_bytes
            and header.base_offset - self.end <= MAX_HOLE
        )

    def add(self, header: BatchHeader, source: memoryview) -> None:
        """Take one more batch, which lies in ``source``."""
        start, size = header.start, header.size
        if source is self._source and start == self._end:
            self.parts[-1] = source[self._begin : start + size]
        else:
            self.parts.append(source[start : start + size])
            self._source, self._begin = source, start
        self._end = start + size
        plain = header.codec == PLAIN
        self.size += size
        self.record_count += header.record_count
        self.batch_count += 1
        self.opened_size += size if plain else size * _LIKELY_RATIO
        self.plain = self.plain and plain
        self.leader_epoch = max(header.leader_epoch, -1)
        self.next = self.end = header.last_offset + 1


def scan(data: memoryview, wanted: int = 0, *, check_crc: bool = True) -> Scan:
    """Find the whole batches in what a fetch brought from offset ``wanted`` on.

    Raises Corrupt for a wrong length or offset and, with ``check_crc``, for whatever else a broker that is trusted
    cannot have stored; OldFormat where the first one is in message format v0 or v1: batches before such a one are
    given, without it.
    """
    headers: list[BatchHeader] = []
    position, end, reached = 0, len(data), -1
    while end - position >= _SMALLEST:
        if data[position + 16] != 2:  # noqa: PLR2004
            if headers:
                break
            _judge_old(data, position)
            break
        (length,) = struct.unpack_from(">i", data, position + 8)
        size = length + 12
        if size < HEADER_SIZE:
            message = f"a batch of {size} bytes at byte {position}"
            raise Corrupt(message)
        if position + size > end:
            break
        header = read_header(data, position)
        (_, _, base, _, _, crc, attributes, delta, _, _, _, _, _, count) = header
        if check_crc and checksum(data, position, size) != crc:
            message = f"checksum of the batch at offset {base}"
            raise Corrupt(message)
        if delta < 0 or count < 0 or not 0 <= base < _NO_OFFSET - delta:
            message = f"offsets of the batch at offset {base}"
            raise Corrupt(message)
        if check_crc and (
            not 0 <= delta + 1 - count <= MAX_HOLE
            or base <= reached
            or attributes & ~KNOWN_ATTRIBUTES
            or attributes & CODEC > ZSTD
        ):
            message = (
                f"the batch at offset {base}, {reached - base + 1} behind the one before, says: {count} records, last "
                f"offset delta {delta}, attributes {attributes:#x}"
            )
            raise Corrupt(message)
        headers.append(header)
        reached = base + delta
        position += size
    return Scan(data[:position], tuple(headers), max(reached + 1, wanted), position)


def _judge_old(data: memoryview, position: int) -> None:
    """Raise OldFormat for a whole entry of an old format, Corrupt for what is none; a torn one is left out."""
    offset, length = struct.unpack_from(">qi", data, position)
    magic, size = data[position + 16], length + 12
    if magic > 2 or size < _OLD_SMALLEST:  # noqa: PLR2004
        message = f"an entry of {size} bytes and format {magic} at byte {position}"
        raise Corrupt(message)
    if position + size > len(data):
        return
    (crc,) = struct.unpack_from(">I", data, position + 12)
    if zlib.crc32(data[position + 16 : position + size]) != crc:
        message = f"checksum of the entry at offset {offset}"
        raise Corrupt(message)
    raise OldFormat(offset, magic)


def cut(
    data: memoryview | Scan,
    wanted: int,
    limits: Limits | None = None,
    aborted: Sequence[Aborted] = (),
) -> list[Chunk]:
    """Cut batches into chunks, each before it would pass a limit; a batch beyond every limit is a chunk of its own.

    Left out are control batches, batches without records, and those of the transactions in ``aborted`` (which must be
    the list of the fetch response that brought this data, whole); the span of a chunk covers them. One that starts
    before ``wanted`` is trimmed. No chunk: nothing is to be sealed, though the scan's ``next`` may have moved on.
    Raises what slow_path.trim raises.
    """
    limits = limits or Limits()
    found = data if isinstance(data, Scan) else scan(data, wanted)
    chunks: list[Chunk] = []
    last: Chunk | None = None
    pending = sorted(aborted, key=lambda entry: -entry[1])
    open_aborts: set[int] = set()
    for header in found.headers:
        last_offset = header.last_offset
        while pending and pending[-1][1] <= last_offset:
            open_aborts.add(pending.pop()[0])
        if header.control:
            open_aborts.discard(header.producer_id)  # whatever the marker says, that transaction ends here
            continue
        if (
            not header.record_count
            or last_offset < wanted
            or (open_aborts and header.transactional and header.producer_id in open_aborts)
        ):
            continue
        kept, source = header, found.data
        if header.base_offset < wanted:
            trimmed = slow_path.trim(header.cut_from(source), wanted)
            if trimmed is None:
                continue
            source = memoryview(trimmed)
            kept = read_header(source)
        if last is None or not last.takes(kept, limits):
            last = Chunk(start=kept.base_offset)
            chunks.append(last)
        last.add(kept, source)
    if last is not None:
        last.next = max(last.next, found.next)
    return chunks


def walk(batches: memoryview, first: int, following: int, caps: Caps | None = None) -> list[BatchHeader]:
    """Judge batches that a sender sealed as the span [first, following): their headers, or Implausible.

    They must be whole v2 batches with right checksums, records of an application, rising offsets inside the span, and
    no hole above ``caps.max_hole`` in or between them or at either end.
    """
    caps = caps or Caps()
    headers: list[BatchHeader] = []
    position, end, reached, records_seen = 0, len(batches), first, 0
    while position < end:
        header = _whole(batches, position, end)
        records_seen += header.record_count
        hole = max(header.base_offset - reached, header.last_offset_delta + 1 - header.record_count)
        wrong = (
            "offsets fall" if header.base_offset < reached
            else "offsets leave the span" if header.last_offset >= following
            else "a hole" if hole > caps.max_hole
            else "too many records" if records_seen > caps.records
            else ""
        )  # fmt: skip
        if wrong:
            message = f"{wrong} at offset {header.base_offset}"
            raise Implausible(message)
        headers.append(header)
        reached = header.last_offset + 1
        position += header.size
    if following - reached > caps.max_hole or following < first:
        message = f"a hole at offset {reached}"
        raise Implausible(message)
    return headers


def _whole(batches: memoryview, position: int, end: int) -> BatchHeader:
    """Read the header at ``position``, when everything that it says about itself is possible."""
    if end - position < HEADER_SIZE:
        message = f"{end - position} bytes are left over"
        raise Implausible(message)
    header = read_header(batches, position)
    wrong = (
        "format" if header.magic != 2  # noqa: PLR2004
        else "size" if not HEADER_SIZE <= header.size <= end - position
        else "checksum" if checksum(batches, position, header.size) != header.crc
        else "attributes" if header.attributes & ~KNOWN_ATTRIBUTES or header.codec > ZSTD or header.control
        else "record count" if not 1 <= header.record_count <= header.last_offset_delta + 1
        else "base offset" if header.base_offset < 0
        else ""
    )  # fmt: skip
    if wrong:
        message = f"{wrong} of the batch at byte {position}"
        raise Implausible(message)
    return header
