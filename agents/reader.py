"""One groupless reader a worker: raw batches of every seated partition, by a fetch loop of our own.

Each leader has at most two fetches in flight, for disjoint partitions and on a connection each, so that a long poll for
idle partitions never keeps a busy one waiting; a third connection is for newcomers and for questions about offsets.
After a small answer its partitions rest for ``linger_ms`` before they are asked for again: an idle topic costs little,
a busy one comes in large pieces.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import errors
from aiokafka.structs import TopicPartition

from sealwire.agents import client as clients
from sealwire.agents import offsets
from sealwire.agents.budget import Budget
from sealwire.agents.driver import FRAME_CAP
from sealwire.agents.node import Manner, Node
from sealwire.agents.rights import Rights
from sealwire.agents.seat import Fetched, OffsetOutOfRange, ReadRefused, Seat
from sealwire.agents.troubles import NO_LEADER, SAY_AFTER, Troubles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.settings import Cluster

__all__ = ["Budget", "Fetched", "OffsetOutOfRange", "RawReader", "ReadRefused", "Seat"]

_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds
_RANGE_TRIES = 20
_EMBEDDED_WAIT_MS = 40  # the embedded broker looks for news only at half of the wait and at its end
_JUDGING = 60.0  # seconds: until judged, however long that takes


class RawReader:
    """Reads raw batches of seated partitions from one cluster.

    ``fetch_bytes`` bounds an answer, ``frame_cap`` what a broker may send in spite of that, ``budget`` what is in
    flight; ``read_committed`` stops at the last stable offset and brings the list of aborted transactions;
    ``check_crc`` is for trusted brokers (what an envelope holds is proved otherwise).
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        client_id: str = "sealwire-reader",
        linger_ms: int = 10,
        max_wait_ms: int = 500,
        fetch_bytes: int = 4 * 1024 * 1024,
        frame_cap: int = FRAME_CAP,
        budget: Budget | None = None,
        read_committed: bool = True,
        check_crc: bool = True,
    ) -> None:
        self.cluster = cluster
        self.budget = budget or Budget(64 * 1024 * 1024)
        self._client_id, self._frame_cap = client_id, frame_cap
        fetch_bytes = min(fetch_bytes, max(self.budget.total // 4, 1))
        if cluster.embedded:
            max_wait_ms = min(max_wait_ms, _EMBEDDED_WAIT_MS)
        self._manner = Manner(linger_ms / 1000, max_wait_ms, fetch_bytes, int(read_committed), check_crc)
        self.client: BoundedClient | None = None
        self.rights = Rights(cluster.bootstrap)
        self.troubles = Troubles(f"reading from {cluster.bootstrap}")
        self._seats: set[Seat] = set()
        self._nodes: dict[int, Node] = {}
        self._lost = asyncio.Event()  # some seat has no leader
        self._metadata_task: asyncio.Task[None] | None = None
        self._judging: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect; waits for as long as no broker answers."""
        self.client = await clients.connect(self.cluster, self._client_id, frame_cap=self._frame_cap)
        self._metadata_task = asyncio.create_task(self._find_leaders())

    @property
    def away(self) -> str:
        """Say why nothing at all can be read; empty while something can, or nothing is asked for."""
        words = [seat.trouble for seat in self._seats]
        return words[0] if words and all(words) else ""

    @property
    def ended(self) -> list[str]:
        """Name the loops of ours that are no more, though nobody stopped us."""
        tasks = [task for node in self._nodes.values() for task in node.tasks]
        tasks += [self._metadata_task] if self._metadata_task else []
        return [f"the reader of {self.cluster.bootstrap}"] if any(task.done() for task in tasks) else []

    async def stop(self) -> None:
        """End every seat and every connection."""
        tasks = [task for node in self._nodes.values() for task in node.tasks]
        tasks += [*self._judging, *([self._metadata_task] if self._metadata_task else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.troubles.close()
        for seat in list(self._seats):
            self.unseat(seat)
        self._nodes.clear()
        if self.client is not None:
            await clients.close(self.client)
            self.client = None

    def seat(
        self,
        topic: str,
        partition: int,
        offset: int,
        take: Callable[[Fetched], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> Seat:
        """Read a partition from ``offset`` on, until unseat().

        Every answer goes to ``take``, one at a time and in order; while it waits, at most one more is fetched ahead.
        When reading cannot go on, ``failed`` is called once, with OffsetOutOfRange, ReadRefused or what take() raised.
        """
        seat = Seat(self, TopicPartition(topic, partition), offset, take, failed)
        self._seats.add(seat)
        self._place(seat)
        return seat

    def unseat(self, seat: Seat) -> None:
        """Stop reading for this seat; nothing is delivered to it any more and what it held is given back."""
        self._seats.discard(seat)
        self.troubles.forget(seat.where)
        for node in self._nodes.values():
            node.seats.discard(seat)
        seat.end()

    def nudge(self, seat: Seat) -> None:
        """Look again at what may be asked for."""
        node = self._nodes.get(-1 if seat.leader is None else seat.leader)
        if node is not None:
            node.nudge()

    # Which partition is asked for where

    def _place(self, seat: Seat) -> None:
        """Put a seat to its leader's, or have the leader looked for."""
        leader = self.client.cluster.leader_for_partition(seat.where) if self.client else None
        if seat.leader is not None and seat.leader in self._nodes:
            self._nodes[seat.leader].seats.discard(seat)
        if leader is None or leader == -1:
            seat.leader = None
            self._lost.set()
            return
        seat.leader = leader
        node = self._nodes.get(leader)
        if node is None:
            node = self._nodes[leader] = Node(self, leader, self._manner)
        node.add(seat)
        node.nudge()

    async def _find_leaders(self) -> None:
        pause = _BACKOFF
        while True:
            await self._lost.wait()
            self._lost.clear()
            good = await self._refresh()
            lost = [seat for seat in self._seats if seat.leader is None]
            if good:
                for seat in lost:
                    self._place(seat)
            still = [seat for seat in lost if seat.leader is None]
            forbidden = self.client.cluster.unauthorized_topics if self.client else ()
            for seat in still:
                if seat.topic in forbidden:
                    seat.trouble = self.rights.refused("Read", seat.topic)
                    continue
                self.troubles.note(seat.where, NO_LEADER, after=SAY_AFTER)
                seat.trouble = NO_LEADER
            pause = min(pause * 2, _BACKOFF_TO) if still else _BACKOFF
            if still:
                self._lost.set()
            await asyncio.sleep(pause)

    async def _refresh(self) -> bool:
        client = self.client
        topics = {seat.topic for seat in self._seats}
        if client is None or not topics:
            return False
        try:
            async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                await client.set_topics(topics)
                return bool(await client.force_metadata_update())
        except TimeoutError:
            # Its own metadata task may have died of a broken answer: only a new client gets it back.
            self.client = await clients.connect(self.cluster, self._client_id, frame_cap=self._frame_cap)
            await clients.close(client)
        except errors.KafkaError:
            pass
        return False

    def lose(self, seats: list[Seat], pause: float, words: str) -> None:
        """Have the leaders of these looked for, and let them rest for ``pause`` seconds."""
        until = asyncio.get_running_loop().time() + pause
        for seat in seats:
            if seat.alive:
                if seat.leader in self._nodes:
                    self._nodes[seat.leader].seats.discard(seat)
                seat.leader = None
                seat.not_before = until
                seat.trouble = seat.trouble or words
        self._lost.set()

    def judge_range(self, seat: Seat, offset: int) -> None:
        """Find out what an offset is out of; meanwhile the seat rests."""
        seat.not_before = asyncio.get_running_loop().time() + _JUDGING
        task = asyncio.create_task(self._judge_range(seat, offset))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    async def _judge_range(self, seat: Seat, offset: int) -> None:
        """Ask where the log begins and ends: a broker that has just become leader may be behind for a moment."""
        try:
            log_start = await self.log_start(seat.topic, seat.partition)
            end = await self.end_offset(seat.topic, seat.partition)
        except ReadRefused as error:
            seat.fail(error)
            return
        if log_start <= offset <= end and seat.tries < _RANGE_TRIES:
            seat.not_before = asyncio.get_running_loop().time() + _BACKOFF
            self.nudge(seat)
        else:
            seat.fail(OffsetOutOfRange(seat.topic, seat.partition, offset, log_start, end))

    # Where a log begins and ends

    async def log_start(self, topic: str, partition: int) -> int:
        """Ask for the first offset of a partition, for as long as it takes. Raises ReadRefused."""
        return await offsets.log_start(self._connected, self.rights, TopicPartition(topic, partition))

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        """Ask for the offset after the last record, or with ``committed`` for the last stable offset.

        Raises ReadRefused; otherwise it is asked for as long as it takes.
        """
        where = TopicPartition(topic, partition)
        return await offsets.end_offset(
            self._connected, self.rights, where, committed=committed, embedded=self.cluster.embedded
        )

    async def offset_at(self, topic: str, partition: int, time: int) -> int | None:
        """Ask for the offset of the first record of this time (ms) or later; None where there is none. As above."""
        return await offsets.offset_at(self._connected, self.rights, TopicPartition(topic, partition), time)

    def _connected(self) -> BoundedClient:
        if self.client is None:
            message = "the reader is stopped"
            raise ReadRefused(message)
        return self.client
