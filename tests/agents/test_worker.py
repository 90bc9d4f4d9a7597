"""What a worker is built of: one Faust app at home, with the ids and options that everything else relies on."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from in_loop import until
from world import LANES, OPEN_ORDERS, ORDERS, World, in_world

from sealwire.agents import metrics
from sealwire.agents import worker as workers
from sealwire.agents.health import Health
from sealwire.agents.settings import Cluster, Settings
from sealwire.keys.clocks import AUTHORITY, Ahead
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from world import Store


def settings(tmp_path: Path, direction: str = "seal", *, embedded: bool = False) -> Settings:
    local = Cluster("local-a:1, local-b:2", embedded=embedded)
    made = Settings("acme", "berlin", "producer1", direction, tmp_path, local, Cluster("cloud:1"), lanes=5, web_port=9)  # type: ignore[arg-type]
    return replace(made, seal=(ORDERS,)) if direction == "seal" else replace(made, open=(OPEN_ORDERS,))


class NoStore:
    def load(self) -> Store:
        raise AssertionError("nothing is opened before the app starts")


@pytest.mark.parametrize("direction", ["seal", "open"])
def test_an_app_has_the_id_and_the_topics_of_its_project_site_and_direction(tmp_path: Path, direction: str) -> None:
    app = workers.build(settings(tmp_path, direction), NoStore())  # type: ignore[arg-type]
    assert app.conf.id == f"_sealwire.acme.berlin.{direction}"
    assert [str(url) for url in app.conf.broker] == ["kafka://local-a:1", "kafka://local-b:2"]
    (table,) = app.tables.values()
    assert table.partitions == 5
    assert table.changelog_topic.get_topic_name() == f"_sealwire.acme.berlin.{direction}-state-changelog"
    (agent,) = app.agents.values()
    (topic,) = agent.channel.topics
    assert topic == f"_sealwire.acme.berlin.{direction}.lanes"


def test_no_group_of_faust_s_ever_reaches_the_cloud(tmp_path: Path) -> None:
    app = workers.build(settings(tmp_path), NoStore())  # type: ignore[arg-type]
    assert "cloud" not in repr([app.conf.broker, app.conf.broker_consumer, app.conf.broker_producer])


def test_a_worker_of_apache_kafka_is_a_static_member_and_one_of_the_embedded_broker_is_not(tmp_path: Path) -> None:
    stock = workers.build(settings(tmp_path), NoStore())  # type: ignore[arg-type]
    embedded = workers.build(settings(tmp_path, embedded=True), NoStore())  # type: ignore[arg-type]
    assert stock.conf.consumer_group_instance_id == "producer1-seal"
    assert not embedded.conf.consumer_group_instance_id
    assert embedded.conf.broker_session_timeout < stock.conf.broker_session_timeout


def test_a_static_member_comes_back_under_its_url_whatever_its_host_is_called_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker hands it what it was assigned before, and Faust asserts that the URL in there is its own."""
    urls = []
    for host in ("3f1c9a", "b07e21"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        urls.append(str(workers.build(settings(tmp_path), NoStore()).assignor._url))  # type: ignore[arg-type]  # noqa: SLF001
    assert urls == ["http://producer1"] * 2


def test_options_that_the_lanes_rely_on_are_set(tmp_path: Path) -> None:
    conf = workers.build(settings(tmp_path), NoStore()).conf  # type: ignore[arg-type]
    assert conf.stream_wait_empty is False
    assert conf.topic_disable_leader is True
    assert conf.topic_partitions == 5
    assert str(conf.store) == "rocksdb:"
    assert conf.datadir == tmp_path / "faust"


def test_faust_opens_no_port_whatever_its_command_line_says(tmp_path: Path) -> None:
    app = workers.build(settings(tmp_path), NoStore())  # type: ignore[arg-type]
    app.conf.web_enabled = True  # as `faust worker` sets it
    assert not any("Web" in type(service).__name__ for service in app.boot_strategy.server())


def test_a_local_cluster_with_a_password_is_given_it_and_shows_it_nowhere(tmp_path: Path) -> None:
    security = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "hunter2",
    }
    made = settings(tmp_path)
    made = replace(made, local=replace(made.local, security=security))
    app = workers.build(made, NoStore())  # type: ignore[arg-type]
    assert app.conf.broker_credentials.password == "hunter2"  # noqa: S105
    assert "hunter2" not in repr(made)


@in_world
async def test_a_worker_s_snapshot_says_why_it_is_not_ready(world: World) -> None:
    station = world.mirror()
    worker = workers.Worker.__new__(workers.Worker)
    worker.settings, worker._control, worker.side, worker.lanes = (
        station.settings, station.control, station.side, station.lanes,
    )  # fmt: skip
    worker._watch, worker._since, worker._stopping = station.watch, 5, False
    worker._local, worker._cloud = station.local, station.cloud  # type: ignore[assignment]
    worker._local_writer, worker._cloud_writer = station.local_writer, station.cloud_writer  # type: ignore[assignment]
    for reader in (station.local, station.cloud):
        vars(reader).update(away="", ended=[])
    for writer in (station.local_writer, station.cloud_writer):
        vars(writer).update(troubles={}, ended=[])
    worker._budget, worker.app = station.cloud.budget, SimpleNamespace(health=Health(station.agent))  # type: ignore[assignment]
    told = worker.snapshot()
    assert told["ready"] is False
    assert told["why"] == "reading acme.control; waiting for Faust's assignment"
    await station.start()
    await until(lambda: worker.snapshot()["ready"] and station.seated())
    told = worker.snapshot()
    assert told["lanes"] == list(range(LANES))
    station.side.refuse(Rejected(Reason.FOREIGN), ("acme.orders", 0), 0, None)  # type: ignore[union-attr]
    assert worker.snapshot()["refused"] == {"foreign": 1}
    station.control.trail.trouble = "the audit trail cannot be written"
    assert worker.snapshot()["degraded"] == ["the audit trail cannot be written"]
    assert worker.snapshot()["ready"]  # it stops nothing
    station.control.trail.trouble = ""
    station.control.renewal.restored = "this vault is an old backup"
    assert worker.snapshot()["degraded"] == ["this vault is an old backup"]
    station.control.renewal.restored = ""
    believed, now = station.control.trust, world.clock.now()
    station.control.trust = replace(believed, ahead={b"m" * 32: Ahead(1 << 53, now), AUTHORITY: Ahead(now + 1000, now)})
    (words,) = worker.snapshot()["degraded"]
    assert f"dated a statement {1 << 53} ms when our clock said" in words
    assert ", the authority dated a statement " in words
    station.control.trust = believed
    world.cloud.topics.pop("acme.orders")
    await until(lambda: "cloud topic acme.orders is missing" in worker.snapshot()["why"])
    told = worker.snapshot()
    assert told["causes"] == ["topics"]
    assert told["clusters"] == {"local": True, "cloud": True}
    vars(station.cloud).update(away="no leader")
    assert worker.snapshot()["clusters"] == {"local": True, "cloud": False}
    assert "the cloud cluster does not answer" in worker.snapshot()["why"]
    shown = json.dumps(worker.snapshot()) + metrics.encode(worker.snapshot())[0].decode()
    held = station.control.secrets
    secrets = [held.identity.signing.seed.hex(), *(each.receiving.encode().hex() for each in held.held)]
    assert not any(secret in shown for secret in secrets)
    assert json.loads(json.dumps(worker.snapshot()))["identity"] == "w"
