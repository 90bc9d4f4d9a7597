"""Chunks: what one fetch brought of a source partition, cut at batch boundaries; each is at most one envelope."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sealwire.agents import slow_path
from sealwire.agents.batches import MAX_HOLE, Scan, scan
from sealwire.agents.header import CODEC, LENGTH_END, BatchHeader, read_header

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

    Its batches have offsets in [start, end); without batches it only says that there is nothing up to ``next``, or
    that the source ``lost`` what was.
    """

    start: int = -1
    end: int = -1
    next: int = -1
    size: int = 0
    record_count: int = 0
    batch_count: int = 0
    opened_size: int = 0  # estimate
    plain: bool = True  # every batch came uncompressed
    leader_epoch: int = -1
    last_stable: int = -1
    lost: bool = False
    _runs: list[tuple[memoryview, int]] = field(default_factory=list)  # where batches begin that lie side by side
    _ends: list[int] = field(default_factory=list)

    @property
    def parts(self) -> list[memoryview]:
        """The batches; what lies side by side is one part."""
        return [data[begin:end] for (data, begin), end in zip(self._runs, self._ends, strict=True)]

    def take(self, header: BatchHeader, source: memoryview, limits: Limits) -> bool:
        """Take one more batch, which lies in ``source``, unless it is not the first one and would pass a limit."""
        (base, length, epoch, _, _, attributes, delta, _, _, _, _, _, count, start) = header
        size = length + LENGTH_END
        plain = not attributes & CODEC
        whole, records = self.size + size, self.record_count + count
        opened = self.opened_size + (size if plain else size * _LIKELY_RATIO)
        if self.batch_count and (
            whole > limits.stored_bytes
            or records > limits.records
            or opened > limits.opened_bytes
            or base - self.end > MAX_HOLE
        ):
            return False
        if not self.batch_count:
            self.start = base
        if self.batch_count and source is self._runs[-1][0] and start == self._ends[-1]:
            self._ends[-1] += size
        else:
            self._runs.append((source, start))
            self._ends.append(start + size)
        self.size, self.record_count, self.opened_size = whole, records, opened
        self.batch_count += 1
        self.plain = self.plain and plain
        self.leader_epoch = max(epoch, -1)
        self.next = self.end = base + delta + 1
        return True


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
    for header in found.committed(aborted):
        base, delta, count = header.base_offset, header.last_offset_delta, header.record_count
        if not count or base + delta < wanted:
            continue
        kept, source = header, found.data
        if base < wanted:
            trimmed = slow_path.trim(header.cut_from(source), wanted)
            if trimmed is None:
                continue
            source = memoryview(trimmed)
            kept = read_header(source)
        if last is None or not last.take(kept, source, limits):
            last = Chunk()
            last.take(kept, source, limits)
            chunks.append(last)
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
        if not found or not found[-1].take(header, part, limits):
            found.append(Chunk(last_stable=chunk.last_stable))
            found[-1].take(header, part, limits)
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
