"""What is known of both clusters' topics, and which lane a partition belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fake_kafka import FakeAdmin, FakeCluster
from in_loop import in_loop

from sealwire.agents import topics
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.settings import Cluster, OpenRoute, SealRoute, Settings
from sealwire.agents.topics import TopicWatch, lane_of

if TYPE_CHECKING:
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
    assert watch.troubles == ("cloud",)
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
