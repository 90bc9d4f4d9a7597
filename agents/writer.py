"""Whole batches to a cluster with acks=all: one in flight a partition, repeated for as long as it takes.

On Kafka a repeated batch is stored once, by producer id and sequence (KIP-98); the embedded broker may store it twice.
"""

from __future__ import annotations

import asyncio
import functools
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from aiokafka import errors
from aiokafka.structs import TopicPartition

from sealwire.agents import client as clients
from sealwire.agents.frames import ProduceBatches, Produced, read_produced
from sealwire.agents.header import restamp
from sealwire.agents.parcel import Parcel, RecordMetadata, Stopped
from sealwire.agents.producer import (
    DOUBTFUL,
    DOUBTFUL_TRIES,
    DUPLICATE,
    FOR_GOOD,
    LOST_PRODUCER,
    REPLICAS,
    STALE,
    TOO_LARGE,
    Producers,
    Refused,
)
from sealwire.agents.rights import TOPIC_FORBIDDEN, Rights
from sealwire.agents.single import record_batch, record_frame, seal_frame
from sealwire.agents.troubles import NO_LEADER, SAY_AFTER, Troubles

if TYPE_CHECKING:
    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.settings import Cluster

__all__ = ["RawWriter", "RecordMetadata", "Refused", "Stopped", "record_batch", "record_frame", "seal_frame"]

_BROKER_TIMEOUT_MS = 8_000  # how long a broker may wait for its replicas: less than the client waits for the broker
_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds


class RawWriter:
    """Produces ready batches. ``in_flight``: requests at a time for each broker, never two for one partition."""

    def __init__(
        self,
        cluster: Cluster,
        client_id: str,
        transactional_id: str | None = None,
        *,
        request_bytes: int = 4 * 1024 * 1024,
        in_flight: int = 2,
    ) -> None:
        if transactional_id is not None:
            message = "a transaction around the batches comes with exactly-once delivery"
            raise NotImplementedError(message)
        self._cluster, self._client_id, self._transactional_id = cluster, client_id, transactional_id
        self._request_bytes, self._in_flight = request_bytes, in_flight
        self._client: BoundedClient | None = None
        self._producers = Producers()
        self._queues: dict[TopicPartition, deque[Parcel]] = {}
        self._sent: set[TopicPartition] = set()
        self._requests: dict[int, set[asyncio.Task[None]]] = defaultdict(set)
        self._topics: set[str] = set()
        self._wake, self._stale = asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._troubles = Troubles(f"writing to {cluster.bootstrap}")
        self.rights = Rights(cluster.bootstrap)

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
        self._client = await clients.connect(self._cluster, self._client_id)
        if not self._cluster.embedded:
            await self._producers.begin(self._connected, self.rights)
        self._tasks = [asyncio.create_task(self._pump()), asyncio.create_task(self._refresh())]

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
        if self._client is not None:
            await clients.close(self._client)
            self._client = None

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        """Store one batch and return its place; batches of one partition are stored in the order of the calls.

        Its envelope fields are stamped here, in place where it is writable, so it must be left alone until this
        returns. Whatever may pass is tried again for as long as it takes; raises Refused, and Stopped after stop().
        Cancelling the wait does not take the batch back.
        """
        if not self._tasks:
            raise Stopped
        view = memoryview(batch)
        if view.readonly:
            view = memoryview(bytearray(view))
        item = Parcel(view, asyncio.get_running_loop().create_future())
        item.future.add_done_callback(_looked_at)
        where = TopicPartition(topic, partition)
        if topic not in self._topics:
            self._topics.add(topic)
            self._stale.set()
        self._queues.setdefault(where, deque()).append(item)
        self._wake.set()
        return await asyncio.shield(item.future)

    # What is ready goes out

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            for node, items in self._ready(loop.time()).items():
                task = asyncio.create_task(self._send(node, items))
                self._requests[node].add(task)
                task.add_done_callback(functools.partial(self._request_over, node))

    def _request_over(self, node: int, task: asyncio.Task[None]) -> None:
        """Only now is there room for the next request, so only now may the pump look again."""
        self._requests[node].discard(task)
        self._wake.set()

    def _ready(self, now: float) -> dict[int, dict[TopicPartition, Parcel]]:
        assert self._client is not None  # noqa: S101
        chosen: dict[int, dict[TopicPartition, Parcel]] = {}
        sizes: dict[int, int] = defaultdict(int)
        for where, queue in self._queues.items():
            if where in self._sent:
                continue
            item = queue[0]
            if item.not_before > now:
                asyncio.get_running_loop().call_later(item.not_before - now, self._wake.set)
                continue
            node = self._client.cluster.leader_for_partition(where)
            if node is None or node == -1:
                self._stale.set()
                continue
            full = node in chosen and sizes[node] + len(item.batch) > self._request_bytes
            if full or len(self._requests[node]) >= self._in_flight:
                continue
            chosen.setdefault(node, {})[where] = item
            sizes[node] += len(item.batch)
            self._sent.add(where)
        return chosen

    async def _send(self, node: int, items: dict[TopicPartition, Parcel]) -> None:
        topics: dict[str, list[tuple[int, memoryview]]] = defaultdict(list)
        for where, item in items.items():
            item.tries += 1
            restamp(item.batch, *self._producers.stamp(where))
            topics[where.topic].append((where.partition, item.batch))
        request = ProduceBatches(topics, timeout_ms=_BROKER_TIMEOUT_MS, transactional_id=self._transactional_id)
        answers: dict[tuple[str, int], Produced] = {}
        words = "no answer for this partition"
        try:
            answers = read_produced(await self._connected().send(node, request))
        except Exception as error:  # noqa: BLE001 (whatever a broker does wrong: the batch is sent again)
            words = repr(error)
        lost: dict[TopicPartition, Parcel] = {}
        for where, item in items.items():
            answer = answers.get((where.topic, where.partition))
            if answer is None:
                self._again(where, item, words, stale=True)
            elif answer.error in LOST_PRODUCER:
                lost[where] = item
            else:
                self._answered(where, item, answer)
        # From here on another request may take the next batches of all but those whose producer is lost.
        self._sent.difference_update(items.keys() - lost.keys())
        self._wake.set()
        for where, item in lost.items():
            await self._begin_anew(where, item)

    async def _begin_anew(self, where: TopicPartition, item: Parcel) -> None:
        try:
            await self._producers.begin_anew(where, self._connected, self.rights)
        except Refused as refusal:
            self._fail(where, item, refusal)
        else:
            self._again(where, item, "the broker does not know the producer", stale=False)
        finally:
            self._sent.discard(where)
            self._wake.set()

    def _answered(self, where: TopicPartition, item: Parcel, answer: Produced) -> None:
        if answer.error in {0, DUPLICATE}:
            self._producers.stored(where, item.count)
            self.rights.granted(where.topic)
            self._troubles.over(where)
            self._done(where)
            if not item.future.done():
                item.future.set_result(RecordMetadata(where.topic, where.partition, answer.base_offset))
            return
        item.doubts += answer.error in DOUBTFUL
        error = errors.for_code(answer.error)
        words = answer.words or str(error.message)
        if answer.error in FOR_GOOD or item.doubts >= DOUBTFUL_TRIES:
            words = answer.words or f"{error.message}: {error.description}"
            too_large = answer.error in TOO_LARGE
            self._fail(where, item, Refused(f"{where.topic}[{where.partition}]: {words}", too_large=too_large))
        else:
            self._again(where, item, words, stale=answer.error in STALE, error=answer.error)

    def _fail(self, where: TopicPartition, item: Parcel, error: Refused) -> None:
        self._done(where)
        self._troubles.over(where)
        if not item.future.done():
            item.future.set_exception(error)

    def _done(self, where: TopicPartition) -> None:
        self._queues[where].popleft()
        if not self._queues[where]:
            del self._queues[where]

    def _again(self, where: TopicPartition, item: Parcel, words: str, *, stale: bool, error: int = 0) -> None:
        if error == TOPIC_FORBIDDEN:
            self._troubles.known(where, self.rights.refused("Write", where.topic))
        else:
            self._troubles.note(where, words, "replicas" if error in REPLICAS else "")
        item.not_before = asyncio.get_running_loop().time() + self._backoff(item.tries)
        if stale:
            self._stale.set()
        self._wake.set()

    @staticmethod
    def _backoff(tries: int) -> float:
        return float(min(_BACKOFF * 2 ** min(tries - 1, 10), _BACKOFF_TO))

    def _connected(self) -> BoundedClient:
        if self._client is None:
            raise Stopped
        return self._client

    # Who leads what

    async def _refresh(self) -> None:
        pause = _BACKOFF
        while True:
            await self._stale.wait()
            self._stale.clear()
            good = await self._refresh_once()
            self._wake.set()
            pause = _BACKOFF if good else min(pause * 2, _BACKOFF_TO)
            await asyncio.sleep(pause)

    async def _refresh_once(self) -> bool:
        assert self._client is not None  # noqa: S101
        try:
            async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                self._client.set_topics(self._topics)
                good = await self._client.force_metadata_update()
        except TimeoutError:
            await self._replace_client()
            return False
        except errors.KafkaError:
            return False
        if not good:
            return False
        lost = [where for where in self._queues if self._client.cluster.leader_for_partition(where) in {None, -1}]
        for where in lost:
            if where.topic in self._client.cluster.unauthorized_topics:
                self._troubles.known(where, self.rights.refused("Write", where.topic))
            else:
                self._troubles.note(where, NO_LEADER, after=SAY_AFTER)
        return not lost

    async def _replace_client(self) -> None:
        """Throw away a client whose metadata never comes: its own task may have died of a broken answer."""
        old, self._client = self._client, await clients.connect(self._cluster, self._client_id)
        if old is not None:
            await clients.close(old)


def _looked_at(future: asyncio.Future[RecordMetadata]) -> None:
    if not future.cancelled():
        future.exception()
