"""Whole record batches by their headers alone: found, and judged. No record is looked at here."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crc32c import crc32c

from sealwire.agents.header import (
    CODEC,
    CONTROL,
    CRC_FROM,
    HEADER_SIZE,
    KNOWN_ATTRIBUTES,
    LENGTH_END,
    ZSTD,
    BatchHeader,
    read_header,
    restamp,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "MAX_HOLE",
    "MOST_BATCHES",
    "BatchHeader",
    "Caps",
    "Corrupt",
    "Implausible",
    "OldFormat",
    "Scan",
    "restamp",
    "scan",
    "walk",
]

MAX_HOLE = 2**20
"""Offsets that may be left out between two records of a span, and at either end: an envelope with more is held."""

MOST_BATCHES = 2**16
"""Batches that one answer of a broker may bring: more than fit into what is asked for, fewer than fit into any."""

_NO_OFFSET = 2**63 - 1  # the offset after a batch must be one that can be asked for, and written down
_SMALLEST = 17  # bytes up to and with the magic, in every format
_OLD_SMALLEST = 26
_UNFIT = ~KNOWN_ATTRIBUTES | CONTROL  # attributes that no batch of an application has
_LENGTH = struct.Struct(">i")


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

    def committed(self, aborted: Sequence[tuple[int, int]] = ()) -> Iterator[BatchHeader]:
        """Go through the headers without markers and without those of aborted transactions (read_committed's rule).

        ``aborted`` must be the list of the fetch response that brought this data, whole: producer ids, and where each
        transaction begins.
        """
        pending = sorted(aborted, key=lambda entry: -entry[1])
        open_aborts: set[int] = set()
        for header in self.headers:
            (base, _, _, _, _, attributes, delta, _, _, producer_id, _, _, _, _) = header
            while pending and pending[-1][1] <= base + delta:
                open_aborts.add(pending.pop()[0])
            if attributes & CONTROL:
                open_aborts.discard(producer_id)  # whatever the marker says, that transaction ends here
            elif not (open_aborts and header.transactional and producer_id in open_aborts):
                yield header


def scan(data: memoryview, wanted: int = 0, *, check_crc: bool = True, most: int = MOST_BATCHES) -> Scan:
    """Find the whole batches in what a fetch brought from offset ``wanted`` on; after ``most`` the rest counts as torn.

    Raises Corrupt for a wrong length or offset and, with ``check_crc``, for whatever else a broker that is trusted
    cannot have stored; OldFormat where the first one is in message format v0 or v1: batches before such a one are
    given, without it.
    """
    headers: list[BatchHeader] = []
    position, end, reached = 0, len(data), -1
    while end - position >= _SMALLEST and len(headers) < most:
        if data[position + 16] != 2:  # noqa: PLR2004
            if headers:
                break
            _judge_old(data, position)
            break
        following = position + LENGTH_END + _LENGTH.unpack_from(data, position + 8)[0]
        if following < position + HEADER_SIZE:
            message = f"a batch of {following - position} bytes at byte {position}"
            raise Corrupt(message)
        if following > end:
            break
        header = read_header(data, position)
        (base, _, _, _, crc, attributes, delta, _, _, _, _, _, count, _) = header
        if check_crc and crc32c(data[position + CRC_FROM : following]) != crc:
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
        position = following
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


def walk(batches: memoryview, first: int, following: int, caps: Caps | None = None) -> list[BatchHeader]:
    """Judge batches that a sender sealed as the span [first, following): their headers, or Implausible.

    They must be whole v2 batches with right checksums, records of an application, rising offsets inside the span, and
    no hole above ``caps.max_hole`` in or between them or at either end.
    """
    caps = caps or Caps()
    max_hole, most = caps.max_hole, caps.records
    headers: list[BatchHeader] = []
    position, end, reached, records_seen = 0, len(batches), first, 0
    while position < end:
        header = _whole(batches, position, end)
        (base, length, _, _, _, _, delta, _, _, _, _, _, count, _) = header
        records_seen += count
        wrong = (
            "offsets fall" if base < reached
            else "offsets leave the span" if base + delta >= following
            else "a hole" if base - reached > max_hole or delta + 1 - count > max_hole
            else "too many records" if records_seen > most
            else ""
        )  # fmt: skip
        if wrong:
            message = f"{wrong} at offset {base}"
            raise Implausible(message)
        headers.append(header)
        reached = base + delta + 1
        position += length + LENGTH_END
    if following - reached > max_hole or following < first:
        message = f"a hole at offset {reached}"
        raise Implausible(message)
    return headers


def _whole(batches: memoryview, position: int, end: int) -> BatchHeader:
    """Read the header at ``position``, when everything that it says about itself is possible."""
    if end - position < HEADER_SIZE:
        message = f"{end - position} bytes are left over"
        raise Implausible(message)
    header = read_header(batches, position)
    (base, length, _, magic, crc, attributes, delta, _, _, _, _, _, count, _) = header
    wrong = (
        "format" if magic != 2  # noqa: PLR2004
        else "size" if not HEADER_SIZE <= length + LENGTH_END <= end - position
        else "checksum" if crc32c(batches[position + CRC_FROM : position + LENGTH_END + length]) != crc
        else "attributes" if attributes & _UNFIT or attributes & CODEC > ZSTD
        else "record count" if not 1 <= count <= delta + 1
        else "base offset" if base < 0
        else ""
    )  # fmt: skip
    if wrong:
        message = f"{wrong} of the batch at byte {position}"
        raise Implausible(message)
    return header
