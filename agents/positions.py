"""Positions that a group keeps which nobody joins: operators see its lag with the tools they have."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, TopicPartition

from sealwire.agents.blocking import (
    TIMEOUT,
    ClusterAway,
    ClusterRefused,
    Forbidden,
    Result,
    blocking,
    librdkafka_log,
    named,
)
from sealwire.agents.rights import lacking
from sealwire.agents.security import ANSWER_CAP, librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealwire.agents.settings import Cluster


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading goes on: an offset, and the words that were committed with it ("" where a broker drops them)."""

    offset: int
    metadata: str = ""


class Positions:
    """Committed offsets of a group without members, as operators' tools show them. One thread, one call at a time."""

    def __init__(self, cluster: Cluster, client_id: str, group: str) -> None:
        self._settings = {
            **librdkafka_settings(cluster, client_id),
            "group.id": group,
            "enable.auto.commit": False,
            "fetch.max.bytes": ANSWER_CAP - 512,  # nothing is fetched, but librdkafka holds this against the cap
            "auto.offset.reset": "error",
        }
        self._lacking = lacking("Read", f"group {group}, or describe its topics", cluster.bootstrap)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="positions")
        self._consumer: Consumer | None = None

    async def load(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Position]:
        """Read what is committed for these; absent ones are left out. Raises ClusterAway or ClusterRefused."""
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not wanted:
            return {}
        found = await self._run(lambda consumer: consumer.committed(wanted, timeout=TIMEOUT))
        for entry in found:
            if entry.error is not None:
                raise named(entry.error)
        return {
            (entry.topic, entry.partition): Position(entry.offset, entry.metadata or "")
            for entry in found
            if entry.offset >= 0
        }

    async def commit(self, positions: Mapping[tuple[str, int], Position]) -> None:
        """Commit these, all answered for on return. Raises ClusterAway or ClusterRefused."""
        if not positions:
            return
        offsets = [
            TopicPartition(topic, partition, position.offset, position.metadata)
            for (topic, partition), position in positions.items()
        ]
        for entry in await self._run(lambda consumer: consumer.commit(offsets=offsets, asynchronous=False)):
            if entry.error is not None:
                raise named(entry.error)

    async def close(self) -> None:
        """Let the consumer go; what was committed stays."""
        with suppress(ClusterAway, ClusterRefused, TimeoutError):
            if self._consumer is not None:
                async with asyncio.timeout(5):
                    await self._run(lambda consumer: consumer.close())
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[Consumer], Result]) -> Result:
        def work() -> Result:
            if self._consumer is None:
                self._consumer = Consumer(self._settings, logger=librdkafka_log)
            consumer = self._consumer
            try:
                return blocking(lambda: call(consumer))
            except Forbidden:
                raise Forbidden(self._lacking) from None

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
