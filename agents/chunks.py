"""Chunks: what one fetch brought of a source partition, cut at batch boundaries; each is at most one envelope."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sealwire.agents import slow_path
from sealwire.agents.batches import MAX_HOLE, Scan, scan
from sealwire.agents.header import PLAIN, BatchHeader, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Chunk", "Limits", "believable", "cut", "divide"]

Aborted = tuple[int, int]  # producer id and first offset of one aborted transaction, as a fetch response lists them

_LIKELY_RATIO = 5  # how much larger a compressed batch is reckoned to be once opened: an estimate, not a cap


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a chunk may get before it is cut; ``opened_bytes`` is held against an estimate."""

    stored_bytes: int = 900_000
    records: int = 100_000
    opened_bytes: int = 32 * 1024 * 1024


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


def divide(chunk: Chunk, count: int) -> list[Chunk]:
    """Cut a chunk into about ``count`` smaller ones, between its batches; one of a single batch between its records.

    A single record is returned alone. Raises what slow_path.divide raises.
    """
    headers = [(part, header) for part in chunk.parts for header in scan(part, check_crc=False).headers]
    if len(headers) == 1:
        views = [memoryview(piece) for piece in slow_path.divide(chunk.parts[0], count)]
        headers = [(view, read_header(view)) for view in views]
    limits = Limits(stored_bytes=chunk.size // max(count, 2) + 1, records=1 << 31, opened_bytes=1 << 62)
    found: list[Chunk] = []
    for part, header in headers:
        if not found or not found[-1].takes(header, limits):
            found.append(Chunk(start=header.base_offset, last_stable=chunk.last_stable))
        found[-1].add(header, part)
    found[-1].next = chunk.next
    return found


def believable(chunk: Chunk, first: int) -> Iterator[Chunk]:
    """Give a chunk, whose span begins at ``first``, so that no span has a hole that a mirror would not believe.

    Ranges that a cleaner emptied are passed in spans of their own, without batches.
    """
    start = chunk.start if chunk.parts else chunk.next
    while start - first > MAX_HOLE:
        first += MAX_HOLE
        yield Chunk(next=first, last_stable=chunk.last_stable)
    if chunk.parts and chunk.next - chunk.end > MAX_HOLE:
        yield replace(chunk, next=chunk.end)
        yield from believable(Chunk(next=chunk.next, last_stable=chunk.last_stable), chunk.end)
    else:
        yield chunk
