"""What neither the cloud nor the source has any more: a person decides, and exactly that is missing at the sink."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_world import await_, sealwire
from traffic import await_count, fill, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Clusters
    from kafka_cluster import KafkaCluster
    from kafka_world import Node, World

pytestmark = pytest.mark.kafka

TOPIC = "minutes"


def delete_before(cluster: KafkaCluster, topic: str, offset: int) -> None:
    """Have a cluster lose what lies before an offset (-1: all that is there)."""
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    for answer in admin.delete_records([TopicPartition(topic, 0, offset)]).values():
        answer.result(30)


def values(cluster: KafkaCluster) -> list[int]:
    """The numbers of the records that stand at the sink, in order."""
    return [int(each.value) for each in read_all(cluster, TOPIC)[0]]


def held(mirror: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(sealwire("held", "--json", mirror.file, code=1))["held"]
    return found


def decide(mirror: Node) -> bool:
    """Copy the line that `held` gives, with a reason in it; true once a worker has carried it out."""
    with suppress(AssertionError):  # it stands otherwise by now: look again
        (row,) = held(mirror)
        assert (row["span"], row["cursor"]) == ([100, 200], 100)
        words = [each if each != "..." else "deleted at both, by mistake" for each in shlex.split(row["command"])[1:]]
        return "done, order" in sealwire(*words, "--yes", within=120)
    return False


def test_what_is_gone_at_cloud_and_source_is_named_and_passed_when_a_person_says_so(
    clusters: Clusters, another: Callable[[str], World]
) -> None:
    world = another("council")
    world.make_source_topics([TOPIC], partitions=1)
    world.admit("berlin", "writer")
    world.admit("lisbon", "reader")
    sealer, mirror = world.sealing("writer", [TOPIC]), world.opening("reader", [TOPIC])
    sealwire("topics", "apply", "--yes", sealer.file)
    for node in (sealer, mirror):
        sealwire("site", "init", node.file)
    mirror.start(ready=False)
    sealer.start()
    mirror.await_ready()
    fill(clusters.source, TOPIC, 0, 100)
    await_count(clusters.sink, TOPIC, 100)
    await_(lambda: mirror.rows(TOPIC).get(0, {}).get("cursor") == 100, "the cursor at 100")
    mirror.up.stop()

    fill(clusters.source, TOPIC, 100, 200)
    await_(lambda: sealer.rows(TOPIC).get(0, {}).get("position") == 200, "all of it sealed")
    delete_before(clusters.cloud, world.cloud_topic(TOPIC), -1)
    delete_before(clusters.source, TOPIC, 200)
    fill(clusters.source, TOPIC, 200, 300)
    mirror.start()
    await_(lambda: mirror.rows(TOPIC).get(0, {}).get("state") in {"waiting", "held"}, "a gap that shows")
    assert values(clusters.sink) == list(range(100))
    assert "[100, 200): 100 offsets" in sealwire("held", mirror.file, code=1)

    await_(lambda: decide(mirror), "the gap accepted", within=180)
    await_count(clusters.sink, TOPIC, 200)
    assert values(clusters.sink) == [*range(100), *range(200, 300)]
    assert "Nothing waits and nothing is held" in sealwire("held", mirror.file)
    sealwire("accept-gap", mirror.file, "--channel", TOPIC, "--why", "once more", "--yes", code=1)

    mirror.kill_worker()
    fill(clusters.source, TOPIC, 300, 310)
    await_count(clusters.sink, TOPIC, 210)
    assert set(values(clusters.sink)) == {*range(100), *range(200, 310)}
