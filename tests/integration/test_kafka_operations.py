"""What an operator is told is what happened: metrics against the records that passed, health against the clusters."""

from __future__ import annotations

import http.client
import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer
from kafka_world import await_
from prometheus_client.parser import text_string_to_metric_families
from traffic import read_all

if TYPE_CHECKING:
    from conftest import Bridge, Clusters
    from kafka_world import Node

TOPIC = "watched"
COUNT = 90


def get(node: Node, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    return 0, ""


def figure(node: Node, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(get(node, "/metrics")[1])
        for sample in family.samples
        if sample.name == f"sealwire_{name}" and labels.items() <= sample.labels.items()
    )


def passed(node: Node, **labels: str) -> tuple[float, ...]:
    names = ("records_total", "envelopes_total", "bytes_total")
    return tuple(figure(node, name, channel=TOPIC, **labels) for name in names)


def ready(node: Node) -> tuple[int, str]:
    status, body = get(node, "/health/ready")
    return status, json.loads(body)["why"] if body else ""


def told_ready(node: Node) -> bool:
    """Whether the present worker has said that it is ready."""
    return "info    ready" in node.up.text.rpartition("worker started")[2]


def lost(node: Node) -> int:
    """How often it was told that the cloud is away, alone or among other causes."""
    return len(re.findall(r"not ready: .*\bcloud\b", node.up.text))


def test_metrics_are_what_passed_and_ready_is_what_the_cloud_allows(clusters: Clusters, bridge: Bridge) -> None:
    nodes = (bridge.sealer, bridge.mirror)
    for node in nodes:
        await_(lambda node=node: ready(node)[0] == 200, "ready")
        await_(lambda node=node: told_ready(node), "that it is ready told")  # a start is no loss of anything
    await_(lambda: figure(bridge.mirror, "topic_lag_offsets", channel=TOPIC) == 0, "nothing left of before")
    before = {node.identity: passed(node, stage="delivered") for node in nodes}
    earlier = _envelopes(clusters, bridge)

    producer = Producer({"bootstrap.servers": clusters.source.bootstrap})
    for number in range(COUNT):
        producer.produce(TOPIC, b"x" * 100, b"%d" % number, number % 3)
    assert producer.flush(30) == 0

    def delivered(node: Node) -> bool:
        return passed(node, stage="delivered")[0] == before[node.identity][0] + COUNT

    for node in nodes:
        await_(lambda node=node: delivered(node), f"{COUNT} records delivered by {node.identity}")
        await_(lambda node=node: figure(node, "topic_lag_offsets", channel=TOPIC) == 0, "no lag")
        assert figure(node, "cluster_up") == 2
        assert figure(node, "source_partitions", channel=TOPIC, state="flowing") == 3
        assert 0 <= time.time() - figure(node, "last_delivery_timestamp_seconds", channel=TOPIC) < 60
        assert figure(node, "ready") == 1
        assert figure(node, "refused_total", what="envelope", reason="bad-signature") == 0
    after = _envelopes(clusters, bridge)
    sizes = sum(after) - sum(earlier)
    now, was = passed(bridge.sealer, stage="delivered"), before[bridge.sealer.identity]
    assert now[1] - was[1] == len(after) - len(earlier)
    assert sizes <= now[2] - was[2] <= sizes + 200 * (len(after) - len(earlier))  # what Kafka puts around each

    told = {node.identity: (lost(node), node.said("ready again")) for node in nodes}
    clusters.cloud.stop()
    try:
        for node in nodes:
            await_(lambda node=node: "the cloud cluster does not answer" in ready(node)[1], "away")
            assert ready(node)[0] == 503
            assert get(node, "/health/live")[0] == 200
            await_(lambda node=node: lost(node) > told[node.identity][0], "its loss told", within=15)
            assert figure(node, "cluster_up", cluster="cloud") == 0
            assert figure(node, "cluster_up", cluster="local") == 1
    finally:
        clusters.cloud.start()
    for node in nodes:
        await_(lambda node=node: ready(node)[0] == 200, "ready again")
        await_(lambda node=node: node.said("ready again") > told[node.identity][1], "its return told", within=15)
        assert lost(node) <= told[node.identity][0] + 2  # once, and once more where it flickers


def _envelopes(clusters: Clusters, bridge: Bridge) -> list[int]:
    """The sizes of a channel's envelopes in the cloud."""
    stored: dict[int, list[Any]] = read_all(clusters.cloud, bridge.world.cloud_topic(TOPIC))
    return [len(seen.value) for found in stored.values() for seen in found]
