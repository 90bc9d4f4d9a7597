"""What a cloud loses on real Kafka comes again: deleted records, a topic made anew, a tail that nobody hears of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from confluent_kafka import OFFSET_END, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_world import Node, World, await_, sealwire
from test_kafka_topics import remove
from traffic import await_count, compare, count_of, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clusters
    from kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

HEALED_WITHIN = 10.0  # seconds after a gap is met
PARTITIONS = range(3)


class Lossy(NamedTuple):
    """A project of one topic, whose mirror is stopped while the cloud loses something."""

    world: World
    sealer: Node
    mirror: Node
    topic: str

    @property
    def cloud_topic(self) -> str:
        return self.world.cloud_topic(self.topic)

    def send(self, mark: str, count: int) -> None:
        """Write records to each partition and wait until they are sealed."""
        producer = Producer({"bootstrap.servers": self.world.source.bootstrap, "linger.ms": 1})
        for number in range(count):
            for partition in PARTITIONS:
                value = f"{mark} {partition}/{number} ".encode() + b"x" * 500
                producer.produce(self.topic, value, str(number).encode(), partition)
            if number % 100 == 0:
                producer.flush(30)  # several batches, and several envelopes
        assert producer.flush(30) == 0
        there = count_of(self.world.source, self.topic)
        await_(lambda: self.lag == 0 and self.sealed >= there, "everything sealed")

    @property
    def sealed(self) -> int:
        return sum(row["position"] for row in self.sealer.rows(self.topic).values())

    @property
    def lag(self) -> int:
        rows = self.sealer.rows(self.topic)
        return sum(row["lag"] for row in rows.values()) if set(rows) == set(PARTITIONS) else -1

    @property
    def states(self) -> set[str]:
        return {row["state"] for row in self.mirror.rows(self.topic).values()}

    @property
    def arrived(self) -> bool:
        last = compare(read_all(self.world.source, self.topic), read_all(self.world.sink, self.topic))
        return last[1:4] == (0, 0, 0)

    def await_healed(self) -> float:
        """Wait until nothing is missing; gives the seconds since a gap was seen first."""
        await_(lambda: "waiting" in self.states, "a gap that is met", every=0.05)
        met = time.monotonic()
        await_(lambda: self.arrived, f"everything there: {self.mirror.rows(self.topic)}")
        return time.monotonic() - met


@pytest.fixture
def lossy(another: Callable[[str], World], request: pytest.FixtureRequest) -> Lossy:
    project = f"lossy{abs(hash(request.node.name)) % 10_000}"
    world, topic = another(project), f"{project}-orders"
    world.make_source_topics([topic])
    world.admit("berlin", "writer")
    world.admit("lisbon", "reader")
    found = Lossy(world, world.sealing("writer", [topic]), world.opening("reader", [topic]), topic)
    sealwire("topics", "apply", "--yes", found.sealer.file)
    for node in (found.sealer, found.mirror):
        sealwire("site", "init", node.file)
    found.sealer.start(ready=False)
    found.mirror.start()
    found.sealer.await_ready()
    found.send("first", 200)
    await_count(world.sink, topic, 600)
    return found


def delete_all(cluster: KafkaCluster, topic: str) -> None:
    """Delete every record of a topic, as an operator of the cloud can."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    for done in admin.delete_records([TopicPartition(topic, each, OFFSET_END) for each in PARTITIONS]).values():
        done.result(30)


def test_records_deleted_in_the_cloud_under_a_stopped_mirror_are_sealed_again_within_ten_seconds(
    clusters: Clusters, lossy: Lossy, record_property: Callable[[str, object], None]
) -> None:
    lossy.mirror.up.stop()
    lossy.send("lost", 1000)
    delete_all(clusters.cloud, lossy.cloud_topic)
    lossy.mirror.start()
    lossy.send("after", 20)
    seconds = lossy.await_healed()
    record_property("seconds until healed", seconds)
    assert seconds < HEALED_WITHIN
    await_(lambda: lossy.states == {"flowing"}, "all flow")
    assert not lossy.mirror.said("is held")


def test_a_cloud_topic_that_is_made_anew_is_filled_again_with_what_no_mirror_had(
    clusters: Clusters, lossy: Lossy, record_property: Callable[[str, object], None]
) -> None:
    lossy.mirror.up.stop()
    lossy.send("lost", 1000)
    remove(clusters.cloud, lossy.cloud_topic)
    sealwire("topics", "apply", "--yes", lossy.sealer.file)
    lossy.mirror.start()
    lossy.send("after", 20)
    seconds = lossy.await_healed()
    record_property("seconds until healed", seconds)
    assert seconds < HEALED_WITHIN


def test_a_tail_that_was_deleted_is_noticed_as_stale_and_sealed_again_though_nothing_follows_it(
    clusters: Clusters, lossy: Lossy
) -> None:
    lossy.mirror.up.stop()
    lossy.send("lost", 200)
    delete_all(clusters.cloud, lossy.cloud_topic)
    lossy.mirror.start()
    await_(lambda: lossy.arrived, "the tail at the sink", within=150, every=1)
    assert lossy.mirror.said("is stale") + lossy.mirror.said("are stale") > 0
