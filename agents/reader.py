"""One groupless reader a worker: raw batches of every seated partition, by a fetch loop of our own.

Each leader has at most two fetches in flight, for disjoint partitions and on a connection each, so that a long poll for
idle partitions never keeps a busy one waiting. After a small answer its partitions rest for ``linger_ms`` before they
are asked for again: an idle topic costs little, a busy one comes in large pieces.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from sealwire.agents import client as clients
from sealwire.agents.batches import Corrupt, Scan, scan
from sealwire.agents.budget import Budget
from sealwire.agents.driver import FRAME_CAP
from sealwire.agents.frames import FetchBatches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.frames import FetchAnswer, PartitionAnswer
    from sealwire.agents.settings import Cluster

__all__ = ["Budget", "Fetched", "OffsetOutOfRange", "RawReader", "ReadRefused", "Seat"]

_log = logging.getLogger(__name__)

_SHORT_WAIT_MS = 5  # of a fetch that leaves out partitions which nobody else is asking for
_SMALL = 64 * 1024  # bytes: an answer below is followed by a linger
_AHEAD = 2  # answers that a seat may have undelivered, the one being taken included
_BACKOFF, _BACKOFF_TO = 0.05, 5.0  # seconds
_DAMAGED_TRIES = 5
_RANGE_TRIES = 20
_OUT_OF_RANGE = 1
_REFUSED = {29, 17}  # not authorised, invalid topic
_EARLIEST, _LATEST = -2, -1

_CONNECTIONS = (ConnectionGroup.DEFAULT, ConnectionGroup.COORDINATION)


class OffsetOutOfRange(Exception):
    """The wanted offset is not in the log; ``log_start`` is its first one now, ``end`` the one after the last."""

    def __init__(self, topic: str, partition: int, wanted: int, log_start: int, end: int) -> None:
        super().__init__(f"{topic}[{partition}]: offset {wanted} is not in [{log_start}, {end})")
        self.wanted, self.log_start, self.end = wanted, log_start, end


class ReadRefused(Exception):
    """The broker will not let us read, or serves damaged bytes again and again; the text says which."""


class Fetched:
    """What one fetch brought for one seat. Release it when its bytes are needed no more.

    ``first`` is the offset asked for, ``next`` the one that will be asked for; ``aborted`` belongs to batches.cut.
    """

    __slots__ = ("_held", "aborted", "first", "high_watermark", "last_stable", "log_start", "scan", "seat")

    def __init__(self, seat: Seat, first: int, found: Scan, answer: PartitionAnswer) -> None:
        self.seat, self.first, self.scan = seat, first, found
        self.aborted = answer.aborted
        self.high_watermark, self.last_stable = answer.high_watermark, answer.last_stable
        self.log_start = answer.log_start
        self._held = found.size

    @property
    def data(self) -> memoryview:
        """The whole raw batches."""
        return self.scan.data

    @property
    def next(self) -> int:
        """The offset after the last batch, whether or not a record is left there."""
        return self.scan.next

    @property
    def size(self) -> int:
        """Bytes of the batches."""
        return self.scan.size

    def release(self, count: int | None = None) -> None:
        """Give ``count`` bytes back to the budget, or all that is left; more than was held is ignored."""
        given = self._held if count is None else min(count, self._held)
        self._held -= given
        self.seat._release(given)  # noqa: SLF001


class Seat:
    """One partition that is being read for someone. Compare seats as objects: a new one is another, same offset or not.

    ``high_watermark``, ``last_stable`` and ``log_start`` are the broker's last word (-1: none yet), asked for at
    ``answered_at`` (the loop's clock, seconds); ``trouble`` is why nothing comes, "" when all is well.
    """

    def __init__(
        self,
        reader: RawReader,
        where: TopicPartition,
        offset: int,
        take: Callable[[Fetched], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self.topic, self.partition = where
        self.where, self.offset = where, offset
        self.high_watermark = self.last_stable = self.log_start = -1
        self.answered_at = -1.0
        self.trouble = ""
        self._reader, self._take, self._failed = reader, take, failed
        self._queue: deque[Fetched] = deque()
        self._courier: asyncio.Task[None] | None = None
        self._held = 0
        self.alive = True
        self.leader: int | None = None
        self.fetching = False
        self.not_before = 0.0
        self.turn = 0
        self.tries = 0

    def __repr__(self) -> str:
        """Name the partition and the offset."""
        return f"<Seat {self.topic}[{self.partition}] at {self.offset}>"

    @property
    def hungry(self) -> bool:
        """It may be asked for, as far as what was delivered goes."""
        return self.alive and not self.fetching and len(self._queue) < _AHEAD

    def put(self, fetched: Fetched) -> None:
        """Queue an answer for delivery."""
        self._held += fetched.size
        self._reader.budget.add(fetched.size)
        self._queue.append(fetched)
        if self._courier is None:
            self._courier = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._queue and self.alive:
                await self._take(self._queue[0])
                if self._queue:
                    self._queue.popleft()
                self._reader.nudge(self)
        except Exception as error:  # noqa: BLE001 (its owner decides what becomes of a failed taker)
            self.fail(error)
        finally:
            self._courier = None

    def fail(self, error: Exception) -> None:
        """End the seat and tell its owner."""
        if self.alive:
            self._reader.unseat(self)
            self._failed(error)

    def end(self) -> None:
        """Give up what is queued and give back what is held."""
        self.alive = False
        self._queue.clear()
        if self._courier is not None and self._courier is not asyncio.current_task():
            self._courier.cancel()
        self._release(self._held)

    def _release(self, count: int) -> None:
        given = min(count, self._held)
        self._held -= given
        self._reader.budget.release(given)


class _Node:
    """What is seated at one leader, and the two loops that ask it."""

    def __init__(self) -> None:
        self.seats: set[Seat] = set()
        self.wake = [asyncio.Event() for _ in _CONNECTIONS]
        self.tasks: list[asyncio.Task[None]] = []

    def nudge(self) -> None:
        for event in self.wake:
            event.set()


class RawReader:
    """Reads raw batches of seated partitions from one cluster.

    ``fetch_bytes`` bounds an answer, ``frame_cap`` what a broker may send in spite of that, ``budget`` what is in
    flight; ``read_committed`` stops at the last stable offset and brings the list of aborted transactions; ``check_crc`` is for
    trusted brokers (what an envelope holds is proved otherwise).
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
        self._linger, self._max_wait_ms = linger_ms / 1000, max_wait_ms
        self._fetch_bytes = min(fetch_bytes, max(self.budget.total // 4, 1))
        self._isolation, self._check_crc = int(read_committed), check_crc
        self._client: BoundedClient | None = None
        self._seats: set[Seat] = set()
        self._nodes: dict[int, _Node] = {}
        self._lost = asyncio.Event()  # some seat has no leader
        self._metadata_task: asyncio.Task[None] | None = None
        self._turn = 0
        self._troubles: set[int] = set()
        self._judging: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Connect; waits for as long as no broker answers."""
        self._client = await clients.connect(self.cluster, self._client_id, frame_cap=self._frame_cap)
        self._metadata_task = asyncio.create_task(self._find_leaders())

    async def stop(self) -> None:
        """End every seat and every connection."""
        tasks = [task for node in self._nodes.values() for task in node.tasks]
        tasks += [*self._judging, *([self._metadata_task] if self._metadata_task else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for seat in list(self._seats):
            self.unseat(seat)
        self._nodes.clear()
        if self._client is not None:
            await clients.close(self._client)
            self._client = None

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
        leader = self._client.cluster.leader_for_partition(seat.where) if self._client else None
        if seat.leader is not None and seat.leader in self._nodes:
            self._nodes[seat.leader].seats.discard(seat)
        if leader is None or leader == -1:
            seat.leader = None
            self._lost.set()
            return
        seat.leader = leader
        node = self._nodes.get(leader)
        if node is None:
            node = self._nodes[leader] = _Node()
            node.tasks = [asyncio.create_task(self._ask(leader, node, slot)) for slot in range(len(_CONNECTIONS))]
        node.seats.add(seat)
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
            for seat in still:
                self._trouble(seat, "no leader: the topic or partition is missing, or its brokers are away")
            pause = min(pause * 2, _BACKOFF_TO) if still else _BACKOFF
            if still:
                self._lost.set()
            await asyncio.sleep(pause)

    async def _refresh(self) -> bool:
        client = self._client
        topics = {seat.topic for seat in self._seats}
        if client is None or not topics:
            return False
        try:
            async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                await client.set_topics(topics)
                return bool(await client.force_metadata_update())
        except TimeoutError:
            # Its own metadata task may have died of a broken answer: only a new client gets it back.
            self._client = await clients.connect(self.cluster, self._client_id, frame_cap=self._frame_cap)
            await clients.close(client)
        except errors.KafkaError:
            pass
        return False

    def _lose(self, seats: list[Seat], pause: float) -> None:
        """Have the leaders of these looked for, and let them rest."""
        until = asyncio.get_running_loop().time() + pause
        for seat in seats:
            if seat.alive:
                if seat.leader in self._nodes:
                    self._nodes[seat.leader].seats.discard(seat)
                seat.leader = None
                seat.not_before = until
        self._lost.set()

    def _trouble(self, seat: Seat, words: str) -> None:
        if not seat.trouble:
            _log.warning("%s[%d]: %s; trying again", seat.topic, seat.partition, words)
        seat.trouble = words

    # Asking

    async def _ask(self, leader: int, node: _Node, slot: int) -> None:
        pause = _BACKOFF
        while True:
            seats, wait_ms = self._choose(node)
            if not seats:
                await self._rest(node, node.wake[slot])
                continue
            room = self.budget.take(self._fetch_bytes)
            if not room:
                await self.budget.wait()
                continue
            for seat in seats:
                seat.fetching = True
            try:
                good = await self._fetch(leader, seats, wait_ms, room, _CONNECTIONS[slot], pause)
            finally:
                self.budget.release(room)
                for seat in seats:
                    seat.fetching = False
                node.nudge()
            pause = _BACKOFF if good else min(pause * 2, _BACKOFF_TO)

    def _choose(self, node: _Node) -> tuple[list[Seat], int]:
        """Those that may be asked for now, the longest not served first, and how long the broker may wait (ms)."""
        now = asyncio.get_running_loop().time()
        ready = [seat for seat in node.seats if seat.hungry and seat.not_before <= now]
        ready.sort(key=lambda seat: seat.turn)
        asked = sum(seat.fetching for seat in node.seats)
        # A long poll may leave partitions out only while the other loop is free to ask for them.
        alone = asked == 0
        covers = len(ready) + asked == len(node.seats)
        return ready, self._max_wait_ms if alone or covers else _SHORT_WAIT_MS

    async def _rest(self, node: _Node, wake: asyncio.Event) -> None:
        """Wait for a nudge, or for the first seat whose linger ends."""
        now = asyncio.get_running_loop().time()
        ends = [seat.not_before for seat in node.seats if seat.hungry and seat.not_before > now]
        wake.clear()
        if not ends:
            await wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(ends) - now, 0.001)):
                await wake.wait()

    async def _fetch(
        self, leader: int, seats: list[Seat], wait_ms: int, room: int, group: ConnectionGroup, pause: float
    ) -> bool:
        client = self._client
        if client is None:
            await asyncio.sleep(pause)
            return False
        asked = {seat.where: (seat, seat.offset) for seat in seats}
        topics: dict[str, list[tuple[int, int, int]]] = {}
        for seat in seats:
            topics.setdefault(seat.topic, []).append((seat.partition, seat.offset, room))
        request = FetchBatches(wait_ms, 1, room, self._isolation, list(topics.items()))
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer: FetchAnswer = await client.send(leader, request, group=group)
        except Exception as error:  # noqa: BLE001 (whatever a broker does wrong, it is asked again later)
            if leader not in self._troubles:
                self._troubles.add(leader)
                _log.warning("broker %d of %s: %r; trying again", leader, self.cluster.bootstrap, error)
            self._lose(seats, pause)
            await asyncio.sleep(pause)
            return False
        if leader in self._troubles:
            self._troubles.discard(leader)
            _log.warning("broker %d of %s answers again", leader, self.cluster.bootstrap)
        if answer.error:
            self._lose(seats, pause)
            await asyncio.sleep(pause)
            return False
        brought = sum(self._take_in(part, asked, answer.size, began) for part in answer.partitions)
        if 0 < brought < _SMALL and self._linger:
            until = loop.time() + self._linger
            for seat in seats:
                seat.not_before = max(seat.not_before, until)
        return True

    def _take_in(
        self,
        part: PartitionAnswer,
        asked: dict[TopicPartition, tuple[Seat, int]],
        frame: int,
        began: float,
    ) -> int:
        """Queue what came for one partition; the bytes that it brought."""
        seat, offset = asked.pop(TopicPartition(part.topic, part.partition), (None, -1))
        if seat is None or not seat.alive:
            return 0
        if part.error:
            self._refused(seat, offset, part)
            return 0
        seat.high_watermark, seat.last_stable = part.high_watermark, part.last_stable
        seat.log_start, seat.answered_at = part.log_start, began
        if not part.data:
            self._well(seat)
            return 0
        # A view keeps the whole frame alive: a small piece of a large one is copied out.
        data = part.data if len(part.data) * 4 >= frame else memoryview(bytes(part.data))
        try:
            found = scan(data, offset, check_crc=self._check_crc)
        except Corrupt as error:
            self._damaged(seat, str(error))
            return 0
        self._turn += 1
        seat.turn = self._turn
        if found.headers:
            self._well(seat)
            if found.next > offset:
                seat.offset = found.next
                seat.put(Fetched(seat, offset, found, part))
        return len(part.data)

    def _well(self, seat: Seat) -> None:
        seat.tries = 0
        if seat.trouble:
            _log.warning("%s[%d]: goes on", seat.topic, seat.partition)
            seat.trouble = ""

    def _damaged(self, seat: Seat, words: str) -> None:
        seat.tries += 1
        words = f"damaged bytes at offset {seat.offset}: {words}"
        if seat.tries >= _DAMAGED_TRIES:
            seat.fail(ReadRefused(words))
            return
        self._trouble(seat, words)
        seat.not_before = asyncio.get_running_loop().time() + _BACKOFF * 2**seat.tries

    def _refused(self, seat: Seat, offset: int, part: PartitionAnswer) -> None:
        seat.tries += 1
        error = errors.for_code(part.error)
        if part.error == _OUT_OF_RANGE:
            self._lose([seat], _BACKOFF_TO)
            task = asyncio.create_task(self._judge_range(seat, offset))
            self._judging.add(task)
            task.add_done_callback(self._judging.discard)
            return
        if part.error in _REFUSED:
            seat.fail(ReadRefused(f"{seat.topic}[{seat.partition}]: {error.description}"))
            return
        self._trouble(seat, str(error.message))
        self._lose([seat], min(_BACKOFF * 2 ** min(seat.tries, 10), _BACKOFF_TO))

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
        return await self._offset(topic, partition, _EARLIEST)

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        """Ask for the offset after the last record, or with ``committed`` for the last stable offset.

        Raises ReadRefused; otherwise it is asked for as long as it takes.
        """
        if not self.cluster.embedded:
            return await self._offset(topic, partition, _LATEST, isolation=int(committed))
        # Its ListOffsets answers with the last batch's base offset + 1: only a fetch knows the end.
        near = await self._offset(topic, partition, _LATEST)
        request = FetchBatches(_SHORT_WAIT_MS, 1, 1, 0, [(topic, [(partition, near, 1)])])

        def read(answer: FetchAnswer) -> tuple[int, int]:
            (part,) = answer.partitions
            return part.error, part.high_watermark

        return await self._until_answered(topic, partition, request, read)

    async def _offset(self, topic: str, partition: int, which: int, isolation: int = 0) -> int:
        request = OffsetRequest(-1, isolation, [(topic, [(partition, which)])])

        def read(answer: object) -> tuple[int, int]:
            ((_topic, ((_partition, error, _timestamp, offset, *_epoch),)),) = answer.topics  # type: ignore[attr-defined]
            return error, offset

        return await self._until_answered(topic, partition, request, read)

    async def _until_answered(
        self, topic: str, partition: int, request: object, read: Callable[..., tuple[int, int]]
    ) -> int:
        where, pause = TopicPartition(topic, partition), _BACKOFF
        while True:
            client = self._client
            if client is None:
                message = "the reader is stopped"
                raise ReadRefused(message)
            leader = client.cluster.leader_for_partition(where)
            if leader is None or leader == -1:
                with suppress(errors.KafkaError, TimeoutError):
                    async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                        await client.add_topic(topic)
                        await client.force_metadata_update()
            else:
                error, offset = -1, -1
                with suppress(Exception):  # whatever a broker does wrong, it is asked again
                    error, offset = read(await client.send(leader, request))
                if not error:
                    return offset
                if error in _REFUSED:
                    raise ReadRefused(errors.for_code(error).description)
                with suppress(errors.KafkaError, TimeoutError):
                    async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                        await client.force_metadata_update()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_TO)
