"""What is known of both clusters' topics, and which lane a partition belongs to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_kafka import FakeAdmin, FakeCluster
from in_loop import in_loop

from sealwire.agents import topics
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.settings import Cluster, OpenRoute, SealPattern, SealRoute, Settings
from sealwire.agents.topics import TopicWatch, lane_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from sealwire.agents.admin import TopicFacts


def test_three_partitions_reach_both_of_two_workers_however_faust_deals_the_lanes() -> None:
    blocks = [set(range(8)), set(range(8, 16))]
    turns = [set(range(0, 16, 2)), set(range(1, 16, 2))]
    for number in range(100):
        dealt = {lane_of(f"topic-{number}", partition, 16) for partition in range(3)}
        assert all(dealt & worker for worker in blocks + turns)


def test_many_partitions_fill_all_lanes_evenly() -> None:
    for lanes in (1, 2, 3, 4, 6, 8, 16, 100, 256):
        dealt = [lane_of("orders", partition, lanes) for partition in range(2 * lanes)]
        assert sorted(dealt) == sorted(2 * list(range(lanes)))


def test_topics_of_one_partition_do_not_all_go_to_one_lane() -> None:
    assert len({lane_of(f"topic-{number}", 0, 16) for number in range(200)}) == 16


def test_the_lane_of_a_partition_never_changes() -> None:
    """Cursors are kept by lane: another dealing would not find them."""
    assert [lane_of("orders", 0, 16), lane_of("orders", 5, 16), lane_of("acme.orders", 0, 16)] == [11, 14, 11]


class Away(FakeAdmin):
    away = False

    async def describe(self, names: object) -> dict[str, TopicFacts]:
        if self.away and self._cluster is FakeAdmin.clusters["cloud:1"]:
            raise ClusterAway("no broker answers")
        return await super().describe(names)


@in_loop
async def look_and_look_again(watch: TopicWatch, local: FakeCluster, cloud: FakeCluster) -> None:
    facts = await watch.look()
    assert facts.local.keys() == {"orders"}
    assert facts.cloud == {}
    assert facts.local_cluster
    cloud.make("acme.orders", 3)
    cloud.make("not.ours")
    facts = await watch.look()
    assert [(name, each.partitions) for name, each in facts.cloud.items()] == [("acme.orders", 3)]
    Away.away = True
    local.grow("orders", 2)
    facts = await watch.look()
    assert facts.cloud.keys() == {"acme.orders"}
    assert facts.local["orders"].partitions == 2
    assert set(watch.troubles) == {"cloud"}
    Away.away = False
    await watch.look()
    assert not watch.troubles


def test_a_cluster_that_is_away_leaves_what_was_known_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "Admin", Away)
    local, cloud = FakeCluster(), FakeCluster()
    local.make("orders")
    FakeAdmin.clusters = {"local:1": local, "cloud:1": cloud}
    route = SealRoute("orders", "orders", "acme.orders")
    settings = Settings("acme", "b", "s", "seal", Path(), Cluster("local:1"), Cluster("cloud:1"), seal=(route,))
    look_and_look_again(TopicWatch(settings), local, cloud)


def test_a_mirror_asks_for_its_sink_topics_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "Admin", Away)
    local, cloud = FakeCluster(), FakeCluster()
    local.make("orders")
    FakeAdmin.clusters = {"local:1": local, "cloud:1": cloud}
    route = OpenRoute("orders", "acme.orders", "orders")
    settings = Settings("acme", "p", "r", "open", Path(), Cluster("local:1"), Cluster("cloud:1"), open=(route,))
    look_and_look_again(TopicWatch(settings), local, cloud)


@in_loop
async def rivals(watch: TopicWatch, local: FakeCluster) -> None:
    asked: list[dict[str, int]] = []

    async def begun(topics: Mapping[str, int]) -> frozenset[str]:
        asked.append(dict(topics))
        return frozenset({"b.x"})

    watch.begun = begun
    local.make("b.x", 2)
    facts = await watch.look()
    assert [(each.reads, each.writes) for each in facts.routes] == [("b.x", "acme.x")]
    assert asked == []
    local.make("a.x", 3)
    facts = await watch.look()
    assert asked == [{"a.x": 3, "b.x": 2}]
    assert [each.reads for each in facts.routes] == ["b.x"]
    assert list(facts.troubles) == ["a.x"]


def many(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[TopicWatch, FakeCluster, FakeCluster]:
    monkeypatch.setattr(topics, "Admin", FakeAdmin)
    local, cloud = FakeCluster(), FakeCluster()
    FakeAdmin.clusters = {"local:1": local, "cloud:1": cloud}
    pattern = SealPattern("all", "^[a-z]+[.](.*)$", r"acme.\1")
    settings = Settings("acme", "b", "s", "seal", Path(), Cluster("local:1"), Cluster("cloud:1"))
    return TopicWatch(replace(settings, seal_patterns=(pattern,), **changes)), local, cloud


def test_of_two_topics_for_one_the_one_that_was_sealed_before_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, local, _cloud = many(monkeypatch)
    rivals(watch, local)


def test_a_worker_that_may_makes_and_grows_the_cloud_topics_of_its_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, local, cloud = many(monkeypatch, manage_topics=True)
    local.make("a.x", 3)
    asyncio.run(watch.look())
    assert cloud.facts()["acme.x"].partitions == 3
    local.grow("a.x", 5)
    assert asyncio.run(watch.look()).cloud["acme.x"].partitions == 5


def test_a_worker_that_may_not_makes_no_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, local, cloud = many(monkeypatch)
    local.make("a.x", 3)
    asyncio.run(watch.look())
    assert cloud.facts() == {}
