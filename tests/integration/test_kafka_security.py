"""The whole path with logins, certificates and least rights, on brokers where whatever was not granted is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from confluent_kafka import Producer
from kafka_world import Node, sealwire
from secure_world import SecureWorld, allow, give_scram, rights
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Clusters
    from kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

PROJECT = "guarded"
TOPIC = "ledger"
CLOUD_TOPIC = f"{PROJECT}.{TOPIC}"


class Guarded(NamedTuple):
    world: SecureWorld
    sealer: Node
    mirror: Node


def fill(cluster: KafkaCluster, count: int = 30, topic: str = TOPIC) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for n in range(count):
        producer.produce(topic, b"record %d" % n, b"%d" % n, n % 3)
    assert producer.flush(30) == 0


def grant_all(clusters: Clusters) -> None:
    """What docs/RIGHTS.md says, and nothing else."""
    berlin = {"PROJECT": PROJECT, "SITE": "berlin", "TOPIC": TOPIC, "CLOUD_TOPIC": CLOUD_TOPIC}
    lisbon = {**berlin, "SITE": "lisbon"}
    allow(clusters.source, "keeper", rights("administrator sending", **berlin))
    allow(clusters.source, "sealer-at-home", rights("sealer local", **berlin))
    allow(clusters.cloud, "sealer", rights("sealer cloud", **berlin))
    allow(clusters.cloud, "mirror", rights("mirror cloud", **lisbon))
    allow(clusters.sink, "mirror-at-home", rights("mirror local", **lisbon))
    allow(clusters.sink, "keeper", rights("administrator receiving", **lisbon))
    allow(clusters.cloud, "authority", rights("authority cloud", **berlin))
    allow(clusters.cloud, "administrator", rights("administrator cloud", **berlin))


@pytest.fixture(scope="module")
def guarded(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp(PROJECT)
    source, cloud, sink = (each.secured for each in clusters)
    give_scram(clusters.source, "sealer-at-home")
    give_scram(clusters.cloud, "mirror")
    grant_all(clusters)
    world = SecureWorld(PROJECT, directory, *clusters)
    world.local = {
        "sealer": source.login_file(directory / "sealer" / "local.config", "sealer-at-home", "SCRAM-SHA-512"),
        "mirror": sink.certificate_file(directory / "mirror" / "local.config", "mirror-at-home"),
    }
    world.logins = {
        "sealer": cloud.login_file(directory / "sealer" / "kafka.config", "sealer"),
        "mirror": cloud.login_file(directory / "mirror" / "kafka.config", "mirror", "SCRAM-SHA-256"),
        "authority": cloud.login_file(directory / "authority.config", "authority"),
        "administrator": cloud.certificate_file(directory / "administrator.config", "administrator"),
    }
    keepers = [
        source.certificate_file(directory / "berlin.config", "keeper"),
        sink.certificate_file(directory / "lisbon.config", "keeper"),
    ]
    try:
        world.found()
        world.make_source_topics([TOPIC])
        world.admit("berlin", "sealer")
        world.admit("lisbon", "mirror")
        sealer, mirror = world.sealing("sealer", [TOPIC]), world.opening("mirror", [TOPIC])
        sealwire("topics", "apply", "--yes", sealer.file, "--kafka-config", world.logins["administrator"])
        for node, keeper in zip((sealer, mirror), keepers, strict=True):
            sealwire("site", "init", node.file, "--kafka-config", keeper)
        sealer.start(ready=False)
        mirror.start()
        sealer.await_ready()
        yield Guarded(world, sealer, mirror)
    finally:
        world.close()


def test_with_the_least_rights_every_record_arrives_over_scram_plain_and_certificates(
    guarded: Guarded, clusters: Clusters
) -> None:
    fill(clusters.source)
    await_count(clusters.sink, TOPIC, 30)
    assert differences(read_all(clusters.source, TOPIC), read_all(clusters.sink, TOPIC)) == []
    for node in (guarded.sealer, guarded.mirror):
        assert "All flows." in sealwire("status", node.file)
