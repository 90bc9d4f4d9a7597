"""A cluster with transactions as Kafka keeps them: a coordinator, leaders that judge, markers that come later.

What Kafka promises is kept to the letter (KIP-98): who takes a transactional id fences its last holder and aborts what
is open; what is open for too long is aborted; a batch is stored once, by epoch and sequence. What it does not promise
is hostile: markers are written late and not everywhere at once, and a request may arrive when its sender is no more.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.protocol.transaction import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnRequest_v0,
    EndTxnRequest,
    EndTxnRequest_v0,
    InitProducerIdRequest,
    InitProducerIdRequest_v0,
)
from virtual_loop import NOBODY

from sealwire.agents.header import read_header

if TYPE_CHECKING:
    import asyncio
    import random
    from collections.abc import Callable

    from sim_kafka import Cluster, Where

# Error codes by Kafka's protocol guide.
NOT_THERE, OUT_OF_ORDER, DUPLICATE, FENCED, NO_SUCH_STATE, NO_SUCH_ID, CONCURRENT = 3, 45, 46, 47, 48, 49, 51
_REMEMBERED = 5  # batches of a producer that a leader knows again


@dataclass(eq=False)
class Held:
    """What the coordinator knows of one transactional id. ``ending``: markers that are still to be written."""

    identity: int
    epoch: int = 0
    holder: object = None
    open: set[Where] = field(default_factory=set)
    ending: set[Where] = field(default_factory=set)
    last: bool | None = None  # how the last one ended: committed, aborted, or there was none
    timer: asyncio.TimerHandle | None = None
    expired: bool = False


@dataclass(eq=False)
class Known:
    """What a leader knows of one producer: its epoch, and its last batches as (sequence, count, base offset)."""

    epoch: int
    next: int = 0
    batches: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True)
class Produce:
    """Stands for ProduceBatches: the batches as they were when they were sent."""

    topics: dict[str, list[tuple[int, bytes]]]
    timeout_ms: int
    transactional_id: str | None = None

    def __post_init__(self) -> None:
        for parts in self.topics.values():
            parts[:] = [(partition, bytes(batch)) for partition, batch in parts]


class Broker:
    """The one broker of a cluster: leader of all, coordinator of all. ``reached`` is told the faults that are met."""

    def __init__(
        self,
        cluster: Cluster,
        loop: asyncio.AbstractEventLoop,
        dice: random.Random,
        reached: Callable[[str], None],
    ) -> None:
        self.cluster, self.loop, self.dice, self.reached = cluster, loop, dice, reached
        self.held: dict[str, Held] = {}
        self._known: dict[Where, dict[int, Known]] = defaultdict(dict)
        self._identities = 1000
        self.once: tuple[str, ...] = ()  # topics that are written in transactions only
        self.slow_markers = 0  # how many ends of transactions have markers that come late
        self.expire_next = ""  # the deed at which what is open turns out to have been open for too long

    # What is asked

    def answer(self, who: object, request: Any) -> Any:
        """Do what a request asks for, at the moment when it arrives."""
        if isinstance(request, Produce):
            return self._produce(request)
        if isinstance(request, InitProducerIdRequest):
            return self._begin(who, request.build(InitProducerIdRequest_v0))
        if isinstance(request, AddPartitionsToTxnRequest):
            return self._include(request.build(AddPartitionsToTxnRequest_v0))
        assert isinstance(request, EndTxnRequest)
        return SimpleNamespace(error_code=self._end(request.build(EndTxnRequest_v0)))

    def new_identity(self) -> int:
        """Give a producer id that nobody has."""
        self._identities += 1
        return self._identities

    def _begin(self, who: object, request: Any) -> Any:
        name = request.transactional_id
        if name is None:
            return SimpleNamespace(error_code=0, producer_id=self.new_identity(), producer_epoch=0)
        held = self.held.get(name)
        if held is None:
            held = self.held[name] = Held(self.new_identity(), -1)
        if held.open:
            held.epoch += 1
            self._finish(held, commit=False)
        if held.ending:
            return SimpleNamespace(error_code=CONCURRENT, producer_id=-1, producer_epoch=-1)
        held.epoch, held.holder, held.last, held.expired = held.epoch + 1, who, None, False
        return SimpleNamespace(error_code=0, producer_id=held.identity, producer_epoch=held.epoch)

    def _judge(self, deed: str, request: Any) -> tuple[Held | None, int]:
        held = self.held.get(request.transactional_id)
        if held is None or held.identity != request.producer_id:
            return None, NO_SUCH_ID
        if held.open and self.expire_next == deed and request.producer_epoch == held.epoch:
            self.expire_next = ""
            self._expire(held, held.epoch)
        if held.epoch != request.producer_epoch:
            self.reached("timed_out_transaction" if held.expired else "fenced_zombie")
            return held, FENCED
        return held, 0

    def _include(self, request: Any) -> Any:
        held, error = self._judge("include", request)
        wanted = {(topic, partition) for topic, partitions in request.topics for partition in partitions}
        lacking = {where for where in wanted if not self._there(where)}
        if held is not None and not error and held.ending:
            error = CONCURRENT
        if held is not None and not error and not lacking:
            if not held.open:
                held.timer = self.loop.call_later(10.0, self._expire, held, held.epoch, context=NOBODY)
            held.open |= wanted
        errors = [
            (topic, [(partition, error or self._word(lacking, (topic, partition))) for partition in partitions])
            for topic, partitions in request.topics
        ]
        return SimpleNamespace(errors=errors)

    @staticmethod
    def _word(lacking: set[Where], where: Where) -> int:
        return NOT_THERE if where in lacking else 55 if lacking else 0

    def _there(self, where: Where) -> bool:
        return where[0] in self.cluster.topics and where[1] < len(self.cluster.topics[where[0]][1])

    def _end(self, request: Any) -> int:
        held, error = self._judge("commit", request)
        if held is None or error:
            return error
        if held.open:
            self._finish(held, commit=request.transaction_result)
            return 0
        if held.last is not bool(request.transaction_result):
            return NO_SUCH_STATE
        return CONCURRENT if held.ending else 0

    # Transactions end

    def _expire(self, held: Held, epoch: int) -> None:
        """It was open for too long: it is aborted, and its producer fenced."""
        if held.open and held.epoch == epoch:
            held.epoch += 1
            held.expired = True
            self._finish(held, commit=False)

    def _finish(self, held: Held, *, commit: bool) -> None:
        """Decide it now; its markers are written one after the other."""
        if held.timer is not None:
            held.timer.cancel()
        held.ending, held.open, held.last = held.open, set(), commit
        late = self.slow_markers > 0
        self.slow_markers -= late
        for where in sorted(held.ending):
            pause = self.dice.choice((0.3, 2.0, 6.0) if late else (0.0, 0.001, 0.001, 0.005))
            self.loop.call_later(pause, self._mark, held, where, held.epoch, commit, late, context=NOBODY)

    def _mark(self, held: Held, where: Where, epoch: int, commit: bool, late: bool) -> None:  # noqa: FBT001
        if self._there(where):
            if late and held.identity in self.cluster.at(*where).open:
                self.reached("late_markers")
            self.cluster.at(*where).mark(held.identity, commit=commit)
            known = self._known[where].get(held.identity)
            if known is None or known.epoch < epoch:
                self._known[where][held.identity] = Known(epoch)
        held.ending.discard(where)

    def ending(self) -> bool:
        """Tell whether anything is open, or markers are still to be written."""
        return any(each.open or each.ending for each in self.held.values())

    def forget(self, where: Where) -> None:
        """A log was made anew: its leader knows no producer."""
        self._known.pop(where, None)

    # What leaders judge

    def _produce(self, request: Produce) -> Any:
        topics = [
            (topic, [(partition, *self._store(topic, partition, batch, request), -1) for partition, batch in parts])
            for topic, parts in request.topics.items()
        ]
        return SimpleNamespace(topics=topics)

    def _store(self, topic: str, partition: int, batch: bytes, request: Produce) -> tuple[int, int]:
        where = (topic, partition)
        if not self._there(where):
            return NOT_THERE, -1
        header = read_header(batch)
        identity, epoch, sequence = header.producer_id, header.producer_epoch, header.base_sequence
        known = self._known[where].get(identity) or Known(epoch)
        if epoch < known.epoch:
            self.reached("fenced_batch")
            return FENCED, -1
        if epoch > known.epoch:
            known = Known(epoch)
        if sequence < known.next:
            found = [base for first, count, base in known.batches if (first, count) == (sequence, header.record_count)]
            return (0, found[0]) if found else (DUPLICATE, -1)
        error = OUT_OF_ORDER if sequence > known.next else self._judge_batch(where, request, identity, epoch)
        if error:
            return error, -1
        base = self.cluster.store(topic, partition, batch)
        if request.transactional_id is not None:
            self.cluster.at(*where).open.setdefault(identity, base)
        known.batches.append((sequence, header.record_count, base))
        known.next = sequence + header.record_count
        self._known[where][identity] = known
        return 0, base

    def _judge_batch(self, where: Where, request: Produce, identity: int, epoch: int) -> int:
        if request.transactional_id is None:
            if where[0] in self.once:
                message = f"written to {where[0]} outside of a transaction"
                raise AssertionError(message)
            return 0
        held = self.held.get(request.transactional_id)
        if held is None or held.identity != identity:
            return NO_SUCH_ID
        if held.open and held.epoch == epoch and self.expire_next == "produce":
            self.expire_next = ""
            self._expire(held, epoch)
        # Until the marker of an abort is there, a leader takes what the abort will take back.
        taken = where in held.open | held.ending and (held.epoch == epoch or not held.last)
        return 0 if taken else NO_SUCH_STATE  # as brokers do that verify (KIP-890)
