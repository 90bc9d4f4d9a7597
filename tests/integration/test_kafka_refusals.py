"""What a topic refuses: too large is cut, refused for good holds its own source partition in the broker's words."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from kafka_world import await_, sealwire
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clusters
    from kafka_cluster import KafkaCluster
    from kafka_world import World

pytestmark = pytest.mark.kafka

NOW: Final = int(time.time() * 1000)
DAY: Final = 24 * 3600 * 1000
TOPICS: Final = ("narrow-sink", "narrow-cloud", "too-large", "dated", "keyed", "giants")
DICE: Final = random.Random(11)


def alter(cluster: KafkaCluster, topic: str, **settings: str) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    for done in admin.incremental_alter_configs(
        [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]
    ).values():
        done.result(30)


def fill(cluster: KafkaCluster, topic: str, values: list[tuple[bytes | None, bytes, int]], partition: int = 0) -> None:
    """Record keys, values and timestamps, in batches as large as they get."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "linger.ms": 200,
            "batch.size": 4_000_000,
            "message.max.bytes": 16_000_000,
            "queue.buffering.max.kbytes": 100_000,
        }
    )
    for record_key, value, timestamp in values:
        producer.produce(topic, value, record_key, partition, timestamp=timestamp)
    assert producer.flush(30) == 0


def noise(count: int, size: int) -> list[tuple[bytes | None, bytes, int]]:
    return [(b"%d" % n, DICE.randbytes(size), NOW + n) for n in range(count)]


def test_what_a_topic_has_no_room_for_is_cut_and_what_it_refuses_for_good_holds_itself_only(
    clusters: Clusters, another: Callable[[str], World]
) -> None:
    source, cloud, sink = clusters
    world = another("limits")
    for topic in TOPICS:
        source.make_topic(topic, 2, max_message_bytes="16000000")
    sink.make_topic("narrow-sink", 2, max_message_bytes="60000")
    sink.make_topic("narrow-cloud", 2)
    sink.make_topic("too-large", 2, max_message_bytes="60000")
    sink.make_topic("dated", 2, message_timestamp_before_max_ms=str(DAY))
    sink.make_topic("keyed", 2, cleanup_policy="compact")
    sink.make_topic("giants", 2, max_message_bytes="16000000")
    world.admit("berlin", "writer")
    world.admit("lisbon", "reader")
    sealer, mirror = world.sealing("writer", TOPICS), world.opening("reader", TOPICS)
    sealwire("topics", "apply", "--yes", sealer.file)
    alter(cloud, "limits.narrow-cloud", max_message_bytes="30000")
    for node in (sealer, mirror):
        sealwire("site", "init", node.file)
    mirror.start()
    sealer.start()

    fill(source, "narrow-sink", noise(700, 1000))
    fill(source, "narrow-cloud", noise(700, 1000))
    fill(source, "narrow-cloud", [(b"large", DICE.randbytes(50_000), NOW)], 1)
    fill(source, "too-large", [*noise(20, 1000), (b"large", DICE.randbytes(90_000), NOW), *noise(5, 1000)])
    fill(source, "dated", [(b"a", b"now", NOW), (b"b", b"before", NOW - 3 * DAY), (b"c", b"behind", NOW)])
    fill(source, "keyed", [(b"a", b"1", NOW), (b"b", b"2", NOW)])
    await_count(sink, "keyed", 2)
    fill(source, "keyed", [(None, b"nobody's", NOW)])
    fill(source, "giants", [(b"%d" % n, DICE.randbytes(8_000_000), NOW) for n in range(2)])
    for topic in ("too-large", "dated", "keyed"):
        fill(source, topic, noise(10, 100), 1)

    for topic in ("narrow-sink", "giants"):
        await_count(sink, topic, 700 if topic == "narrow-sink" else 2)
        assert differences(read_all(source, topic), read_all(sink, topic)) == []
    await_count(sink, "narrow-cloud", 700)
    assert read_all(source, "narrow-cloud")[0] == read_all(sink, "narrow-cloud")[0]

    def why(node: object, topic: str) -> str:
        row = node.rows(topic).get(1 if topic == "narrow-cloud" else 0, {})  # type: ignore[attr-defined]
        return str(row.get("why", "")) if row.get("state") == "held" else ""

    for node, topic, words in (
        (
            sealer,
            "narrow-cloud",
            ("record at offset 0 makes an envelope of 50", "30000 are allowed", "max.message.bytes"),
        ),
        (mirror, "too-large", ("record at source offset 20 makes a batch of 90", "60000 are allowed", "too-large")),
        (mirror, "dated", ("sink-refused", "imestamp")),
        (mirror, "keyed", ("sink-refused", "key")),
    ):
        # What a busy broker did not tell at the refusal comes with the next try.
        await_(
            lambda node=node, topic=topic, words=words: all(each in why(node, topic) for each in words),  # type: ignore[misc]
            f"{topic} held for {words}",
        )
    found = {topic: read_all(sink, topic) for topic in ("too-large", "dated", "keyed")}
    assert len(found["too-large"][0]) == 20, "what stands before it is stored"
    assert len(found["keyed"][0]) == 2
    for topic, partitions in found.items():
        assert partitions[1] == read_all(source, topic)[1]
    assert mirror.rows("too-large")[0]["cursor"] == 20
