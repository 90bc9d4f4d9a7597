"""Two sites' records compared: the blocks that one of them signed, and the record digests that the other one reads.

The sink knows no source offsets, only runs: so many records in a row stand for the source offsets [first, next), which
may be more. So a block is looked for where it should begin, after the one before it; then anywhere that its run allows.
What lies between two blocks that were found is of those that were not, and is told from both digests of both sides:
as many records and the same total are reordered, another total is altered, fewer are missing, more are too many.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealwire.keys.digests import MODULUS, ordered, total
from sealwire.keys.finding import Finding, Kind, Left, moved, too_many
from sealwire.keys.source import Span
from sealwire.keys.stretch import Stretch, Taken

if TYPE_CHECKING:
    from sealwire.keys.digests import Block, Exported
    from sealwire.keys.history import Passed, Run

__all__ = ["Comparison", "Finding", "Kind", "Left", "Taken"]

_PENDING: Final = 64  # blocks in a row that were not found, before they are told as they are


class Comparison:
    """Compares one source partition. Runs come in the order of their source offsets; ``close`` ends it.

    ``compared`` counts the source's records that were looked for, ``foreign`` other producers' records inside runs.
    """

    def __init__(self, exported: Exported) -> None:
        self.exported = exported
        self.findings: list[Finding] = []
        self.left: list[Left] = []
        self.passed: list[Left] = []
        self.compared = self.foreign = 0
        self._at = 0  # the next block
        self._reached = exported.span.first  # the source offset before which everything is told
        self._next: int | None = None  # the source offset after the last run
        self._stretch = Stretch()
        self._notes: list[Passed] = []
        self._position: int | None = None  # the number at which the next block begins, if that is known
        self._pending: list[Block] = []
        self._pending_from: int | None = None

    def take(self, run: Run, taken: Taken, *, cut: bool = False) -> None:
        """Take the next run; ``cut``: the sink no longer has its first records."""
        span, blocks = run.span, self.exported.blocks
        if span.next <= self.exported.span.first or span.first >= self.exported.span.next:
            return
        if self._next != span.first or cut:
            self._begin(span, cut=cut)
        self._stretch.append(span, taken, cut=cut)
        self._notes += run.passed
        self._next = span.next
        while self._at < len(blocks) and blocks[self._at].next <= span.next:
            self._judge(blocks[self._at])
            self._at += 1
        keep = self._pending_from if self._pending else self._position
        if keep is not None:
            self._stretch.drop(keep, self._reached)

    def skip(self, span: Span, why: str) -> None:
        """Leave out source offsets: what follows begins anew."""
        self._break()
        self._leave(span.next, why)

    def close(self, why: str = "not delivered yet") -> None:
        """End it; ``why`` is said of what was not delivered."""
        self._break()
        self._leave(self.exported.span.next, why)
        self.findings = moved(self.findings)

    # Where runs that touch begin and end

    def _begin(self, span: Span, *, cut: bool) -> None:
        self._break()
        blocks, first = self.exported.blocks, max(span.first, self.exported.span.first)
        while self._at < len(blocks) and blocks[self._at].next <= first:
            self._at += 1
        straddles = self._at < len(blocks) and blocks[self._at].first < first
        self._leave(blocks[self._at].next if straddles else first, "delivery begins behind it, or inside its block")
        self._at += straddles
        known = not cut and not straddles and first == span.first
        self._position = self._stretch.end if known else None

    def _break(self) -> None:
        """End what touches: what is pending is told; of a block that was not delivered whole nothing can be."""
        if self._next is None:
            return
        blocks, following, stretch = self.exported.blocks, self._next, self._stretch
        inside = self._at < len(blocks) and blocks[self._at].first < following
        whole = not inside and following <= self.exported.span.next  # all that there is belongs to blocks we had
        if self._pending:
            self._settle(stretch.end if whole else stretch.boundary(self._pending[-1].next))
        elif self._position is not None and whole:
            self._settle(stretch.end)
        self._reached = max(
            self._reached, min(blocks[self._at].first if inside else following, self.exported.span.next)
        )
        self._at += inside
        self._stretch = Stretch()
        self._position = self._next = None

    def _leave(self, following: int, why: str) -> None:
        """Note that nothing up to a source offset was compared, from where all is told."""
        following = min(following, self.exported.span.next)
        if following > self._reached:
            last = self.left[-1] if self.left else None
            if last is not None and last.why == why and last.span.next == self._reached:
                self.left[-1] = replace(last, span=Span(last.span.first, following))
            else:
                self.left.append(Left(Span(self._reached, following), why))
            self._reached = following

    # One block

    def _judge(self, block: Block) -> None:
        start = self._find(block)
        if start is None:
            self._not_found(block)
            return
        if self._pending or self._position not in {None, start}:
            self._settle(start, block)
        self._good(block, start + block.records)

    def _good(self, block: Block, position: int) -> None:
        self._reached = max(self._reached, block.next)
        self.compared += block.records
        self._position = position

    def _find(self, block: Block) -> int | None:
        """Give where a block is, if all of it is there in its order."""
        lowest = self._pending_from if self._pending else self._position
        hint = None if lowest is None else lowest + sum(each.records for each in self._pending)
        for likely in (hint, self._stretch.boundary(block.first)):
            if likely is not None and likely >= (lowest or 0) and self._stretch.holds(block, likely):
                return likely
        return self._stretch.find(block, lowest)

    def _not_found(self, block: Block) -> None:
        stretch = self._stretch
        if not self._pending:
            if self._position is not None and stretch.foreign:
                position = stretch.among_others(block, self._position)
                if position is not None:
                    self.foreign += position - self._position - block.records
                    self._good(block, position)
                    return
            known = stretch.boundary(block.first)
            self._pending_from = known if self._position is None else self._position
            if self._pending_from is None and stretch.cut(block.first):
                self._reached = max(self._reached, block.first)
                self._leave(block.next, "the sink no longer has all of it")
                return
        self._pending.append(block)
        self._position = None
        if len(self._pending) >= _PENDING:
            self._settle(stretch.boundary(block.next))

    # What lies between two blocks that were found

    def _settle(self, end: int | None, before: Block | None = None) -> None:
        """Tell what the records up to the number ``end`` are, which should be the pending blocks."""
        pending, self._pending = self._pending, []
        start = self._pending_from if pending else self._position
        wanted = sum(block.records for block in pending)
        stretch = self._stretch
        if end is None:
            end = stretch.end if start is None else min(stretch.end, start + wanted)
        if start is None:
            start = max(stretch.base, end - wanted)
        self._pending_from, self._position = None, end
        if pending:
            span = Span(pending[0].first, pending[-1].next)
            self.compared += wanted
            self._reached = max(self._reached, span.next)
        elif end > start:
            following = (self._next or 0) if before is None else before.next
            span = Span(self._reached, max(self._reached, following))
        else:
            return
        numbers = self._ours(start, end, wanted)
        digests, sink = stretch.digests(numbers), stretch.sink(start, end)
        difference = (sum(block.total for block in pending) - total(digests)) % MODULUS
        count = len(numbers) - wanted
        if count > 0:
            finding = Finding(Kind.ADDED, span, sink, count, difference=difference)
            self.findings.append(too_many(finding, stretch.offsets(numbers), digests))
        elif count < 0:
            self._too_few(Finding(Kind.MISSING, span, sink, -count, difference=difference))
        elif difference:
            self.findings.append(Finding(Kind.ALTERED, span, sink, difference=difference))
        elif not _in_order(pending, digests):
            self.findings.append(Finding(Kind.REORDERED, span, sink))

    def _ours(self, start: int, end: int, wanted: int) -> list[int]:
        """Give the numbers without those that another producer wrote, where as many as wanted are left."""
        numbers = list(range(start, end))
        ours = [number for number in numbers if number not in self._stretch.foreign]
        if len(ours) == len(numbers) or abs(len(ours) - wanted) > abs(len(numbers) - wanted):
            return numbers
        self.foreign += len(numbers) - len(ours)
        return ours

    def _too_few(self, finding: Finding) -> None:
        """Tell what is missing from what was passed on the record, which cannot be more than the offsets passed."""
        missing, span = finding.records, finding.span
        for passed_on in self._notes:
            both = Span(max(passed_on.span.first, span.first), min(passed_on.span.next, span.next))
            passed = min(missing, len(both))
            if passed:
                self.passed.append(Left(both, passed_on.why, passed))
                missing -= passed
        if missing:
            self.findings.append(replace(finding, records=missing))


def _in_order(blocks: list[Block], digests: list[bytes]) -> bool:
    at = 0
    for block in blocks:
        if ordered(digests[at : at + block.records]) != block.ordered:
            return False
        at += block.records
    return True
