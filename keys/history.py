"""What a ledger tells of one source partition at one sink partition: which source offsets went where, in order.

Delivery records come in the order in which they were written. Spans that touch are the rule; one that begins earlier
was trimmed. What is told again was delivered again (at-least-once, after a crash). Deliveries that went into one round
share its sink offsets, and are one run here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.keys.order import Kind
from sealwire.keys.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.delivery import Delivered, Delivery

NOWHERE: Final = Span(0, 0)
LOST: Final = "the source lost it"
NO_MORE: Final = "it was delivered into a sink topic that is no more"


@dataclass(frozen=True, slots=True)
class Run:
    """The records of the source offsets ``span`` are those at the sink offsets ``sink``; none where that is empty.

    ``passed`` is why there are none, where somebody said so: the source lost them, or a person accepted the gap.
    ``left`` is why nobody can look.
    """

    span: Span
    sink: Span = NOWHERE
    passed: str = ""
    left: str = ""


@dataclass
class History:
    """Runs that touch, in the order of their source offsets, and what was delivered ``again``."""

    runs: list[Run] = field(default_factory=list)
    again: list[Span] = field(default_factory=list)  # sink offsets
    superseded: list[Span] = field(default_factory=list)  # sink offsets that a rewind left behind

    @property
    def next(self) -> int | None:
        """The source offset after the last run."""
        return self.runs[-1].span.next if self.runs else None

    def delivered(self, done: Delivered) -> None:
        """Take what the next delivery record says."""
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
        last = next((run for run in reversed(self.runs) if len(run.sink)), None)
        if not len(sink):
            self.runs.append(Run(span, passed=LOST))
        elif last is None or sink.first >= last.sink.next:
            self.runs.append(Run(span, sink))
        elif sink.first < last.sink.first:
            self.runs.append(Run(span, left="the sink did not say where it stored it"))
        else:  # of the same round
            at = self.runs.index(last)
            both = Span(last.sink.first, max(last.sink.next, sink.next))
            self.runs[at:] = [Run(Span(last.span.first, span.next), both)]

    def elsewhere(self, span: Span) -> None:
        """Take a delivery into a sink topic that is no more."""
        self._nothing_up_to(span.first)
        begin = span.first if self.next is None else max(self.next, span.first)
        if begin < span.next:
            self.runs.append(Run(Span(begin, span.next), left=NO_MORE))

    def accepted(self, span: Span, why: str) -> None:
        """Take a gap that a person accepted: nothing of ``span`` is delivered, on the record."""
        self._nothing_up_to(span.first)
        begin = span.first if self.next is None else max(self.next, span.first)
        if begin < span.next:
            self.runs.append(Run(Span(begin, span.next), passed=why))

    def rewound(self, to: int) -> None:
        """Take a person's order to deliver again from a source offset on: what was delivered of that counts no more."""
        self.superseded += [run.sink for run in self.runs if run.span.next > to and len(run.sink)]
        self._back_to(to)

    def _back_to(self, offset: int) -> None:
        """Forget what was said of a source offset and all behind it."""
        while self.runs and self.runs[-1].span.next > offset:
            last = self.runs.pop()
            if last.span.first < offset:
                left = last.left or "what follows was delivered again, by a person's order"
                self.runs.append(Run(Span(last.span.first, offset), left=left))

    def _nothing_up_to(self, first: int) -> None:
        """Fill a span that no delivery record names: there was no record in it, or some are missing."""
        reached = self.next
        if reached is not None and reached < first:
            self.runs.append(Run(Span(reached, first)))


def history(deliveries: Iterable[Delivery], sink_topic_id: bytes) -> History:
    """Give the history of one source partition's delivery records, in the order of the ledger."""
    found = History()
    for delivery in deliveries:
        done, order = delivery.delivered, delivery.order
        if order is not None and order.kind is Kind.REWIND:
            found.rewound(order.to or 0)
        elif order is not None:
            found.accepted(order.span, f"the gap was accepted by {order.who}: {order.why}")
        if done is not None and done.sink_topic_id == sink_topic_id:
            found.delivered(done)
        elif done is not None:
            found.elsewhere(done.span)
    return found
