"""The sink: opened batches, in order per partition, small ones merged.

A round carries what waits of one source partition. How rounds come to count, each alone or many in a transaction, is
the matter of the lane that staged them (``via``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.delivering import Ended
from sealwire.agents.header import read_header, rebase
from sealwire.agents.merging import WIDE, merge
from sealwire.agents.room import Rooms
from sealwire.agents.slow_path import RecordTooLarge, decode, trim
from sealwire.agents.writer import Refused, Stopped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealwire.agents.delivering import Delivering, Round
    from sealwire.agents.merging import Piece, Ready
    from sealwire.agents.settings import Settings
    from sealwire.agents.topics import TopicWatch

_log = logging.getLogger(__name__)
_ROUND_BYTES = 4 * 1024 * 1024
_TRY_AGAIN = 2.0  # seconds
_REST_MOST = 60.0  # seconds
_UNASKED_EVERY = 3600.0  # seconds: each time the cloud is read again from where it was refused
_RAISE = ": raise its max.message.bytes (kafka-configs.sh), and it goes on"


@dataclass(eq=False)
class Staged:
    """Batches of one envelope, waiting for the sink. ``source`` tells whose order they belong to.

    ``done`` and ``refused`` are told the sink offsets [first, next) of what was stored with it; ``refused`` the sink's
    words before that, and the source offset before which everything is stored (-1: nothing of it). ``dropped`` is
    called instead where it is not ``wanted``, or its lane ended.
    """

    source: object
    pieces: list[Piece]
    size: int
    via: Delivering
    done: Callable[[int, int], None]
    refused: Callable[[str, int, int, int], None]
    wanted: Callable[[], bool]  # asked before it is produced
    dropped: Callable[[], None]


class SinkPartition:
    """One partition of a sink topic: a queue, and at most one round on its way."""

    def __init__(self, sink: Sink, topic: str, partition: int) -> None:
        self._sink, self._topic, self._partition = sink, topic, partition
        self._queue: deque[Staged] = deque()
        self._task: asyncio.Task[None] | None = None
        self._rest = 0.0  # seconds, after this partition held up a whole lane

    def stage(self, staged: Staged) -> None:
        """Take the batches of one more envelope."""
        self._queue.append(staged)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._queue:
                if not self._queue[0].wanted():
                    self._queue.popleft().dropped()
                    continue
                await self._sink.ensure(self._topic, self._partition)
                await self._round()
        except Stopped:
            self._queue.clear()
        finally:
            self._task = None

    async def _round(self) -> None:
        """Produce what waits of the first source partition in the queue, up to a bound, and tell its owners."""
        via, members = self._queue[0].via, list[Staged]()
        try:
            async with via.round(self._topic, self._partition) as producer:
                self._sink.lacking.pop((self._topic, self._partition), None)
                members = self._choose(via)
                via.took(sum(staged.size for staged in members))
                pieces = [each for one in members for each in one.pieces]
                going = _Round(self._sink, producer, self._topic, self._partition, pieces)
                await going.run()
                self._tell(members, going)
                self._rest = 0.0
        except Refused as refusal:  # not now: outside a transaction it may wait for as long as it takes
            await self._sink.wait(self._topic, self._partition, refusal)
        except Ended as end:
            for staged in [*members, *(each for each in self._queue if each.via is via)]:
                staged.dropped()
            self._queue = deque(each for each in self._queue if each.via is not via)
            if members and end.stuck:  # its lane begins anew; let its neighbours go first
                self._rest = min(max(2 * self._rest, _TRY_AGAIN), _REST_MOST)
                await asyncio.sleep(self._rest)
        else:
            if going.words:
                await self._sink.rooms.note(self._topic)

    def _choose(self, via: Delivering) -> list[Staged]:
        members: list[Staged] = []
        size = 0
        while self._queue and self._queue[0].via is via and size < _ROUND_BYTES:
            if members and self._queue[0].source != members[0].source:
                break
            staged = self._queue.popleft()
            if staged.wanted():
                members.append(staged)
                size += staged.size
            else:
                staged.dropped()
        return members

    def _tell(self, members: list[Staged], going: _Round) -> None:
        reached = going.reached
        for staged, end in zip(members, accumulate(len(one.pieces) for one in members), strict=True):
            if end <= going.stored:
                staged.done(going.first, going.next)
            else:
                staged.refused(going.words, reached, going.first, going.next)
                reached = -1
        if going.words:
            self._drop(members[0].source)

    def _drop(self, source: object) -> None:
        """Nothing of a source partition that is held may overtake what was refused."""
        for staged in [each for each in self._queue if each.source == source]:
            self._queue.remove(staged)
            staged.refused("", -1, -1, -1)


class _Round:
    """Pieces of one source partition on their way into one sink partition, one batch after the other.

    When one is refused, no later one may be stored, and all before it are to be: so a merged batch that is refused is
    given again piece by piece, and one that is too large in smaller ones. ``stored`` pieces are in, and everything
    before the source offset ``reached``, at the sink offsets [first, next); ``words`` say what is refused for good.
    """

    def __init__(self, sink: Sink, producer: Round, topic: str, partition: int, pieces: list[Piece]) -> None:
        self._sink, self._producer, self._topic, self._partition = sink, producer, topic, partition
        self._pieces = pieces
        self.stored = 0
        self.reached = self.first = self.next = -1
        self.words = ""
        self._singly_to = 0  # the piece before which nothing is merged

    async def run(self) -> None:
        """Give all of it, or what is before the first record that the sink refuses for good."""
        while self.stored < len(self._pieces) and not self.words:
            begin = self.stored
            singly = begin < self._singly_to
            room = self._sink.rooms.of(self._topic)
            ready: Ready | None = None
            try:
                for ready in merge(self._pieces[begin : begin + 1] if singly else self._pieces[begin:], room):
                    count = read_header(ready.batch).record_count
                    # One after the other: no later one may be stored when one is refused.
                    answer = await self._producer.produce(self._topic, self._partition, ready.batch)
                    self.first = answer.base_offset if self.first < 0 else self.first
                    self.next = answer.base_offset + count
                    self.stored, self.reached = begin + ready.taken, ready.next
            except Refused as refusal:
                assert ready is not None  # noqa: S101 (what was refused was given)
                await self._refused(refusal, ready, begin + ready.taken)
            except RecordTooLarge as error:
                self.words = f"{error} by topic {self._topic}{_RAISE}"
            except ValueError as error:
                offset = self._pieces[self.stored][1].base_offset
                self.words = f"the batch at source offset {offset} cannot be opened: {error}"

    async def _refused(self, refusal: Refused, ready: Ready, end: int) -> None:
        """Decide what is tried next, if anything is, of what is not stored."""
        size, alone = len(ready.batch), read_header(ready.batch).record_count == 1
        data, header = self._pieces[self.stored]
        rebase(header.cut_from(data), header)
        if self.reached > header.base_offset:  # the beginning of this piece is stored
            rest = trim(header.cut_from(data), self.reached)
            assert rest is not None  # noqa: S101 (else it would be stored whole)
            data = memoryview(rest)
            self._pieces[self.stored] = data, read_header(data)
        if refusal.too_large and not alone:
            await self._sink.rooms.refused(self._topic, size)
        elif end - self.stored > 1:
            self._singly_to = end
        elif refusal.too_large:
            at = decode(header.cut_from(data))[0].offset
            self.words = (
                f"the record at source offset {at} makes a batch of {size} bytes, too large for {refusal}{_RAISE}"
            )
        else:
            self.words = str(refusal)


class Sink:
    """All partitions of the sink topics that this worker delivers to."""

    def __init__(self, settings: Settings, watch: TopicWatch) -> None:
        self._settings, self._watch = settings, watch
        self.rooms = Rooms(settings.local, "sealwire-sink", WIDE, _UNASKED_EVERY)
        self._partitions: dict[tuple[str, int], SinkPartition] = {}
        self._known: dict[str, int] = {}
        self._admin: Admin | None = None
        self._making = asyncio.Lock()
        self.gone: Callable[[], Awaitable[object]] = watch.look  # asked about topics that may be other ones now
        self.trouble: dict[str, str] = {}
        self.lacking: dict[tuple[str, int], str] = {}  # partitions that wait for their topic, in words

    def stage(self, topic: str, partition: int, staged: Staged) -> None:
        """Queue the batches of one envelope for a sink partition; ``done`` or ``refused`` is called later."""
        where = (topic, partition)
        if where not in self._partitions:
            self._partitions[where] = SinkPartition(self, topic, partition)
        self._partitions[where].stage(staged)

    async def ensure(self, topic: str, partition: int) -> None:
        """Wait until the sink topic has this partition; make the topic when it is missing altogether.

        It is made here, after the first authentic envelope, with as many partitions as its cloud topic has.
        """
        while self._known.get(topic, 0) <= partition:
            async with self._making:
                if self._known.get(topic, 0) <= partition:
                    await self._look(topic)
            if self._known.get(topic, 0) <= partition:
                there = self._known.get(topic, 0)
                words = self.trouble.setdefault(
                    topic, f"sink topic {topic} has {there} partitions: grow it with Kafka's tools, the rest waits"
                )
                self._lacks(topic, partition, words)
                await asyncio.sleep(_TRY_AGAIN)
        self.lacking.pop((topic, partition), None)
        self.trouble.pop(topic, None)

    async def wait(self, topic: str, partition: int, refusal: Refused) -> None:
        """Let a partition that cannot be written now rest a little; its topic may be gone, so it is looked for anew."""
        self._known.pop(topic, None)
        self._lacks(topic, partition, str(refusal), told=refusal.told)
        await asyncio.sleep(_TRY_AGAIN)
        await self.gone()

    def _lacks(self, topic: str, partition: int, words: str, *, told: bool = False) -> None:
        """Show what a partition waits for, and tell it once, not for each partition of the topic."""
        told = told or any(each == words for (name, _), each in self.lacking.items() if name == topic)
        if not told:
            _log.warning("%s[%d] waits: %s", topic, partition, words)
        self.lacking[topic, partition] = words

    async def _look(self, topic: str) -> None:
        facts = self._watch.facts
        self.trouble.pop(topic, None)
        if topic in facts.local:
            self._known[topic] = facts.local[topic].partitions
            return
        self._admin = self._admin or Admin(self._settings.local, "sealwire-sink")
        try:
            there = await self._admin.describe([topic])
            if topic not in there:
                wanted = max(
                    (
                        facts.cloud[route.cloud_topic].partitions
                        for route in facts.routes
                        if route.sink_topic == topic and route.cloud_topic in facts.cloud
                    ),
                    default=1,
                )
                await self._admin.create_topics([TopicPlan(topic, wanted)])
                _log.warning("made local topic %s with %d partitions", topic, wanted)
                there = await self._admin.describe([topic])
            self._known[topic] = there[topic].partitions if topic in there else 0
        except (ClusterAway, ClusterRefused) as error:
            self.trouble[topic] = f"sink topic {topic}: {error}"
