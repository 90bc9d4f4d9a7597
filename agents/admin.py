"""An administrator's questions to a cluster, through librdkafka, which knows topic ids."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from sealwire.agents.blocking import TIMEOUT, answer_of, blocking, librdkafka_log, wait
from sealwire.agents.security import librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.agents.settings import Cluster


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What a cluster says of a topic: its id (16 bytes, KIP-516) and how many partitions it has."""

    topic_id: bytes
    partitions: int


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic to be made; ``replication`` -1 is the broker's default, ``config`` its settings by Kafka's names."""

    name: str
    partitions: int
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


class Admin:
    """An administrator's questions to one cluster. Every method raises ClusterAway or ClusterRefused."""

    def __init__(self, cluster: Cluster, client_id: str = "sealwire-admin") -> None:
        self._cluster = cluster
        self._client = AdminClient(librdkafka_settings(cluster, client_id), logger=librdkafka_log)

    async def cluster_id(self) -> str:
        """Ask for the id that the cluster gave itself."""
        found = await asyncio.to_thread(wait, lambda: self._client.describe_cluster(request_timeout=TIMEOUT))
        return str(found.cluster_id)

    async def topics(self) -> dict[str, int]:
        """List every topic with its number of partitions."""
        metadata = await asyncio.to_thread(blocking, lambda: self._client.list_topics(timeout=TIMEOUT))
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    async def describe(self, names: Iterable[str]) -> dict[str, TopicFacts]:
        """Describe those of ``names`` that exist."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        return await asyncio.to_thread(self._describe, wanted)

    def _describe(self, names: list[str]) -> dict[str, TopicFacts]:
        asked = self._client.describe_topics(TopicCollection(names), request_timeout=TIMEOUT)
        found: dict[str, TopicFacts] = {}
        for name, answer in asked.items():
            topic = answer_of(answer, missing_is_none=True)
            if topic is not None:
                identity = topic.topic_id
                halves = (identity.get_most_significant_bits(), identity.get_least_significant_bits())
                found[name] = TopicFacts(struct.pack(">qq", *halves), len(topic.partitions))
        return found

    async def topic_ids(self, names: Iterable[str]) -> dict[str, bytes]:
        """Ask for the ids of those of ``names`` that exist."""
        return {name: facts.topic_id for name, facts in (await self.describe(names)).items()}

    async def create_topics(self, plans: Iterable[TopicPlan]) -> list[str]:
        """Make the topics that are not there; the names that were made. Settings of those that exist are left alone."""
        wanted = list(plans)
        return await asyncio.to_thread(self._create, wanted) if wanted else []

    def _create(self, plans: list[TopicPlan]) -> list[str]:
        replication = 1 if self._cluster.embedded else -1
        asked = self._client.create_topics(
            [
                NewTopic(
                    plan.name,
                    plan.partitions,
                    replication if plan.replication < 0 else plan.replication,
                    config=dict(plan.config),
                )
                for plan in plans
            ],
            request_timeout=TIMEOUT,
        )
        return [name for name, answer in asked.items() if answer_of(answer, existing_is_none=True) is not None]

    async def grow(self, name: str, partitions: int) -> None:
        """Raise the number of partitions of a topic."""
        await asyncio.to_thread(
            wait,
            lambda: self._client.create_partitions([NewPartitions(name, partitions)], request_timeout=TIMEOUT)[name],
        )

    async def config(self, name: str) -> dict[str, str]:
        """Ask for the settings of a topic, by Kafka's names."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        found = await asyncio.to_thread(
            wait, lambda: self._client.describe_configs([resource], request_timeout=TIMEOUT)[resource]
        )
        return {entry.name: str(entry.value) for entry in found.values()}
