"""What is known of both clusters' topics, asked for again every few seconds; and which lane a partition belongs to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from functools import cache
from math import gcd
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.client import diagnose
from sealwire.agents.cloud_topic import cloud_config
from sealwire.agents.routes import route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.settings import Cluster, Settings

_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


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


def dealt(topic: str, partitions: int, lane: int, lanes: int) -> list[int]:
    """Give the partitions of a topic, which has so many, that are dealt to a lane."""
    return [partition for partition in range(partitions) if lane_of(topic, partition, lanes) == lane]


@cache
def _stride(lanes: int) -> int:
    # Coprime: a topic of many partitions fills all lanes evenly.
    return next(stride for stride in range(max(1, lanes * 3 // 8), lanes + 1) if gcd(stride, lanes) == 1)


@dataclass(frozen=True)
class Facts:
    """The topics of our mappings as the clusters describe them; a topic that is lacking is lacking here too.

    ``routes`` are the mappings by name, and those that patterns came to with the topics that are there.
    """

    local: Mapping[str, TopicFacts] = field(default_factory=dict)
    cloud: Mapping[str, TopicFacts] = field(default_factory=dict)
    local_cluster: str = ""
    routes: tuple[Any, ...] = ()  # SealRoute or OpenRoute, as the worker's direction is
    troubles: Mapping[str, str] = field(default_factory=dict)


class TopicWatch:
    """Asks both clusters for the topics of our mappings. A cluster that is away leaves what was known last."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._local = Admin(settings.local, "sealwire-watch")
        self._cloud = Admin(settings.cloud, "sealwire-watch")
        self._away: dict[str, str] = {}
        self._routing = route(settings, ())
        self._seen: Mapping[str, int] = {}
        self._unmade = ""
        self.begun: Callable[[Mapping[str, int]], Awaitable[frozenset[str]]] | None = None
        self.facts = Facts(routes=self._routing.routes)

    @property
    def troubles(self) -> dict[str, str]:
        """Which clusters did not answer the last time, and why, as far as that can be told."""
        return dict(self._away)

    def forbidden(self, cluster: Literal["local", "cloud"], topic: str) -> str:
        """Say which right we lack to see a topic; empty where none."""
        return (self._local if cluster == "local" else self._cloud).forbidden.get(topic, "")

    async def look(self) -> Facts:
        """Ask once: for names where there are patterns, then for what the routes name."""
        if self._settings.patterns:
            await self._find()
        routes = self._routing.routes
        read, written = sorted({each.reads for each in routes}), sorted({each.writes for each in routes})
        sealing = self._settings.direction == "seal"
        if not sealing:
            settings = self._settings
            written += [settings.ledger_topic, settings.orders_topic, settings.quarantine_topic]
        local, cloud = await asyncio.gather(
            self._ask("local", lambda: self._local.describe(read if sealing else written), self.facts.local),
            self._ask("cloud", lambda: self._cloud.describe(written if sealing else read), self.facts.cloud),
        )
        if sealing and self._settings.manage_topics and not self._away:
            cloud = await self._manage(routes, local, cloud)
        cluster = self.facts.local_cluster
        if not cluster and "local" not in self._away:
            cluster = await self._cluster_id()
        self.facts = Facts(local, cloud, cluster, routes, self._routing.troubles)
        return self.facts

    async def _find(self) -> None:
        """List the topics that patterns may match, and route anew when other ones are there."""
        sealing = self._settings.direction == "seal"
        there = await (
            self._ask("local", self._local.topics, self._seen)
            if sealing
            else self._ask("cloud", self._cloud.topics, self._seen)
        )
        if there.keys() == self._seen.keys() and not self._routing.rivals:
            return
        found = route(self._settings, there)
        if found.rivals and self.begun is not None:
            try:
                found = route(self._settings, there, await self.begun({each: there[each] for each in found.rivals}))
            except (ClusterAway, ClusterRefused):
                return  # which of them was there first is not known: all stays as it is
        for words in sorted(set(found.troubles.values()) - set(self._routing.troubles.values())):
            _log.warning(words)
        self._seen, self._routing = there, found

    async def _manage(
        self, routes: tuple[Any, ...], local: Mapping[str, TopicFacts], cloud: Mapping[str, TopicFacts]
    ) -> Mapping[str, TopicFacts]:
        """Make the cloud topics that are missing, and grow those that are too small for their largest source topic."""
        needed: dict[str, int] = {}
        for each in routes:
            if each.reads in local:
                needed[each.writes] = max(needed.get(each.writes, 0), local[each.reads].partitions)
        missing = [TopicPlan(name, count, config=cloud_config()) for name, count in needed.items() if name not in cloud]
        small = [(name, count) for name, count in needed.items() if name in cloud and cloud[name].partitions < count]
        if not missing and not small:
            self._unmade = ""
            return cloud
        try:
            for name in await self._cloud.create_topics(missing):
                _log.warning("made cloud topic %s with %d partitions", name, needed[name])
            for name, count in small:
                await self._cloud.grow(name, count)
                _log.warning("cloud topic %s has %d partitions now", name, count)
            return await self._cloud.describe(sorted(needed))
        except (ClusterAway, ClusterRefused) as error:
            words = f"cloud topics cannot be made or grown: {error}; trying again"
            if words != self._unmade:
                _log.warning(words)
            self._unmade = words
            return cloud

    async def _cluster_id(self) -> str:
        try:
            return await self._local.cluster_id()
        except (ClusterAway, ClusterRefused):
            return ""

    async def _ask(
        self,
        name: Literal["local", "cloud"],
        ask: Callable[[], Awaitable[Mapping[str, Answer]]],
        known: Mapping[str, Answer],
    ) -> Mapping[str, Answer]:
        try:
            found = await ask()
        except (ClusterAway, ClusterRefused) as error:
            cluster: Cluster = getattr(self._settings, name)
            words = "" if cluster.embedded else await diagnose(cluster)
            words = words or str(error)
            if name not in self._away:
                _log.warning("the %s cluster does not answer: %s; trying again", name, words)
            self._away[name] = words
            return known
        if self._away.pop(name, None) is not None:
            _log.warning("the %s cluster answers again", name)
        return found
