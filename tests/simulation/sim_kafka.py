"""Clusters in memory that answer in virtual time: as a View, each reader is shown a history, perhaps one of its own.

The seams are those of agents/ports.py. What was read goes through the product's own Seat, scan() and Fetched; a write
is stored and acknowledged later, each by the network, whatever became of its writer.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition
from fake_kafka import FETCH_BYTES, FakeCluster, Partition
from virtual_loop import NOBODY, RUNS

from sealwire.agents.batches import scan
from sealwire.agents.budget import Budget
from sealwire.agents.frames import PartitionAnswer
from sealwire.agents.header import read_header, restamp
from sealwire.agents.parcel import RecordMetadata, Stopped
from sealwire.agents.records import read
from sealwire.agents.rights import Rights
from sealwire.agents.seat import Fetched, OffsetOutOfRange, Seat

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from sealwire.agents.admin import TopicFacts

Where = tuple[str, int]
POLLED_WITHIN = 0.5  # seconds


@lru_cache(1 << 14)
def span(batch: bytes) -> tuple[int, int]:
    """The first and the last offset of a batch."""
    header = read_header(batch)
    return header.base_offset, header.last_offset


@lru_cache(1 << 12)
def readable(batch: bytes) -> tuple[bytes, ...]:
    """The values in a batch; none where a hostile hand made it."""
    try:
        scan(memoryview(batch), check_crc=False)
        return tuple(bytes(record.value or b"") for record in read(memoryview(batch), 1 << 16))
    except ValueError:
        return ()


@dataclass(eq=False)
class Log(Partition):
    """One log. ``marks`` are faults that are reached when the offset is served, ``pending`` when anything is."""

    home: Cluster | None = None
    where: Where = ("", 0)
    marks: list[tuple[int, str]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    hidden: str = ""  # the fault for which nothing new is shown
    top: int = 0  # the highest end that it ever had

    def append(self, batch: Any, *, base: int | None = None) -> int:
        base = super().append(batch, base=base)
        self.top = max(self.top, self.end)
        return base

    def wake(self) -> None:
        if self.home is not None:
            self.home.poke(self.where)

    def note(self, offset: int, fault: str) -> None:
        """Have a fault counted when a reader is served this offset."""
        self.marks.append((offset, fault))

    def value(self, offset: int) -> bytes:
        """The record at an offset; nothing where it cannot be read."""
        there = [batch for batch in self.batches if span(batch)[0] == offset]
        return (*readable(there[0]), b"")[0] if there else b""

    def values(self) -> list[bytes]:
        """Every record's value that can be read, in order."""
        return [value for batch in self.batches for value in readable(batch)]

    def copy(self) -> Log:
        """The same log, from now on another one."""
        twin = Log(list(self.batches), self.start, self.end, self.visible, self.stable, self.aborted)
        twin.produced, twin.top = self.produced, self.top
        twin.marks, twin.pending, twin.hidden = list(self.marks), list(self.pending), self.hidden
        return twin

    def between(self, offset: int, end: int, room: int) -> list[bytes]:
        """The batches with offsets from ``offset`` on and before ``end``, as many as there is room for."""
        found, size, begin = [], 0, len(self.batches)
        while begin and span(self.batches[begin - 1])[1] >= offset:
            begin -= 1
        for batch in self.batches[begin:]:
            _first, last = span(batch)
            if last < offset or last >= end:
                continue
            if found and size + len(batch) > room:
                break  # what comes after it is for the next answer
            found.append(batch)
            size += len(batch)
        return found


class Cluster(FakeCluster):
    """A history of topics, and the views that are shown it."""

    log = Log

    def __init__(self) -> None:
        super().__init__()
        self.views: list[View] = []

    def make(self, topic: str, partitions: int = 1) -> None:
        super().make(topic, partitions)
        self.adopt()

    def grow(self, topic: str, partitions: int) -> None:
        super().grow(topic, partitions)
        self.adopt()

    def adopt(self) -> None:
        """Tell every log where it stands."""
        for topic, (_id, logs) in self.topics.items():
            for partition, log in enumerate(logs):
                log.home, log.where = self, (topic, partition)  # type: ignore[attr-defined]

    def poke(self, where: Where) -> None:
        """Have readers look, wherever they are shown this history."""
        for view in self.views:
            view.poke(where)

    def store(self, topic: str, partition: int, batch: bytes) -> int:
        """Store what a writer gave; its base offset."""
        log = self.at(topic, partition)
        log.produced += 1
        return log.append(batch)


class View:
    """A cluster as one of its members sees it. ``lies`` are told once each, to whoever asks for a log next."""

    def __init__(self, name: str, history: Cluster, door: Cluster | None = None) -> None:
        self.name, self.history = name, history
        self.door = door or history  # where writes go
        self.lies: dict[Where, list[Any]] = defaultdict(list)
        self._pumps: dict[Where, list[Pump]] = defaultdict(list)
        self.lag = 0.0  # seconds, beyond the usual
        history.views.append(self)

    def turn_to(self, history: Cluster) -> None:
        """Be shown another history from now on."""
        self.history.views.remove(self)
        self.history = history
        history.views.append(self)
        self.poke_all()

    def poke_all(self) -> None:
        """Have all readers look."""
        for where in list(self._pumps):
            self.poke(where)

    @property
    def topics(self) -> dict[str, tuple[bytes, list[Any]]]:
        return self.history.topics  # type: ignore[return-value]

    def at(self, topic: str, partition: int = 0) -> Log:
        return self.history.at(topic, partition)  # type: ignore[return-value]

    def facts(self) -> dict[str, TopicFacts]:
        return self.history.facts()

    def add(self, pump: Pump) -> None:
        self._pumps[pump.where].append(pump)

    def remove(self, pump: Pump) -> None:
        if pump in self._pumps[pump.where]:
            self._pumps[pump.where].remove(pump)

    def poke(self, where: Where) -> None:
        for pump in self._pumps.get(where, ()):
            pump.poke()


class Pump:
    """Serves one seat; runs as the worker that reads."""

    def __init__(self, reader: Reader, seat: Seat) -> None:
        self.reader, self.seat, self.where = reader, seat, (seat.topic, seat.partition)
        self._context = copy_context()
        self._due = False

    def poke(self) -> None:
        if not self._due:
            self._due = True
            delay = self.reader.pause() + self.reader.view.lag
            self.reader.loop.call_later(delay, self._run, context=self._context)

    def _run(self) -> None:
        self._due = False
        if self.seat.alive and self.reader.give(self.seat):
            self.poke()


class Polled(Seat):
    """A seat that is asked for again and again: its word is of now, but for a moment after a machine stood still."""

    @property
    def answered_at(self) -> float:  # type: ignore[override]
        if self._heard < 0:
            return self._heard
        now, runs = asyncio.get_running_loop().time(), RUNS.get()
        began, ended = runs.slept if runs is not None else (0.0, 0.0)
        return began if self._heard < ended and now - ended < POLLED_WITHIN else now

    @answered_at.setter
    def answered_at(self, at: float) -> None:
        self._heard = at


class Reader:
    """The groupless reader of one worker. ``reached`` is told the faults that it is served."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        view: View,
        budget: Budget | None,
        dice: random.Random,
        reached: Callable[[str], None] | None = None,
    ) -> None:
        self.loop = loop
        self.budget = budget or Budget(64 * 1024 * 1024)
        self.view = view
        self.rights = Rights("fake")
        self._fetch_bytes = min(FETCH_BYTES, self.budget.total // 4)
        self._dice = dice
        self._counts, self._reached = reached is not None, reached or (lambda _fault: None)
        self._pumps: dict[Seat, Pump] = {}

    def pause(self) -> float:
        """How long an answer takes (seconds)."""
        return self._dice.choice((0.001, 0.001, 0.002, 0.005, 0.02))

    def seat(self, topic: str, partition: int, offset: int, take: Any, failed: Any) -> Seat:
        seat = Polled(self, TopicPartition(topic, partition), offset, take, failed)
        pump = self._pumps[seat] = Pump(self, seat)
        self.view.add(pump)
        pump.poke()
        return seat

    def unseat(self, seat: Seat) -> None:
        pump = self._pumps.pop(seat, None)
        if pump is not None:
            self.view.remove(pump)
        seat.end()

    def nudge(self, seat: Seat) -> None:
        pump = self._pumps.get(seat)
        if pump is not None:
            pump.poke()

    async def log_start(self, topic: str, partition: int) -> int:
        await asyncio.sleep(self.pause())
        start = self.view.at(topic, partition).start
        return self._lied((topic, partition), "start", start)

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        await asyncio.sleep(self.pause())
        log = self.view.at(topic, partition)
        end = log.lso if committed else log.shown
        return self._lied((topic, partition), "end", end)

    def _lied(self, where: Where, about: str, truth: int) -> int:
        lies = self.view.lies.get(where, [])
        for lie in lies:
            if lie.about == about:
                lies.remove(lie)
                self._reached(lie.fault)
                return lie.instead(truth)
        return truth

    async def stop(self) -> None:
        for seat in list(self._pumps):
            self.unseat(seat)

    def give(self, seat: Seat) -> bool:
        """Answer one fetch; tell whether it brought anything."""
        if not seat.hungry or seat.topic not in self.view.topics:
            return False
        where = (seat.topic, seat.partition)
        if seat.partition >= len(self.view.topics[seat.topic][1]):
            return False
        log = self.view.at(*where)
        lies = self.view.lies.get(where, ())
        lie = next((each for each in lies if each.about == "fetch"), None)
        if not log.start <= seat.offset <= log.end or (lie is not None and lie.out_of_range):
            if self._counts:
                for fault in [*log.pending, *([lie.fault] if lie else [])]:
                    self._reached(fault)
                log.pending.clear()
            start, end = log.start, log.end
            if lie is not None:
                lies.remove(lie)  # type: ignore[union-attr]
                start, end = lie.instead(start), lie.instead(end)
            seat.fail(OffsetOutOfRange(*where, seat.offset, start, end))
            return False
        room = self.budget.take(self._fetch_bytes)
        if not room:
            return False
        try:
            return self._serve(seat, log, room, lie)
        finally:
            self.budget.release(room)

    def _serve(self, seat: Seat, log: Log, room: int, lie: Any) -> bool:
        shown = log.lso
        data = b"".join(log.between(seat.offset, shown, room))
        high, start = log.shown, log.start
        if lie is not None and data:
            self.view.lies[log.where].remove(lie)
            data, high, shown, start = lie.told(data, high, shown, start)
            self._reached(lie.fault)
            # The next poll hears the truth, whether or not there is anything new.
            self.loop.call_later(POLLED_WITHIN, self._pumps[seat].poke)
        view, lost = memoryview(data), log.lost(seat.offset)
        answer = PartitionAnswer(seat.topic, seat.partition, 0, high, shown, start, lost, view)
        seat.heard(answer, asyncio.get_running_loop().time())
        if not data:
            if log.hidden and self._counts:
                self._reached(log.hidden)
                log.hidden = ""
            return False
        try:
            found = scan(memoryview(data), seat.offset, check_crc=False)
        except ValueError as error:
            seat.fail(error)
            return False
        if found.next <= seat.offset:
            return False
        first, seat.offset = seat.offset, found.next
        self._served(log, first, found.next)
        seat.put(Fetched(seat, first, found, answer))
        return True

    def _served(self, log: Log, first: int, following: int) -> None:
        if not self._counts:
            return
        for fault in log.pending:
            self._reached(fault)
        log.pending.clear()
        if log.marks:
            for mark in [each for each in log.marks if first <= each[0] < following]:
                log.marks.remove(mark)
                self._reached(mark[1])


class Writer:
    """To the cloud, acks=all, one batch in flight a partition, in order of the calls; what travels is the network's."""

    def __init__(self, view: View, dice: random.Random) -> None:
        self.rights = Rights("fake")
        self.dead = False
        self.view = view
        self._dice = dice
        self._turns: dict[Where, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stores: dict[asyncio.Future[int], asyncio.TimerHandle] = {}

    async def produce(self, topic: str, partition: int, batch: Any) -> RecordMetadata:
        while topic not in self.view.door.topics or partition >= len(self.view.door.topics[topic][1]):
            await asyncio.sleep(1.0)
        return RecordMetadata(topic, partition, await self.store(topic, partition, batch))

    async def store(self, topic: str, partition: int, batch: Any) -> int:
        """Have a batch stored by the network, and wait for its answer; the base offset."""
        async with self._turns[topic, partition]:
            if self.dead:
                raise Stopped
            given = bytearray(batch)
            restamp(given)
            loop = asyncio.get_running_loop()
            done: asyncio.Future[int] = loop.create_future()

            def arrive() -> None:
                self._stores.pop(done, None)
                base = self.view.door.store(topic, partition, bytes(given))
                loop.call_later(self._pause(), self._acknowledge, done, base, context=NOBODY)

            self._stores[done] = loop.call_later(self._pause(), arrive, context=NOBODY)
            base = await done
            if self.dead:
                raise Stopped
        return base

    def _pause(self) -> float:
        return self._dice.choice((0.001, 0.001, 0.001, 0.002, 0.002, 0.005, 0.03, 0.3))

    @staticmethod
    def _acknowledge(done: asyncio.Future[int], base: int) -> None:
        if not done.done():
            done.set_result(base)

    def lose(self) -> None:
        """What is on its way and not stored never arrives."""
        for handle in self._stores.values():
            handle.cancel()
        self._stores.clear()
