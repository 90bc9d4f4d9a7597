"""What is known of both clusters' topics, asked for again every few seconds; and which lane a partition belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from functools import cache
from math import gcd
from typing import TYPE_CHECKING

from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.settings import Settings

_log = logging.getLogger(__name__)


@cache
def _start_of(topic: str) -> int:
    return int.from_bytes(hashlib.sha256(topic.encode()).digest()[:4], "big")


def lane_of(topic: str, partition: int, lanes: int) -> int:
    """Deal a partition to a lane, so that three partitions of a topic reach more than one of two workers.

    Faust's assignor gives a worker either a block of neighbouring lanes (it was alone before) or every second one (they
    started together): a stride of about three eighths of the lanes is far from both. Cursors are kept by lane: this
    must never change.
    """
    return (_start_of(topic) + partition * _stride(lanes)) % lanes


@cache
def _stride(lanes: int) -> int:
    # Coprime: a topic of many partitions fills all lanes evenly.
    return next(stride for stride in range(max(1, lanes * 3 // 8), lanes + 1) if gcd(stride, lanes) == 1)


@dataclass(frozen=True)
class Facts:
    """The topics of our mappings as the clusters describe them; a topic that is lacking is lacking here too."""

    local: Mapping[str, TopicFacts] = field(default_factory=dict)
    cloud: Mapping[str, TopicFacts] = field(default_factory=dict)
    local_cluster: str = ""


class TopicWatch:
    """Asks both clusters for the topics of our mappings. A cluster that is away leaves what was known last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        routes = settings.seal if settings.direction == "seal" else settings.open
        self._cloud_topics = sorted({route.cloud_topic for route in routes})
        self._local_topics = sorted(
            {route.source_topic for route in settings.seal}
            if settings.direction == "seal"
            else {route.sink_topic for route in settings.open}
        )
        self._local = Admin(settings.local, "sealwire-watch")
        self._cloud = Admin(settings.cloud, "sealwire-watch")
        self._away: set[str] = set()
        self.facts = Facts()

    @property
    def troubles(self) -> tuple[str, ...]:
        """Which clusters did not answer the last time."""
        return tuple(sorted(self._away))

    async def look(self) -> Facts:
        """Ask once."""
        local, cloud = await asyncio.gather(
            self._ask("local", self._local, self._local_topics, self.facts.local),
            self._ask("cloud", self._cloud, self._cloud_topics, self.facts.cloud),
        )
        cluster = self.facts.local_cluster
        if not cluster and "local" not in self._away:
            cluster = await self._cluster_id()
        self.facts = Facts(local, cloud, cluster)
        return self.facts

    async def _cluster_id(self) -> str:
        try:
            return await self._local.cluster_id()
        except (ClusterAway, ClusterRefused):
            return ""

    async def _ask(
        self, name: str, admin: Admin, topics: list[str], known: Mapping[str, TopicFacts]
    ) -> Mapping[str, TopicFacts]:
        try:
            found = await admin.describe(topics)
        except (ClusterAway, ClusterRefused) as error:
            if name not in self._away:
                _log.warning("the %s cluster does not answer: %s; trying again", name, error)
                self._away.add(name)
            return known
        if name in self._away:
            _log.warning("the %s cluster answers again", name)
            self._away.discard(name)
        return found
