"""One leader, what is seated there, and the two loops that ask it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import errors
from aiokafka.client import ConnectionGroup
from aiokafka.structs import TopicPartition

from sealwire.agents.batches import MOST_BATCHES, Corrupt, OldFormat, scan
from sealwire.agents.driver import FrameRefused
from sealwire.agents.frames import FetchBatches
from sealwire.agents.offsets import QUICK, REFUSED
from sealwire.agents.rights import TOPIC_FORBIDDEN
from sealwire.agents.seat import Fetched, ReadRefused, Seat

if TYPE_CHECKING:
    from sealwire.agents.frames import FetchAnswer, PartitionAnswer
    from sealwire.agents.reader import RawReader

_log = logging.getLogger(__name__)

_SHORT_WAIT_MS = 5  # of a fetch that leaves out partitions which nobody else is asking for
_SMALL = 64 * 1024  # bytes: an answer below is followed by a linger
_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds
_DAMAGED_TRIES = 5
_OUT_OF_RANGE = 1
_STRANGE_EVERY = 60.0  # seconds

_CONNECTIONS = (ConnectionGroup.COORDINATION, 2, QUICK)  # groups of aiokafka's; it asks for metadata on the last
_NEWCOMERS = 2  # the slot that asks only for what is new, and never polls long


@dataclass(frozen=True, slots=True)
class Manner:
    """How a reader asks: seconds of linger, ms of a long poll, bytes of an answer, isolation level, checksums."""

    linger: float
    max_wait_ms: int
    fetch_bytes: int
    isolation: int
    check_crc: bool


class Node:
    """The partitions of one leader that are seated, asked for in at most two fetches at a time, disjoint ones.

    A third is for newcomers alone, which would wait behind the others' long polls: a lane that begins reads back
    several partitions, one after the other.
    """

    def __init__(self, reader: RawReader, leader: int, manner: Manner) -> None:
        self.seats: set[Seat] = set()
        self._new: set[Seat] = set()
        self._reader, self._leader, self._manner = reader, leader, manner
        self._turn = 0
        self._strange_until = 0.0
        self._wake = [asyncio.Event() for _ in _CONNECTIONS]
        self.tasks = [asyncio.create_task(self._ask(slot)) for slot in range(len(_CONNECTIONS))]

    def add(self, seat: Seat) -> None:
        """Ask for a seat's partition from now on; it is left by taking it out of ``seats``."""
        self.seats.add(seat)
        if seat.new:
            self._new.add(seat)

    def nudge(self) -> None:
        """Look again at what may be asked for."""
        for event in self._wake:
            event.set()

    async def _ask(self, slot: int) -> None:
        pause = _BACKOFF
        while True:
            seats, wait_ms = self._choose(slot)
            if not seats:
                await self._rest(slot)
                continue
            room = self._reader.budget.take(self._manner.fetch_bytes)
            if not room:
                await self._reader.budget.wait()
                continue
            for seat in seats:
                seat.fetching = True
            try:
                good = await self._fetch(seats, wait_ms, room, slot, pause)
            finally:
                self._reader.budget.release(room)
                for seat in seats:
                    seat.fetching = False
                self.nudge()
            pause = _BACKOFF if good else min(pause * 2, _BACKOFF_TO)

    def _choose(self, slot: int) -> tuple[list[Seat], int]:
        """Those that may be asked for now, the longest not served first, and how long the broker may wait (ms)."""
        now = asyncio.get_running_loop().time()
        ready = [seat for seat in self._of(slot) if seat.hungry and seat.not_before <= now]
        if not ready:
            return [], 0
        ready.sort(key=lambda seat: seat.turn)
        ready = list({seat.where: seat for seat in reversed(ready)}.values())[::-1]  # a partition once a request
        asked = sum(seat.fetching for seat in self.seats)
        # A long poll may leave partitions out only while the other loop is free to ask for them.
        alone = asked == 0
        covers = len(ready) + asked == len(self.seats)
        short = slot == _NEWCOMERS or not (alone or covers)
        return ready, _SHORT_WAIT_MS if short else self._manner.max_wait_ms

    def _of(self, slot: int) -> set[Seat]:
        if slot != _NEWCOMERS:
            return self.seats
        self._new = {seat for seat in self._new if seat.new and seat in self.seats}
        return self._new

    async def _rest(self, slot: int) -> None:
        """Wait for a nudge, or for the first seat whose linger ends."""
        now, wake = asyncio.get_running_loop().time(), self._wake[slot]
        ends = [seat.not_before for seat in self._of(slot) if seat.hungry and seat.not_before > now]
        wake.clear()
        if not ends:
            await wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(max(min(ends) - now, 0.001)):
                await wake.wait()

    async def _fetch(self, seats: list[Seat], wait_ms: int, room: int, slot: int, pause: float) -> bool:
        client = self._reader.client
        if client is None:
            await asyncio.sleep(pause)
            return False
        asked = {seat.where: (seat, seat.offset) for seat in seats}
        topics: dict[str, list[tuple[int, int, int]]] = {}
        for seat in seats:
            topics.setdefault(seat.topic, []).append((seat.partition, seat.offset, room))
        request = FetchBatches(wait_ms, 1, room, self._manner.isolation, list(topics.items()))
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            answer: FetchAnswer = await client.send(self._leader, request, group=_CONNECTIONS[slot])
        except Exception as error:  # noqa: BLE001 (whatever a broker does wrong, it is asked again later)
            cause = error.__cause__ or error  # why a connection was closed says more than that it was
            # A broker that is away is one trouble, however it shows; what it says wrong is another.
            own = repr(cause) if isinstance(cause, FrameRefused) else ""
            for seat in seats:
                self._reader.troubles.note(seat.where, f"broker {self._leader}: {cause!r}", own)
            self._reader.lose(seats, pause, f"its broker: {cause!r}")
            await asyncio.sleep(pause)
            return False
        if answer.error:
            self._reader.lose(seats, pause, errors.for_code(answer.error).message)
            await asyncio.sleep(pause)
            return False
        brought, batches = 0, MOST_BATCHES
        for part in answer.partitions:
            size, count = self._take_in(part, asked, answer.size, began, batches)
            brought, batches = brought + size, batches - count
        if 0 < brought < _SMALL and self._manner.linger:
            until = loop.time() + self._manner.linger
            for seat in seats:
                seat.not_before = max(seat.not_before, until)
        return True

    def _take_in(
        self,
        part: PartitionAnswer,
        asked: dict[TopicPartition, tuple[Seat, int]],
        frame: int,
        began: float,
        most: int,
    ) -> tuple[int, int]:
        """Queue what came for one partition, up to so many batches; the bytes and batches that it brought."""
        seat, offset = asked.pop(TopicPartition(part.topic, part.partition), (None, -1))
        if seat is None:
            self._strange(part, began)
        if seat is None or not seat.alive or seat.offset != offset:  # the last: never twice, whatever was asked twice
            return 0, 0
        if part.error:
            self._refused(seat, offset, part)
            return 0, 0
        seat.heard(part, began)
        if not part.data:
            self._well(seat, began)
            return 0, 0
        # A view keeps the whole frame alive: a small piece of a large one is copied out.
        data = part.data if len(part.data) * 4 >= frame else memoryview(bytes(part.data))
        try:
            found = scan(data, offset, check_crc=self._manner.check_crc, most=most)
        except Corrupt as error:
            self._damaged(seat, str(error))
            return 0, 0
        except OldFormat as error:
            seat.fail(error)
            return 0, 0
        self._turn += 1
        seat.turn = self._turn
        if found.next > offset:
            self._well(seat, began)
            seat.offset = found.next
            seat.put(Fetched(seat, offset, found, part, charged=not self._manner.check_crc))
        elif found.headers:
            self._damaged(seat, f"only batches before it, up to {found.headers[-1].last_offset}")
        return len(part.data), len(found.headers)

    def _strange(self, part: PartitionAnswer, now: float) -> None:
        """Say, at most once a minute, that a broker gives what it was not asked for; it is left out."""
        if now >= self._strange_until:
            self._strange_until = now + _STRANGE_EVERY
            _log.warning(
                "broker %d of %s answers for %s[%d], which it was not asked for: left out",
                self._leader,
                self._reader.cluster.bootstrap,
                part.topic,
                part.partition,
            )

    def _well(self, seat: Seat, asked: float) -> None:
        self._reader.rights.granted(seat.topic, asked=asked)
        self._reader.troubles.over(seat.where)
        seat.tries = 0
        seat.trouble = ""
        if seat.warned:
            _log.warning("%s[%d]: goes on", seat.topic, seat.partition)
            seat.warned = False

    def _damaged(self, seat: Seat, words: str) -> None:
        seat.tries += 1
        words = f"damaged bytes at offset {seat.offset}: {words}"
        if seat.tries >= _DAMAGED_TRIES:
            seat.fail(ReadRefused(words))
            return
        _warn(seat, words)
        seat.not_before = asyncio.get_running_loop().time() + _BACKOFF * 2**seat.tries

    def _refused(self, seat: Seat, offset: int, part: PartitionAnswer) -> None:
        seat.tries += 1
        error = errors.for_code(part.error)
        if part.error == _OUT_OF_RANGE:
            self._reader.judge_range(seat, offset)
        elif part.error in REFUSED:
            seat.fail(ReadRefused(f"{seat.topic}[{seat.partition}]: {error.description}"))
        else:
            words = str(error.message)
            if part.error == TOPIC_FORBIDDEN:
                words = seat.trouble = self._reader.rights.refused("Read", seat.topic)
            else:
                self._reader.troubles.note(seat.where, words)
                seat.trouble = words
            self._reader.lose([seat], min(_BACKOFF * 2 ** min(seat.tries, 10), _BACKOFF_TO), words)


def _warn(seat: Seat, words: str) -> None:
    if not seat.warned:
        _log.warning("%s[%d]: %s; trying again", seat.topic, seat.partition, words)
    seat.warned, seat.trouble = True, words
