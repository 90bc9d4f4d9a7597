"""The sink: opened batches, in order per partition, small ones merged, each followed by its delivery record.

At least once: the delivery record is written after the sink's acknowledgement. What one produce round carries for one
source partition is what a transaction will carry when delivery is exactly once: stage here, commit there.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.records import merge
from sealwire.agents.writer import Refused, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.ports import Writer
    from sealwire.agents.settings import Settings
    from sealwire.agents.topics import TopicWatch

_log = logging.getLogger(__name__)
_ROUND_BYTES = 4 * 1024 * 1024
_TRY_AGAIN = 2.0  # seconds


@dataclass(eq=False)
class Staged:
    """Batches of one envelope, waiting for the sink. ``source`` tells whose order they belong to."""

    source: object
    batches: list[memoryview]
    size: int
    done: Callable[[int, int], None]  # the sink offsets [first, next)
    refused: Callable[[str], None]
    wanted: Callable[[], bool]  # asked once, before it is produced


class SinkPartition:
    """One partition of a sink topic: a queue, and at most one round on its way."""

    def __init__(self, sink: Sink, topic: str, partition: int) -> None:
        self._sink, self._topic, self._partition = sink, topic, partition
        self._queue: deque[Staged] = deque()
        self._task: asyncio.Task[None] | None = None

    def stage(self, staged: Staged) -> None:
        """Take the batches of one more envelope."""
        self._queue.append(staged)
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._sink.ensure(self._topic, self._partition)
                await self._round()
        except Stopped:
            self._queue.clear()
        finally:
            self._task = None

    async def _round(self) -> None:
        """Produce what waits of the first source partition in the queue, up to a bound, and tell its owners."""
        source, members, size = self._queue[0].source, [], 0
        while self._queue and self._queue[0].source == source and size < _ROUND_BYTES:
            staged = self._queue.popleft()
            if staged.wanted():
                members.append(staged)
                size += staged.size
        first = following = -1
        try:
            for batch in merge([batch for staged in members for batch in staged.batches]):
                count = _count(batch)
                # One after the other: when one is refused, no later one of this source partition may be stored.
                stored = await self._sink.writer.produce(self._topic, self._partition, batch)
                first = stored.base_offset if first < 0 else first
                following = stored.base_offset + count
        except (Refused, ValueError) as error:
            for staged in members:
                staged.refused(str(error))
            self._drop(source)
            return
        for staged in members:
            staged.done(first, following)

    def _drop(self, source: object) -> None:
        """Nothing of a source partition that is held may overtake what was refused."""
        for staged in [each for each in self._queue if each.source == source]:
            self._queue.remove(staged)
            staged.refused("")


def _count(batch: Any) -> int:  # noqa: ANN401
    return int.from_bytes(batch[57:61], "big")


class Sink:
    """All partitions of the sink topics that this worker delivers to."""

    def __init__(self, settings: Settings, writer: Writer, watch: TopicWatch) -> None:
        self.writer = writer
        self._settings, self._watch = settings, watch
        self._partitions: dict[tuple[str, int], SinkPartition] = {}
        self._known: dict[str, int] = {}
        self._admin: Admin | None = None
        self._making = asyncio.Lock()
        self.trouble: dict[str, str] = {}

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
                words = f"sink topic {topic} has {self._known.get(topic, 0)} partitions; {partition} waits for growth"
                if self.trouble.get(topic) != words:
                    _log.warning(words)
                self.trouble[topic] = words
                await asyncio.sleep(_TRY_AGAIN)
        self.trouble.pop(topic, None)

    async def _look(self, topic: str) -> None:
        facts = self._watch.facts
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
                        for route in self._settings.open
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
