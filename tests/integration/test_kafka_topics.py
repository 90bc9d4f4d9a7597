"""Topics come, grow, go and are made anew while workers run; several sites send, and several receive."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from kafka_world import Node, World, await_, sealwire
from traffic import Seen, await_count, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Clusters
    from kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

PICKED_UP_WITHIN = 10.0  # seconds, on Kafka


class Many(NamedTuple):
    """A project whose mappings are patterns: berlin seals and may make cloud topics, lisbon opens."""

    world: World
    sealer: Node
    mirror: Node


@pytest.fixture(scope="module")
def many(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    world = World("many", tmp_path_factory.mktemp("many"), *clusters).found()
    try:
        world.admit("berlin", "writer")
        world.admit("lisbon", "reader")
        sealer = world.mapped(
            "seal",
            "writer",
            "berlin",
            clusters.source,
            'channel: erp, seal: "^erp[.](.*)$", to: "many.erp.\\\\1"',
            'channel: crm, seal: "^[a-z]+-crm[.](.*)$", to: "many.crm.\\\\1"',
            more="manage_topics: true\n",
        )
        mirror = world.mapped(
            "open",
            "reader",
            "lisbon",
            clusters.sink,
            'channel: erp, open: "^many[.]erp[.](.*)$", to: "erp.\\\\1"',
            'channel: crm, open: "^many[.]crm[.](.*)$", to: "crm.\\\\1"',
            "channel: shared, open: many.shared, to: shared",
        )
        for node in (sealer, mirror):
            sealwire("site", "init", node.file, code=1 if node is mirror else 0)
            node.start(ready=False)
        sealer.await_ready()
        yield Many(world, sealer, mirror)
    finally:
        world.close()


def fill(cluster: KafkaCluster, topic: str, partitions: range, count: int, mark: str = "") -> None:
    """Write ``count`` records to each of the partitions, and see that the broker has them."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "topic.metadata.refresh.interval.ms": 1000})

    def writable() -> bool:
        shown = producer.list_topics(topic, timeout=10).topics[topic]
        return shown.error is None and len(shown.partitions) >= partitions.stop

    await_(writable, f"{partitions.stop} partitions of {topic}")
    for partition in partitions:
        for number in range(count):
            producer.produce(topic, f"{mark}{partition}/{number}".encode(), str(number).encode(), partition)
    assert producer.flush(30) == 0


def grow(cluster: KafkaCluster, topic: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(30)


def remove(cluster: KafkaCluster, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    await_(lambda: topic not in admin.list_topics(timeout=10).topics, f"{topic} gone")


def seconds_until(what: Callable[[], object], words: str) -> float:
    began = time.monotonic()
    await_(what, words)
    return time.monotonic() - began


def test_topics_made_while_workers_run_are_sealed_within_ten_seconds_and_arrive(
    clusters: Clusters, many: Many, record_property: Callable[[str, object], None]
) -> None:
    clusters.source.make_topic("erp.orders", 2)
    clusters.source.make_topic("other.orders", 1)
    fill(clusters.source, "erp.orders", range(2), 50)
    seconds = seconds_until(
        lambda: {row["position"] for row in many.sealer.rows("erp.orders").values()} == {50}, "erp.orders sealed"
    )
    record_property("seconds until sealed", seconds)
    assert seconds < PICKED_UP_WITHIN
    record_property("seconds more until delivered", seconds_until(lambda: delivered(clusters, "erp.orders"), "arrival"))
    assert many.sealer.rows("other.orders") == {}


def delivered(clusters: Clusters, topic: str) -> bool:
    sink = read_all(clusters.sink, topic)
    return bool(sink) and differences(read_all(clusters.source, topic), sink) == []


def test_partitions_that_are_added_wait_where_they_lack_and_go_on_by_themselves(clusters: Clusters, many: Many) -> None:
    clusters.source.make_topic("erp.growing", 1)
    fill(clusters.source, "erp.growing", range(1), 20)
    await_(lambda: delivered(clusters, "erp.growing"), "the first partition at the sink")
    grow(clusters.source, "erp.growing", 3)
    fill(clusters.source, "erp.growing", range(1, 3), 20)
    await_(lambda: set(many.sealer.rows("erp.growing")) == {0, 1, 2}, "three partitions sealed")
    await_(
        lambda: [many.mirror.rows("erp.growing").get(n, {}).get("state") for n in (1, 2)] == ["waiting", "waiting"],
        "what the sink has no partition for, waiting",
    )
    assert "sink topic erp.growing has 1 partitions" in many.mirror.rows("erp.growing")[1]["why"]
    fill(clusters.source, "erp.growing", range(1), 20, "more ")
    await_(lambda: len(read_all(clusters.sink, "erp.growing")[0]) == 40, "the partition that is there goes on")
    grow(clusters.sink, "erp.growing", 3)
    await_(lambda: delivered(clusters, "erp.growing"), "all partitions at the sink")
    await_(lambda: {row["state"] for row in many.mirror.rows("erp.growing").values()} == {"flowing"}, "all flow")


def test_a_topic_made_anew_is_another_source_partition_and_loses_nothing(clusters: Clusters, many: Many) -> None:
    clusters.source.make_topic("erp.anew", 1)
    fill(clusters.source, "erp.anew", range(1), 30, "old ")
    await_(lambda: delivered(clusters, "erp.anew"), "the old topic at the sink")
    old = many.sealer.rows("erp.anew")[0]
    remove(clusters.source, "erp.anew")
    clusters.source.make_topic("erp.anew", 1)
    fill(clusters.source, "erp.anew", range(1), 10, "new ")
    await_count(clusters.sink, "erp.anew", 40)
    values = [each.value for each in read_all(clusters.sink, "erp.anew")[0]]
    assert values == [f"old 0/{n}".encode() for n in range(30)] + [f"new 0/{n}".encode() for n in range(10)]
    await_(lambda: many.sealer.rows("erp.anew")[0]["position"] == 10, "the new topic's own position")
    assert many.sealer.rows("erp.anew")[0]["topic_id"] != old["topic_id"]


def test_a_topic_that_is_removed_leaves_the_status_and_its_neighbours_flow(clusters: Clusters, many: Many) -> None:
    clusters.source.make_topic("erp.brief", 1)
    fill(clusters.source, "erp.brief", range(1), 5)
    await_(lambda: delivered(clusters, "erp.brief"), "the brief topic at the sink")
    remove(clusters.source, "erp.brief")
    await_(lambda: not many.sealer.rows("erp.brief"), "its row gone")
    assert many.sealer.said("erp.brief[0] is sealed no more") == 1
    clusters.source.make_topic("erp.after", 1)
    fill(clusters.source, "erp.after", range(1), 5)
    await_(lambda: delivered(clusters, "erp.after"), "another topic at the sink")


def test_a_cloud_topic_that_is_removed_and_made_again_is_sealed_into_and_read_again(
    clusters: Clusters, many: Many
) -> None:
    clusters.source.make_topic("erp.cloudy", 1)
    fill(clusters.source, "erp.cloudy", range(1), 30)
    await_(lambda: delivered(clusters, "erp.cloudy"), "what was before, at the sink")
    remove(clusters.cloud, "many.erp.cloudy")
    fill(clusters.source, "erp.cloudy", range(1), 30, "after ")
    await_count(clusters.sink, "erp.cloudy", 60)
    await_(lambda: delivered(clusters, "erp.cloudy"), "what came after, at the sink")


def test_two_topics_for_one_cloud_topic_are_both_named_and_the_first_goes_on(clusters: Clusters, many: Many) -> None:
    clusters.source.make_topic("b-crm.people", 1)
    fill(clusters.source, "b-crm.people", range(1), 5, "b ")
    await_count(clusters.sink, "crm.people", 5)
    clusters.source.make_topic("a-crm.people", 1)
    fill(clusters.source, "a-crm.people", range(1), 5, "a ")
    words = "a-crm.people and b-crm.people would both go to many.crm.people: b-crm.people does"
    await_(lambda: words in " ".join(many.sealer.status.get("troubles", {}).values()), "both named")
    fill(clusters.source, "b-crm.people", range(1), 5, "b again ")
    await_count(clusters.sink, "crm.people", 10)
    assert {each.value[:1] for each in read_all(clusters.sink, "crm.people")[0]} == {b"b"}
    assert many.sealer.rows("a-crm.people") == {}
    assert many.sealer.said("would both go to") == 1


def test_two_sites_send_into_one_cloud_topic_and_two_sites_receive_it(clusters: Clusters, many: Many) -> None:
    """The second sender may make no topics: what the cloud topic lacks waits for the command that it names."""
    world = many.world
    for site, count in (("rome", 1), ("oslo", 2)):
        clusters.source.make_topic(f"from-{site}", count)
        world.admit(site, f"{site}-writer")
    world.admit("porto", "porto-reader")
    senders = [
        world.mapped(
            "seal", f"{site}-writer", site, clusters.source, f"channel: shared, seal: from-{site}, to: many.shared"
        )
        for site in ("rome", "oslo")
    ]
    second = world.mapped(
        "open", "porto-reader", "porto", clusters.source, "channel: shared, open: many.shared, to: at-porto"
    )
    sealwire("topics", "apply", "--yes", senders[0].file)
    for node in (*senders, second):
        sealwire("site", "init", node.file)
        node.start(ready=False)
    for node in senders:  # what is sealed before is for the readers of then
        await_(lambda each=node: each.channel("shared").get("readers") == 2, "both readers granted")  # type: ignore[misc]
    fill(clusters.source, "from-rome", range(1), 30, "rome ")
    fill(clusters.source, "from-oslo", range(2), 30, "oslo ")
    oslo = senders[1]
    await_(lambda: oslo.rows("from-oslo").get(1, {}).get("state") == "waiting", "a partition waiting for the cloud")
    assert (
        "cloud topic many.shared has 1 partitions; sealwire topics apply grows it" in oslo.rows("from-oslo")[1]["why"]
    )
    await_count(clusters.sink, "shared", 60)
    sealwire("topics", "apply", "--yes", oslo.file)
    grow(clusters.sink, "shared", 2)
    grow(clusters.source, "at-porto", 2)
    for cluster, topic in ((clusters.sink, "shared"), (clusters.source, "at-porto")):
        await_count(cluster, topic, 90)
        found = read_all(cluster, topic)
        assert of("rome", found[0]) == read_all(clusters.source, "from-rome")[0]
        assert [of("oslo", found[0]), of("oslo", found[1])] == list(read_all(clusters.source, "from-oslo").values())
    for node in (*senders, second):
        node.up.stop()


def of(site: str, records: list[Seen]) -> list[Seen]:
    return [each for each in records if (each.value or b"").startswith(site.encode())]
