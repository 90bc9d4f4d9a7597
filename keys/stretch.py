"""The sink's records of runs that touch, as far as they are still needed: numbered, and found by their digests."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sealwire.keys.digests import MODULUS, ordered
from sealwire.keys.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealwire.keys.digests import Block


class Taken(NamedTuple):
    """The records that the sink has of a run, side by side: sink offsets, digests, and whether another wrote them."""

    offsets: Sequence[int] = ()
    digests: Sequence[bytes] = ()
    foreign: Sequence[bool] = ()


class _Bounds(NamedTuple):
    """The records numbered [begin, end) are of these source offsets; of a ``cut`` run only the last ones are there."""

    span: Span
    begin: int
    end: int
    cut: bool


class Stretch:
    """Records numbered on and on; those before ``base`` were let go of."""

    def __init__(self) -> None:
        self.base = 0
        self.foreign: set[int] = set()
        self._offsets: list[int] = []
        self._digests: list[bytes] = []
        self._sums: list[int] = [0]  # of the digests before each record, as far as they were needed
        self._runs: deque[_Bounds] = deque()

    @property
    def end(self) -> int:
        """The number after the last record."""
        return self.base + len(self._digests)

    def append(self, span: Span, taken: Taken, *, cut: bool) -> None:
        """Take the records of the next run."""
        begin = self.end
        self._offsets += taken.offsets
        self._digests += taken.digests
        self.foreign.update(begin + at for at, strange in enumerate(taken.foreign) if strange)
        self._runs.append(_Bounds(span, begin, self.end, cut))

    def digests(self, numbers: Iterable[int]) -> list[bytes]:
        """Give the digests of records."""
        return [self._digests[number - self.base] for number in numbers]

    def offsets(self, numbers: Iterable[int]) -> list[int]:
        """Give the sink offsets of records."""
        return [self._offsets[number - self.base] for number in numbers]

    def sink(self, start: int, end: int) -> Span:
        """Give the sink offsets from one record to another; between two where there is none."""
        if start < end:
            return Span(self._offsets[start - self.base], self._offsets[end - 1 - self.base] + 1)
        if start < self.end:
            return Span(self._offsets[start - self.base], self._offsets[start - self.base])
        last = self._offsets[-1] + 1 if self._offsets else 0
        return Span(last, last)

    # Where blocks are

    def holds(self, block: Block, start: int) -> bool:
        """Tell whether all records of a block are there from a number on, in their order."""
        begin = start - self.base
        return begin >= 0 and ordered(self._digests[begin : begin + block.records]) == block.ordered

    def find(self, block: Block, lowest: int | None) -> int | None:
        """Look for a block from the number ``lowest`` on: where its run should have it first, then anywhere."""
        low, high = self.base if lowest is None else lowest, self.end - block.records
        for bounds in self._runs:
            if bounds.span.first <= block.first < bounds.span.next:
                found = self._search(block, max(low, bounds.begin), min(high, bounds.end))
                return self._search(block, low, high) if found is None else found
        return self._search(block, low, high)

    def _search(self, block: Block, low: int, high: int) -> int | None:
        sums, base, count = self._summed(), self.base, block.records
        for start in range(low, high + 1):
            if (sums[start + count - base] - sums[start - base]) % MODULUS == block.total and self.holds(block, start):
                return start
        return None

    def among_others(self, block: Block, start: int) -> int | None:
        """Give the number after a block whose records are all there, with another producer's between them."""
        numbers = [number for number in range(start, self.end) if number not in self.foreign][: block.records]
        if not numbers or ordered(self.digests(numbers)) != block.ordered:
            return None
        return numbers[-1] + 1

    def boundary(self, offset: int) -> int | None:
        """Give the number of the first record at or after a source offset, where the runs alone tell it."""
        for bounds in self._runs:
            if bounds.span.next == offset:
                return bounds.end
            if bounds.span.first <= offset < bounds.span.next and not bounds.cut:
                into = offset - bounds.span.first
                dense = bounds.end - bounds.begin == len(bounds.span)  # each offset has its record
                return bounds.begin + into if dense or not into else None
        return None

    def cut(self, offset: int) -> bool:
        """Tell whether a source offset lies in a run whose first records are gone."""
        return any(bounds.cut and bounds.span.first <= offset < bounds.span.next for bounds in self._runs)

    def _summed(self) -> list[int]:
        sums = self._sums
        for digest in self._digests[len(sums) - 1 :]:
            sums.append(sums[-1] + int.from_bytes(digest, "big"))
        return sums

    # What is needed no more

    def drop(self, number: int, reached: int) -> None:
        """Let go of the records before ``number``, and of the runs that end at the source offset ``reached``."""
        count = number - self.base
        if count > 0:
            del self._offsets[:count], self._digests[:count]
            self._sums = [0]
            self.base = number
            if self.foreign:
                self.foreign = {each for each in self.foreign if each >= number}
        while len(self._runs) > 1 and self._runs[0].end <= self.base and self._runs[0].span.next <= reached:
            self._runs.popleft()
