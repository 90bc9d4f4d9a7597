"""An administrator's questions to a cluster, through librdkafka, which knows topic ids."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import errors
from confluent_kafka import TopicCollection
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from sealwire.agents.asking import ask_topics
from sealwire.agents.blocking import TIMEOUT, ClusterAway, Forbidden, answer_of, blocking, librdkafka_log, wait
from sealwire.agents.rights import TOPIC_FORBIDDEN, lacking
from sealwire.agents.security import librdkafka_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from concurrent.futures import Future

    from sealwire.agents.rights import Operation
    from sealwire.agents.settings import Cluster


_NOT_THERE = 3  # the error code of a topic that does not exist


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
        self._cluster, self._client_id = cluster, client_id
        self._made: AdminClient | None = None
        self.forbidden: dict[str, str] = {}  # topics that were not described the last time, and the right that lacks

    @property
    def _client(self) -> AdminClient:
        """librdkafka's, once it is needed: as long as it lives it reads what brokers say, and may crash of it."""
        if self._made is None:
            self._made = AdminClient(librdkafka_settings(self._cluster, self._client_id), logger=librdkafka_log)
        return self._made

    async def cluster_id(self) -> str:
        """Ask for the id that the cluster gave itself."""
        found = await asyncio.to_thread(wait, lambda: self._client.describe_cluster(request_timeout=TIMEOUT))
        return str(found.cluster_id)

    async def topics(self) -> dict[str, int]:
        """List every topic with its number of partitions."""
        if not self._cluster.embedded:
            found = await ask_topics(self._cluster, self._client_id, None)
            return {name: topic.partitions for name, topic in found.items() if not topic.error}
        metadata = await asyncio.to_thread(blocking, lambda: self._client.list_topics(timeout=TIMEOUT))
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    async def describe(self, names: Iterable[str]) -> dict[str, TopicFacts]:
        """Describe those of ``names`` that exist; those that we may not see are in ``forbidden`` afterwards."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        if self._cluster.embedded:
            return await asyncio.to_thread(self._describe, wanted)
        answered = await ask_topics(self._cluster, self._client_id, wanted)
        for name, topic in answered.items():
            if topic.error not in {0, _NOT_THERE, TOPIC_FORBIDDEN}:
                raise ClusterAway(f"topic {name}: {errors.for_code(topic.error).description}")
        self.forbidden = {
            name: lacking("Describe", f"topic {name}", self._cluster.bootstrap)
            for name in wanted
            if name in answered and answered[name].error == TOPIC_FORBIDDEN
        }
        return {
            name: TopicFacts(answered[name].topic_id, answered[name].partitions)
            for name in wanted
            if name in answered and not answered[name].error
        }

    def _describe(self, names: list[str]) -> dict[str, TopicFacts]:
        asked = self._client.describe_topics(TopicCollection(names), request_timeout=TIMEOUT)
        found: dict[str, TopicFacts] = {}
        forbidden: dict[str, str] = {}
        for name, answer in asked.items():
            try:
                topic = answer_of(answer, missing_is_none=True)
            except Forbidden:
                forbidden[name] = lacking("Describe", f"topic {name}", self._cluster.bootstrap)
                continue
            if topic is not None:
                identity = topic.topic_id
                halves = (identity.get_most_significant_bits(), identity.get_least_significant_bits())
                found[name] = TopicFacts(struct.pack(">qq", *halves), len(topic.partitions))
        self.forbidden = forbidden
        return found

    async def allowed(self, topics: Iterable[str], group: str) -> dict[str, set[str]]:
        """Tell what our login may do with topics that exist and with a group (KIP-430); what is unknown is left out."""
        return await asyncio.to_thread(self._allowed, list(topics), group)

    def _allowed(self, topics: list[str], group: str) -> dict[str, set[str]]:
        settings = {"include_authorized_operations": True, "request_timeout": TIMEOUT}
        asked = {
            **self._client.describe_topics(TopicCollection(topics), **settings),
            **self._client.describe_consumer_groups([group], **settings),
        }
        found: dict[str, set[str]] = {}
        for name, answer in asked.items():
            try:
                operations = answer_of(answer).authorized_operations
            except Forbidden:
                found[name] = set()
                continue
            if operations:
                found[name] = {operation.name for operation in operations}
        return found

    async def members(self, group: str) -> int:
        """Count the members of a group; 0 where there is none."""
        asked = self._client.describe_consumer_groups([group], request_timeout=TIMEOUT)
        return len((await asyncio.to_thread(answer_of, asked[group])).members)

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
        return [name for name, answer in asked.items() if self._may("Create", name, answer, existing_is_none=True)]

    def _may(self, operation: Operation, topic: str, answer: Future[Any], **as_none: bool) -> bool:
        """Wait for an answer, True where something was done; raises Forbidden that says for what."""
        try:
            return answer_of(answer, **as_none) is not None
        except Forbidden:
            raise Forbidden(lacking(operation, f"topic {topic}", self._cluster.bootstrap)) from None

    async def grow(self, name: str, partitions: int) -> None:
        """Raise the number of partitions of a topic."""
        await asyncio.to_thread(self._grow, name, partitions)

    def _grow(self, name: str, partitions: int) -> None:
        asked = self._client.create_partitions([NewPartitions(name, partitions)], request_timeout=TIMEOUT)
        self._may("Alter", name, asked[name])

    async def config(self, name: str) -> dict[str, str]:
        """Ask for the settings of a topic, by Kafka's names."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        found = await asyncio.to_thread(
            wait, lambda: self._client.describe_configs([resource], request_timeout=TIMEOUT)[resource]
        )
        return {entry.name: str(entry.value) for entry in found.values()}
