"""Whole batches to a cluster with acks=all: one in flight a partition, repeated for as long as it takes.

On Kafka a repeated batch is stored once, by producer id and sequence (KIP-98); the embedded broker may store it twice.
One writer carries the batches of many senders: its own, and those of the transactions that it gives out.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from aiokafka import errors
from aiokafka.structs import TopicPartition

from sealwire.agents.frames import ProduceBatches, Produced, read_produced
from sealwire.agents.header import restamp
from sealwire.agents.leaders import Leaders
from sealwire.agents.parcel import Parcel, RecordMetadata, Sender, Stopped
from sealwire.agents.producer import (
    DOUBTFUL,
    DOUBTFUL_TRIES,
    DUPLICATE,
    FOR_GOOD,
    LOST_PRODUCER,
    REPLICAS,
    STALE,
    TOO_LARGE,
    UNKNOWN,
    Doubt,
    Producers,
    Refused,
    doubt,
)
from sealwire.agents.rights import TOPIC_FORBIDDEN, Rights
from sealwire.agents.single import record_batch, record_frame, seal_frame
from sealwire.agents.transaction import LaneTransactions
from sealwire.agents.troubles import Troubles

if TYPE_CHECKING:
    from sealwire.agents.settings import Cluster

__all__ = ["RawWriter", "RecordMetadata", "Refused", "Stopped", "record_batch", "record_frame", "seal_frame"]

_BROKER_TIMEOUT_MS = 8_000  # how long a broker may wait for its replicas: less than the client waits for the broker
_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds


class RawWriter:
    """Produces ready batches. ``in_flight``: requests at a time for each broker, never two for one partition."""

    def __init__(
        self, cluster: Cluster, client_id: str, *, request_bytes: int = 4 * 1024 * 1024, in_flight: int = 2
    ) -> None:
        self._cluster = cluster
        self._request_bytes, self._in_flight = request_bytes, in_flight
        self._producers = Producers()
        self._queues: dict[TopicPartition, deque[Parcel]] = {}
        self._sent: set[TopicPartition] = set()
        self._requests: dict[int, set[asyncio.Task[None]]] = defaultdict(set)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._troubles = Troubles(f"writing to {cluster.bootstrap}")
        self.rights = Rights(cluster.bootstrap)
        self.leaders = Leaders(cluster, client_id, lambda: self._queues, self._wake.set, self.rights, self._troubles)

    @property
    def troubles(self) -> dict[tuple[str, int], str]:
        """What is being tried again, and the broker's last word on it."""
        return {(where.topic, where.partition): words for where, words in self._troubles.words.items()}

    @property
    def ended(self) -> list[str]:
        """Name the loops of ours that are no more, though nobody stopped us."""
        return [f"the writer to {self._cluster.bootstrap}"] if any(task.done() for task in self._tasks) else []

    async def start(self) -> None:
        """Connect; waits for as long as no broker answers."""
        looking = await self.leaders.start()
        if not self._cluster.embedded:
            await self._producers.begin(self.leaders.connected, self.rights)
        self._tasks = [asyncio.create_task(self._pump()), looking]

    async def stop(self) -> None:
        """Stop at once; what was not answered for ends as Stopped."""
        tasks = [*self._tasks, *(task for tasks in self._requests.values() for task in tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks = []
        self._troubles.close()
        for queue in self._queues.values():
            for item in queue:
                if not item.future.done():
                    item.future.set_exception(Stopped())
        self._queues.clear()
        await self.leaders.stop()

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        """Store one batch and return its place; batches of one partition are stored in the order of the calls.

        Its envelope fields are stamped here, in place where it is writable, so it must be left alone until this
        returns. Whatever may pass is tried again for as long as it takes; raises Refused, and Stopped after stop().
        Cancelling the wait does not take the batch back.
        """
        return await self.put(topic, partition, batch, self._producers)

    def transactions(self, transactional_id: str) -> LaneTransactions:
        """Return a producer of transactions that writes through us."""
        return LaneTransactions(self, transactional_id)

    async def put(
        self, topic: str, partition: int, batch: bytearray | memoryview | bytes, sender: Sender
    ) -> RecordMetadata:
        """Store one batch of a sender's, as produce() does; raises Doubt, too, for one of a transaction."""
        if not self._tasks:
            raise Stopped
        view = memoryview(batch)
        if view.readonly:
            view = memoryview(bytearray(view))
        item = Parcel(view, asyncio.get_running_loop().create_future(), sender)
        item.future.add_done_callback(_looked_at)
        where = TopicPartition(topic, partition)
        self.leaders.want(topic)
        self._queues.setdefault(where, deque()).append(item)
        self._wake.set()
        return await asyncio.shield(item.future)

    def drop(self, sender: Sender, error: Exception) -> None:
        """Send nothing more of a sender's: what waits ends as ``error``, what is on its way when it is answered."""
        for where in list(self._queues):
            queue = self._queues[where]
            for item in [each for each in queue if each.sender is sender]:
                if where in self._sent and item is queue[0]:
                    continue
                queue.remove(item)
                self._troubles.forget(where)
                if not item.future.done():
                    item.future.set_exception(error)
            if not queue:
                del self._queues[where]
        self._wake.set()

    # What is ready goes out

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for (node, _sender), items in self._ready(loop.time()).items():
                task = asyncio.create_task(self._send(node, items))
                self._requests[node].add(task)
                task.add_done_callback(functools.partial(self._request_over, node))

    def _request_over(self, node: int, task: asyncio.Task[None]) -> None:
        """Only now is there room for the next request, so only now may the pump look again."""
        self._requests[node].discard(task)
        self._wake.set()

    def _ready(self, now: float) -> dict[tuple[int, Sender], dict[TopicPartition, Parcel]]:
        chosen: dict[tuple[int, Sender], dict[TopicPartition, Parcel]] = {}
        sizes: dict[tuple[int, Sender], int] = defaultdict(int)
        room = {node: self._in_flight - len(tasks) for node, tasks in self._requests.items()}
        for where, queue in self._queues.items():
            if where in self._sent:
                continue
            item = queue[0]
            if item.not_before > now:
                asyncio.get_running_loop().call_later(item.not_before - now, self._wake.set)
                continue
            node = self.leaders.of(where)
            if node is None:
                continue
            request = (node, item.sender)
            if request not in chosen:
                if room.setdefault(node, self._in_flight) <= 0:
                    continue
                room[node] -= 1
                chosen[request] = {}
            elif sizes[request] + len(item.batch) > self._request_bytes:
                continue
            chosen[request][where] = item
            sizes[request] += len(item.batch)
            self._sent.add(where)
        return chosen

    async def _send(self, node: int, items: dict[TopicPartition, Parcel]) -> None:
        topics: dict[str, list[tuple[int, memoryview]]] = defaultdict(list)
        sender = next(iter(items.values())).sender
        transaction = sender.transactional_id
        for where, item in items.items():
            item.tries += 1
            restamp(item.batch, *sender.stamp(where), transactional=transaction is not None)
            topics[where.topic].append((where.partition, item.batch))
        request = ProduceBatches(topics, timeout_ms=_BROKER_TIMEOUT_MS, transactional_id=transaction)
        answers: dict[tuple[str, int], Produced] = {}
        asked = asyncio.get_running_loop().time()
        words = "no answer for this partition"
        try:
            answers = read_produced(await self.leaders.connected().send(node, request))
        except Exception as error:  # noqa: BLE001 (whatever a broker does wrong: the batch is sent again)
            words = repr(error)
        lost: dict[TopicPartition, Parcel] = {}
        for where, item in items.items():
            answer = answers.get((where.topic, where.partition))
            if answer is None:
                self._again(where, item, words, stale=True)
            elif answer.error in LOST_PRODUCER and transaction is None:
                lost[where] = item
            else:
                self._answered(where, item, answer, asked)
        # From here on another request may take the next batches of all but those whose producer is lost.
        self._sent.difference_update(items.keys() - lost.keys())
        self._wake.set()
        for where, item in lost.items():
            await self._begin_anew(where, item)

    async def _begin_anew(self, where: TopicPartition, item: Parcel) -> None:
        try:
            await self._producers.begin_anew(where, self.leaders.connected, self.rights)
        except Refused as refusal:
            self._fail(where, item, refusal)
        else:
            self._again(where, item, "the broker does not know the producer", stale=False)
        finally:
            self._sent.discard(where)
            self._wake.set()

    def _answered(self, where: TopicPartition, item: Parcel, answer: Produced, asked: float) -> None:
        if answer.error in {0, DUPLICATE}:
            item.sender.stored(where, item.count)
            self.rights.granted(where.topic, asked=asked)
            self._troubles.over(where)
            self._done(where)
            if not item.future.done():
                item.future.set_result(RecordMetadata(where.topic, where.partition, answer.base_offset))
            return
        item.doubts += answer.error in DOUBTFUL
        error = errors.for_code(answer.error)
        words = answer.words or str(error.message)
        in_transaction = item.sender.transactional_id is not None
        tried = item.doubts >= DOUBTFUL_TRIES
        if in_transaction and (ends := doubt(answer.error, words)):
            self._fail(where, item, ends)
        elif in_transaction and tried and answer.error == UNKNOWN:
            self._fail(where, item, Doubt(f"{where.topic}[{where.partition}]: {words}"))
        elif answer.error in FOR_GOOD or tried:
            words = answer.words or f"{error.message}: {error.description}"
            too_large = answer.error in TOO_LARGE
            self._fail(where, item, Refused(f"{where.topic}[{where.partition}]: {words}", too_large=too_large))
        else:
            self._again(where, item, words, stale=answer.error in STALE, error=answer.error)

    def _fail(self, where: TopicPartition, item: Parcel, error: Exception) -> None:
        self._done(where)
        self._troubles.over(where)
        if not item.future.done():
            item.future.set_exception(error)

    def _done(self, where: TopicPartition) -> None:
        self._queues[where].popleft()
        if not self._queues[where]:
            del self._queues[where]

    def _again(self, where: TopicPartition, item: Parcel, words: str, *, stale: bool, error: int = 0) -> None:
        if item.sender.closed:
            self._fail(where, item, Doubt(words))
            return
        if error == TOPIC_FORBIDDEN:
            self._troubles.known(where, self.rights.refused("Write", where.topic))
        else:
            self._troubles.note(where, words, "replicas" if error in REPLICAS else "")
        item.not_before = asyncio.get_running_loop().time() + self._backoff(item.tries)
        if stale:
            self.leaders.stale()
        self._wake.set()

    @staticmethod
    def _backoff(tries: int) -> float:
        return float(min(_BACKOFF * 2 ** min(tries - 1, 10), _BACKOFF_TO))


def _looked_at(future: asyncio.Future[RecordMetadata]) -> None:
    if not future.cancelled():
        future.exception()
