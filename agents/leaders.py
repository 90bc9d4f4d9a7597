"""Which broker leads what a writer writes, asked for anew whenever something says that it is stale."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import errors

from sealwire.agents import client as clients
from sealwire.agents.parcel import Stopped
from sealwire.agents.troubles import NO_LEADER, SAY_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiokafka.structs import TopicPartition

    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.rights import Rights
    from sealwire.agents.settings import Cluster
    from sealwire.agents.troubles import Troubles

_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds


class Leaders:
    """The client of a writer and what it knows of its cluster.

    ``waiting`` names the partitions that have something to be written; ``looked`` is called after every look.
    """

    def __init__(
        self,
        cluster: Cluster,
        client_id: str,
        waiting: Callable[[], Iterable[TopicPartition]],
        looked: Callable[[], None],
        rights: Rights,
        troubles: Troubles,
    ) -> None:
        self._cluster, self._client_id = cluster, client_id
        self._waiting, self._looked, self._rights, self._troubles = waiting, looked, rights, troubles
        self._client: BoundedClient | None = None
        self._topics: set[str] = set()
        self._stale = asyncio.Event()
        self._rounds = 0
        self._round_over = asyncio.Event()

    async def start(self) -> asyncio.Task[None]:
        """Connect, for as long as no broker answers; returns the task that keeps looking."""
        self._client = await clients.connect(self._cluster, self._client_id)
        return asyncio.create_task(self._refresh())

    async def stop(self) -> None:
        """Close the connections; whoever waits for a leader waits no more."""
        client, self._client = self._client, None
        self._round_over.set()
        if client is not None:
            await clients.close(client)

    def connected(self) -> BoundedClient:
        """Return the client at this moment. Raises Stopped."""
        if self._client is None:
            raise Stopped
        return self._client

    def want(self, topic: str) -> None:
        """Have the leaders of a topic known."""
        if topic not in self._topics:
            self._topics.add(topic)
            self._stale.set()

    def stale(self) -> None:
        """Have all of them asked for anew."""
        self._stale.set()

    def of(self, where: TopicPartition) -> int | None:
        """Tell the broker that leads a partition; None, and it is asked for, where that is not known or it has none."""
        node = self._client.cluster.leader_for_partition(where) if self._client is not None else None
        if node is None or node == -1:
            self._stale.set()
            return None
        return int(node)

    async def lacking(self, partitions: Iterable[TopicPartition]) -> list[TopicPartition]:
        """Name those that have no leader, after one look for them where some have none. Raises Stopped."""
        wanted = list(partitions)
        for where in wanted:
            self.want(where.topic)
        lost = [where for where in wanted if self.of(where) is None]
        if lost:
            begun = self._rounds  # a look that goes on may have begun before the topic was wanted: wait for the next
            while self._rounds < begun + 2 and any(self.of(where) is None for where in lost):
                self.connected()
                self._round_over.clear()
                await self._round_over.wait()
        self.connected()
        return [where for where in lost if self.of(where) is None]

    async def _refresh(self) -> None:
        pause = _BACKOFF
        while True:
            await self._stale.wait()
            self._stale.clear()
            good = await self._refresh_once()
            self._rounds += 1
            self._round_over.set()
            self._looked()
            pause = _BACKOFF if good else min(pause * 2, _BACKOFF_TO)
            await asyncio.sleep(pause)

    async def _refresh_once(self) -> bool:
        client = self.connected()
        try:
            async with asyncio.timeout(clients.REQUEST_TIMEOUT_MS / 1000):
                client.set_topics(self._topics)
                good = await client.force_metadata_update()
        except TimeoutError:
            await self._replace_client()
            return False
        except errors.KafkaError:
            return False
        if not good:
            return False
        lost = [where for where in self._waiting() if client.cluster.leader_for_partition(where) in {None, -1}]
        for where in lost:
            if where.topic in client.cluster.unauthorized_topics:
                self._troubles.known(where, self._rights.refused("Write", where.topic))
            else:
                self._troubles.note(where, NO_LEADER, after=SAY_AFTER)
        return not lost

    async def _replace_client(self) -> None:
        """Throw away a client whose metadata never comes: its own task may have died of a broken answer."""
        old, self._client = self._client, await clients.connect(self._cluster, self._client_id)
        if old is not None:
            await clients.close(old)
