"""What is not there yet is waited for: said once, with what helps, and gone on with by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from kafka_cluster import KafkaCluster
from kafka_world import await_, sealwire
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clusters
    from kafka_world import World

pytestmark = pytest.mark.kafka

LONG_ENOUGH = 12.0  # seconds in which a worker that speaks each time it tries would have spoken several times


def fill(cluster: KafkaCluster, topic: str, count: int = 30) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for n in range(count):
        producer.produce(topic, b"record %d" % n, b"%d" % n, n % 3)
    assert producer.flush(30) == 0


def test_without_a_cloud_topic_or_a_reader_sealing_waits_and_says_for_what(
    clusters: Clusters, another: Callable[[str], World]
) -> None:
    world = another("patience")
    world.make_source_topics(["letters"])
    fill(clusters.source, "letters")
    world.admit("berlin", "writer")
    sealer = world.sealing("writer", ["letters"])
    sealwire("site", "init", sealer.file)
    sealer.start(ready=False)

    await_(lambda: "patience.letters is missing" in sealer.status.get("why", ""), "the missing cloud topic named")
    assert "sealwire topics apply" in sealer.status["why"]
    assert "patience.letters" in sealwire("status", sealer.file, code=1)
    sealwire("topics", "apply", "--yes", sealer.file)
    sealer.await_ready()

    await_(lambda: "no reader is enrolled" in sealer.channel("letters").get("why", ""), "why sealing holds")
    assert "no reader is enrolled" in " ".join(sealwire("status", sealer.file, code=1).split())
    assert not any(read_all(clusters.cloud, "patience.letters").values())
    assert sealer.rows("letters")[0]["position"] == 0

    world.admit("lisbon", "reader")
    mirror = world.opening("reader", ["letters"])
    sealwire("site", "init", mirror.file)
    mirror.start()
    await_count(clusters.sink, "letters", 30)
    assert differences(read_all(clusters.source, "letters"), read_all(clusters.sink, "letters")) == []
    await_(lambda: sealer.channel("letters")["readers"] == 1, "one reader shown")
    assert "All flows." in sealwire("status", sealer.file)
    assert sealer.said("patience.letters is missing") == 1
    assert sealer.said("no reader is enrolled") == 1
    assert sealer.said("worker started") == 1


def test_a_local_broker_that_is_away_at_the_start_is_waited_for_and_told_once(
    clusters: Clusters, another: Callable[[str], World]
) -> None:
    world = another("early")
    world.admit("berlin", "writer")
    with KafkaCluster("late") as local:
        local.make_topic("notes", 3)
        fill(local, "notes")
        sealer = world.sealing("writer", ["notes"], local=local.bootstrap)
        sealwire("topics", "apply", "--yes", sealer.file)
        sealwire("site", "init", sealer.file)
        local.stop()
        sealer.start(ready=False)
        await_(lambda: sealer.said(f"no broker answers at {local.bootstrap}"), "the broker's absence told")
        world.admit("lisbon", "reader")
        mirror = world.opening("reader", ["notes"])
        sealwire("site", "init", mirror.file)
        mirror.start()
        quiet = len(sealer.up.text.splitlines())
        with pytest.raises(AssertionError):
            await_(lambda: len(sealer.up.text.splitlines()) > quiet, "another line", within=LONG_ENOUGH)
        assert sealer.said("no broker answers") == 1
        assert sealer.said("worker started") == 1
        local.start()
        sealer.await_ready()
        await_count(clusters.sink, "notes", 30)
        assert differences(read_all(local, "notes"), read_all(clusters.sink, "notes")) == []
        sealer.up.stop()
