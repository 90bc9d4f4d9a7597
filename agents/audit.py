"""One sink partition audited: its records dealt to the runs that the ledger names, and each run to its comparison.

What lies outside every run is either a copy of what was delivered, left by a crash before its delivery record, or
another producer's. Which of them shows only when all that was delivered has been seen: a second pass, where it is
needed.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents.digesting import digests
from sealwire.agents.header import read_header
from sealwire.agents.logspan import read_span
from sealwire.keys.comparison import Comparison, Finding, Kind, Taken
from sealwire.keys.finding import resolved
from sealwire.keys.source import Span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.agents.ports import Reader
    from sealwire.keys.history import History, Run

MOST_OUTSIDE = 250_000
"""Records outside every run that are looked at in each sink partition; more are only counted."""
GONE = "the sink no longer has it"


@dataclass(eq=False)
class Delivery:
    """One source partition at this sink partition: what the ledger tells of it, and its comparison if it has one."""

    history: History
    comparison: Comparison | None = None


class Window(NamedTuple):
    """Where the sink partition begins and ends now, and where it ended before its ledger was read to the end."""

    log_start: int
    end: int
    settled: int


@dataclass
class Outside:
    """Records outside every run: other producers' are counted, copies of what was delivered are findings."""

    foreign: int = 0
    superseded: int = 0  # left behind by a rewind
    unlooked: int = 0
    stamped: int = 0  # records that carry the time of the sink's broker


class _Part(NamedTuple):
    """The sink offsets of one run, and whose it is."""

    sink: Span
    delivery: Delivery
    run: Run


@dataclass
class _Open:
    """What was taken of the run that is being read."""

    offsets: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)

    def taken(self) -> Taken:
        """Give it as a comparison takes it: whoever wrote the first record wrote the run."""
        ours = self.producers[:1]
        several = self.producers.count(*ours) < len(self.producers) if ours else False
        foreign = [producer != ours[0] for producer in self.producers] if several else ()
        return Taken(self.offsets, self.digests, foreign)


class SinkAudit:
    """Audits one sink partition for all source partitions that were delivered into it."""

    def __init__(
        self, reader: Reader, topic: str, partition: int, deliveries: Sequence[Delivery], window: Window
    ) -> None:
        self._reader, self._topic, self._partition = reader, topic, partition
        self._deliveries, self._window = deliveries, window
        parts = (_Part(run.sink, each, run) for each in deliveries for run in each.history.runs if len(run.sink))
        self._parts = sorted(parts, key=lambda part: (part.sink.first, part.sink.next))
        self._firsts = [part.sink.first for part in self._parts]
        self._fed = dict.fromkeys(deliveries, 0)  # runs that their comparison has
        self._outside: list[tuple[int, bytes]] = []
        self.told = Outside()

    async def run(self) -> None:
        """Read the sink partition, and tell every comparison all there is. Raises what logspan.read_span does."""
        begin = self._begin()
        await self._read(begin)
        for each in self._deliveries:
            self._feed(each, None, Taken())
            if each.comparison is not None:
                each.comparison.close()
        await self._resolve(begin)

    def _begin(self) -> int:
        """Give the sink offset to begin at: the end of what was delivered before the first run to be compared."""
        wanted = [at for at, part in enumerate(self._parts) if _compared(part)]
        if not wanted:
            return self._window.end
        before = max((part.sink.next for part in self._parts[: wanted[0]]), default=0)
        return max(before, self._window.log_start)

    # The first pass

    async def _read(self, begin: int) -> None:
        at, held = bisect_right(self._firsts, begin) - 1, _Open()
        at = max(at, 0)
        parts, window, told = self._parts, self._window, self.told

        def take(batch: memoryview) -> None:
            nonlocal at, held
            header = read_header(batch)
            told.stamped += header.record_count if header.log_append else 0
            for offset, digest in digests(batch):
                if offset >= window.end:
                    return
                while at < len(parts) and offset >= parts[at].sink.next:
                    self._done(parts[at], held)
                    at, held = at + 1, _Open()
                if at < len(parts) and parts[at].sink.first <= offset:
                    held.offsets.append(offset)
                    held.digests.append(digest)
                    held.producers.append(header.producer_id)
                elif begin <= offset < window.settled:
                    if len(self._outside) < MOST_OUTSIDE:
                        self._outside.append((offset, digest))
                    else:
                        told.unlooked += 1

        await read_span(self._reader, self._topic, self._partition, begin, window.end, take)
        for part in parts[at:]:
            self._done(part, held)
            held = _Open()

    def _done(self, part: _Part, held: _Open) -> None:
        if part.delivery.comparison is not None:
            self._feed(part.delivery, part.run, held.taken())

    def _feed(self, delivery: Delivery, upto: Run | None, taken: Taken) -> None:
        """Tell a comparison of its runs up to one, or of all; in the order of the ledger, which is that of the sink."""
        comparison, runs = delivery.comparison, delivery.history.runs
        while comparison is not None and self._fed[delivery] < len(runs):
            run = runs[self._fed[delivery]]
            self._fed[delivery] += 1
            if run.left or (len(run.sink) and run.sink.next <= self._window.log_start):
                comparison.skip(run.span, run.left or GONE)
            elif run is upto:
                comparison.take(run, taken, cut=run.sink.first < self._window.log_start)
                return
            else:
                comparison.take(run, Taken())

    # The second pass

    async def _resolve(self, begin: int) -> None:
        """Tell copies of what was delivered from what others wrote."""
        told = self.told
        behind = [span for each in self._deliveries for span in each.history.superseded]
        outside = [one for one in self._outside if not _within(behind, one[0])]
        told.superseded += len(self._outside) - len(outside)
        wanted = {digest for _, digest in outside}
        compared = [each.comparison for each in self._deliveries if each.comparison is not None]
        extra = {offset for each in compared for finding in each.findings for offset in finding.extra}
        wanted.update(digest for each in compared for finding in each.findings for digest in finding.digests)
        seen: dict[bytes, int] = {}
        if wanted:
            seen = await self._seen(begin, wanted, extra)
        for each in compared:
            each.findings = [resolved(finding, seen) for finding in each.findings]
            told.foreign += each.foreign
        again = [span for each in self._deliveries for span in each.history.again]
        for what, group in groupby(outside, key=lambda one: self._part_of(seen.get(one[1]), one[0], again)):
            several = list(group)
            if what is None:
                told.foreign += len(several)
            elif what.delivery.comparison is not None:
                offsets = tuple(offset for offset, _ in several)
                kind = Kind.DUPLICATED if several[0][1] in seen else Kind.ADDED
                sink = Span(offsets[0], offsets[-1] + 1)
                what.delivery.comparison.findings.append(Finding(kind, what.run.span, sink, len(offsets), offsets))

    def _part_of(self, seen_at: int | None, offset: int, again: Sequence[Span]) -> _Part | None:
        """Give the run that a record outside is a copy of, or of whose ledger it is; None where it is a stranger's."""
        if seen_at is None and not _within(again, offset):
            return None
        at = bisect_right(self._firsts, offset if seen_at is None else seen_at) - 1
        return self._parts[at] if at >= 0 else None

    async def _seen(self, begin: int, wanted: set[bytes], extra: set[int]) -> dict[bytes, int]:
        """Find where in the runs the wanted digests are: each with its sink offset."""
        seen: dict[bytes, int] = {}

        def take(batch: memoryview) -> None:
            for offset, digest in digests(batch):
                if digest in wanted and offset not in extra:
                    at = bisect_right(self._firsts, offset) - 1
                    if at >= 0 and offset < self._parts[at].sink.next:
                        seen.setdefault(digest, offset)

        await read_span(self._reader, self._topic, self._partition, begin, self._window.end, take)
        return seen


def _within(spans: Sequence[Span], offset: int) -> bool:
    return any(span.first <= offset < span.next for span in spans)


def _compared(part: _Part) -> bool:
    comparison = part.delivery.comparison
    if comparison is None:
        return False
    span = comparison.exported.span
    return part.run.span.first < span.next and span.first < part.run.span.next
