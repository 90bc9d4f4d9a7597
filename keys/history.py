"""What a ledger tells of one source partition at one sink partition: which source offsets went where, in order.

Delivery records come in the order in which they were written. Spans that touch are the rule; one that begins earlier
was trimmed. What is told again was delivered again (at-least-once, after a crash). Deliveries that went into one round
share its sink offsets, and are one run here; so are small ones side by side, or a ledger would not fit into memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys.order import Kind
from sealwire.keys.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.delivery import Delivered, Delivery

NOWHERE: Final = Span(0, 0)
LOST: Final = "the source lost it"
NO_MORE: Final = "it was delivered into a sink topic that is no more"
AGAIN: Final = "what follows was delivered again, by a person's order"
UNPLACED: Final = "the sink did not say where it stored it"
SMALL: Final = 1000
"""Sink offsets up to which neighbours become one run."""
_MARKER: Final = 1  # offsets between two transactions of one producer


class Passed(NamedTuple):
    """Source offsets of which nothing was delivered, on the record: the source lost them, or a person accepted it."""

    span: Span
    why: str


@dataclass(frozen=True, slots=True)
class Run:
    """The records of the source offsets ``span`` are those at the sink offsets ``sink``; none where that is empty.

    ``left`` is why nobody can look.
    """

    span: Span
    sink: Span = NOWHERE
    passed: tuple[Passed, ...] = ()
    left: str = ""


@dataclass
class History:
    """Runs that touch, in the order of their source offsets, and what was delivered ``again``."""

    runs: list[Run] = field(default_factory=list)
    again: list[Span] = field(default_factory=list)  # sink offsets
    superseded: list[Span] = field(default_factory=list)  # sink offsets that a rewind left behind
    _topic_id: bytes = b""  # of the sink topic that the runs are in

    @property
    def next(self) -> int | None:
        """The source offset after the last run."""
        return self.runs[-1].span.next if self.runs else None

    def tell(self, delivery: Delivery) -> None:
        """Take the next delivery record."""
        done, order = delivery.delivered, delivery.order
        if order is not None and order.kind is Kind.REWIND:
            self._rewound(order.to or 0)
        elif order is not None:
            self._accepted(order.span, f"the gap was accepted by {order.who}: {order.why}")
        if done is not None:
            self._in_topic(done.sink_topic_id)
            self._delivered(done)

    def end(self, topic_id: bytes) -> History:
        """Say which the sink topic is now: what went into another one is out of sight."""
        self._in_topic(topic_id)
        return self

    def _in_topic(self, topic_id: bytes) -> None:
        if self._topic_id and topic_id != self._topic_id:
            self.runs = [Run(run.span, passed=run.passed, left=run.left or NO_MORE) for run in self.runs]
            self.again, self.superseded = [], []
        self._topic_id = topic_id

    def _delivered(self, done: Delivered) -> None:
        span, sink = done.span, Span(done.sink_first, done.sink_next)
        if self.runs and self.runs[-1].left == NO_MORE:
            self._back_to(span.first)
        reached = self.next
        if reached is not None and span.next <= reached:
            if len(sink):
                self.again.append(sink)
            return
        if reached is not None:
            self._nothing_up_to(span.first)
            span = Span(max(reached, span.first), span.next)
        if not len(sink):
            self.runs.append(Run(span, passed=(Passed(span, LOST),)))
            return
        last = next((at for at in range(len(self.runs) - 1, -1, -1) if len(self.runs[at].sink)), None)
        if last is None:
            self.runs.append(Run(span, sink))
        elif sink.first < self.runs[last].sink.first:
            self.runs.append(Run(span, left=UNPLACED))
        elif sink.first < self.runs[last].sink.next or self._beside(last, sink):
            begin = self.runs[last]
            both = Span(begin.sink.first, max(begin.sink.next, sink.next))
            passed = tuple(each for run in self.runs[last:] for each in run.passed)
            self.runs[last:] = [Run(Span(begin.span.first, span.next), both, passed)]
        else:
            self.runs.append(Run(span, sink))

    def _beside(self, last: int, sink: Span) -> bool:
        """Tell whether a delivery and the last one are neighbours at both ends, and small."""
        before = self.runs[last].sink
        near = sink.first - before.next <= _MARKER and sink.next - before.first <= SMALL
        return near and last == len(self.runs) - 1

    def _accepted(self, span: Span, why: str) -> None:
        self._nothing_up_to(span.first)
        begin = span.first if self.next is None else max(self.next, span.first)
        if begin < span.next:
            passed = Span(begin, span.next)
            self.runs.append(Run(passed, passed=(Passed(passed, why),)))

    def _rewound(self, to: int) -> None:
        self.superseded += [run.sink for run in self.runs if run.span.next > to and len(run.sink)]
        self._back_to(to)

    def _back_to(self, offset: int) -> None:
        """Forget what was said of a source offset and all behind it."""
        while self.runs and self.runs[-1].span.next > offset:
            last = self.runs.pop()
            if last.span.first < offset:
                self.runs.append(Run(Span(last.span.first, offset), left=last.left or AGAIN))

    def _nothing_up_to(self, first: int) -> None:
        """Fill a span that no delivery record names: there was no record in it, or some are missing."""
        reached = self.next
        if reached is not None and reached < first:
            self.runs.append(Run(Span(reached, first)))


def history(deliveries: Iterable[Delivery], sink_topic_id: bytes) -> History:
    """Give the history of delivery records in the order of the ledger, for the sink topic that is there now."""
    found = History()
    for delivery in deliveries:
        found.tell(delivery)
    return found.end(sink_topic_id)
