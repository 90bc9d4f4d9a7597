"""Whole record batches by their headers alone: found, cut into chunks, judged. No record is looked at here."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.header import (
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

__all__ = ["BatchHeader", "Caps", "Chunk", "Corrupt", "Implausible", "Limits", "Scan", "cut", "restamp", "scan", "walk"]

Aborted = tuple[int, int]  # producer id and first offset of one aborted transaction, as a fetch response lists them

_NO_OFFSET = 2**63 - 1  # the offset after a batch must be one that can be asked for, and written down
_SMALLEST = 17  # bytes up to and with the magic, in every format
_LEGACY_SMALLEST = 26
_LEGACY_RATIO = 5  # how much larger a compressed batch is reckoned to be once opened: an estimate, not a cap


class Corrupt(ValueError):
    """The broker served bytes that are not what it was given: a checksum or a length is wrong."""


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
    max_hole: int = 2**20
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
    """Whole batches of one source partition: one event, at most one envelope. It covers the offsets up to ``next``."""

    next: int
    parts: list[memoryview] = field(default_factory=list)
    size: int = 0
    record_count: int = 0
    batch_count: int = 0
    opened_size: int = 0  # estimate
    plain: bool = True  # every batch came uncompressed
    leader_epoch: int = -1
    last_stable: int = -1

    def add(self, header: BatchHeader, part: memoryview, opened: int) -> None:
        """Take one more batch."""
        self.parts.append(part)
        self.size += len(part)
        self.record_count += header.record_count
        self.batch_count += 1
        self.opened_size += opened
        self.plain = self.plain and header.codec == PLAIN
        self.leader_epoch = header.leader_epoch
        self.next = header.last_offset + 1


def scan(data: memoryview, wanted: int = 0, *, check_crc: bool = True) -> Scan:
    """Find the whole batches in what a fetch brought from offset ``wanted`` on.

    Entries of the formats v0 and v1 are made v2 batches here. Raises Corrupt for a wrong length or checksum.
    """
    headers: list[BatchHeader] = []
    position, end = 0, len(data)
    while end - position >= _SMALLEST:
        magic = data[position + 16]
        if magic != 2:  # noqa: PLR2004
            return _scan_mixed(data, wanted, check_crc=check_crc)
        (length,) = struct.unpack_from(">i", data, position + 8)
        size = length + 12
        if size < HEADER_SIZE:
            message = f"a batch of {size} bytes at byte {position}"
            raise Corrupt(message)
        if position + size > end:
            break
        header = read_header(data, position)
        if check_crc and checksum(data, position, size) != header.crc:
            message = f"checksum of the batch at offset {header.base_offset}"
            raise Corrupt(message)
        if (
            header.last_offset_delta < 0
            or header.record_count < 0
            or not 0 <= header.base_offset < _NO_OFFSET - header.last_offset_delta
        ):
            message = f"offsets of the batch at offset {header.base_offset}"
            raise Corrupt(message)
        headers.append(header)
        position += size
    following = headers[-1].last_offset + 1 if headers else wanted
    return Scan(data[:position], tuple(headers), max(following, wanted), position)


def _scan_mixed(data: memoryview, wanted: int, *, check_crc: bool) -> Scan:
    """Rewrite the old entries as v2 batches, so that what follows knows one format only."""
    out = bytearray()
    position, end = 0, len(data)
    while end - position >= _SMALLEST:
        (length,) = struct.unpack_from(">i", data, position + 8)
        size, magic = length + 12, data[position + 16]
        if size < _LEGACY_SMALLEST or magic > 2:  # noqa: PLR2004
            message = f"an entry of {size} bytes and format {magic} at byte {position}"
            raise Corrupt(message)
        if position + size > end:
            break
        entry = data[position : position + size]
        try:
            out += entry if magic == 2 else records.upgrade(entry)  # noqa: PLR2004
        except ValueError as error:
            raise Corrupt(str(error)) from error
        position += size
    found = scan(memoryview(out).toreadonly(), wanted, check_crc=check_crc)
    return Scan(found.data, found.headers, found.next, position)


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
    """
    limits = limits or Limits()
    found = data if isinstance(data, Scan) else scan(data, wanted)
    chunks: list[Chunk] = []
    pending = sorted(aborted, key=lambda entry: -entry[1])
    open_aborts: set[int] = set()
    for header in found.headers:
        while pending and pending[-1][1] <= header.last_offset:
            open_aborts.add(pending.pop()[0])
        if header.control:
            open_aborts.discard(header.producer_id)  # whatever the marker says, that transaction ends here
        elif (
            header.record_count
            and header.last_offset >= wanted
            and not (header.transactional and header.producer_id in open_aborts)
        ):
            kept, part = header, header.cut_from(found.data)
            if header.base_offset < wanted:
                trimmed = records.trim(part, wanted)
                if trimmed is None:
                    continue
                part = memoryview(trimmed)
                kept = read_header(part)
            _place(chunks, kept, part, limits)
    if chunks:
        chunks[-1].next = max(chunks[-1].next, found.next)
    return chunks


def _place(chunks: list[Chunk], header: BatchHeader, part: memoryview, limits: Limits) -> None:
    opened = len(part) if header.codec == PLAIN else len(part) * _LEGACY_RATIO
    last = chunks[-1] if chunks else None
    if (
        last is None
        or last.size + len(part) > limits.stored_bytes
        or last.record_count + header.record_count > limits.records
        or last.opened_size + opened > limits.opened_bytes
    ):
        last = Chunk(next=header.last_offset + 1)
        chunks.append(last)
    last.add(header, part, opened)


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
