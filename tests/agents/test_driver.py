"""The insides that we rely on, and what happens when one of them moves."""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiokafka.client
import aiokafka.conn
import pytest
from aiokafka.errors import KafkaConnectionError
from fake_broker import VERSIONS, FakeBroker
from in_loop import in_loop

from sealwire.agents import driver
from sealwire.agents.client import (
    Admin,
    ClusterAway,
    Position,
    Positions,
    TopicPlan,
    close,
    connect,
    librdkafka_settings,
    stock_settings,
)
from sealwire.agents.settings import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable


def test_every_inside_is_as_expected() -> None:
    driver.self_check(with_faust=True)


def _without(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.delattr(aiokafka.conn.AIOKafkaConnection, name)


def _another(name: str, inside: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(aiokafka.conn.AIOKafkaConnection, name, inside)


async def _other_read(_self_ref: object, _reader: object) -> None: ...


def _copying_send(connection: SimpleNamespace, request: object, expect_response: bool = True) -> object:  # noqa: FBT001, FBT002
    built = request.prepare(connection._versions)  # type: ignore[attr-defined]
    connection._writer.write(built.build_request_header(7, "check").encode())
    return connection._writer.drain() if expect_response is False else None


@pytest.mark.parametrize(
    ("move", "named"),
    [
        (_without("_read"), "_read"),
        (_another("_read", staticmethod(_other_read)), "_read"),
        (_without("_handle_frame"), "_handle_frame"),
        (_without("_create_reader_task"), "_create_reader_task"),
        (_another("send", _copying_send), "size \\+ header \\+ body"),
        (_another("connect", _other_read), "_writer and _protocol"),
        (lambda patch: patch.setattr(aiokafka.client.AIOKafkaClient, "bootstrap", _other_read), "create_conn"),
        (lambda patch: patch.setattr(driver, "_stock_create_conn", _other_read), "AIOKafkaConnection"),
        (lambda patch: patch.setattr(driver, "MetadataRequest", SimpleNamespace), "MetadataRequest"),
        (lambda patch: patch.setattr("faust.types.tuples.ConsumerMessage", SimpleNamespace), "ConsumerMessage"),
        (lambda patch: patch.setattr("faust.transport.consumer.Consumer", SimpleNamespace), "callback"),
    ],
)
def test_an_inside_that_has_moved_is_named(
    move: Callable[[pytest.MonkeyPatch], None], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(monkeypatch)
    with pytest.raises(driver.Moved, match=named):
        driver.self_check(with_faust=True)


@in_loop
async def test_stock_clients_of_the_same_process_keep_stock_connections(broker: Cluster) -> None:
    stock = aiokafka.client.AIOKafkaClient(bootstrap_servers=broker.bootstrap)
    await stock.bootstrap()
    ours = await connect(broker, "test")
    for client, kind in ((stock, aiokafka.conn.AIOKafkaConnection), (ours, driver.BoundedConnection)):
        node = client.get_random_node()
        assert await client.ready(node)
        assert {type(connection) for connection in client._conns.values()} == {kind}
    await stock.close()
    await close(ours)


@pytest.mark.parametrize(
    "answer", [b"", b"\0", struct.pack(">hi", 0, 2_000_000_000), struct.pack(">hihhh", 0, 1, 1, 9, 3)]
)
def test_a_broker_that_lies_from_the_start_is_one_that_does_not_answer(answer: bytes) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            fake.on[VERSIONS] = lambda _body: answer
            with pytest.raises(ClusterAway):
                await connect(Cluster(fake.bootstrap), "test", deadline=0.05)

    scenario()


@in_loop
async def test_metadata_that_cannot_be_decoded_is_a_lost_connection() -> None:
    async with FakeBroker() as fake:
        client = await connect(Cluster(fake.bootstrap), "test")
        assert await client.ready(1)
        fake.on[3] = lambda _body: b"\x7f" * 40
        with pytest.raises(KafkaConnectionError):
            await client.send(1, driver.MetadataRequest(["t"]))
        await close(client)


@in_loop
async def test_a_cluster_that_is_away_is_said_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sealwire"):
        async with FakeBroker() as fake:
            where = fake.bootstrap
        task = asyncio.create_task(connect(Cluster(where), "test"))
        await asyncio.sleep(0.5)
        assert not task.done()
        assert len(caplog.records) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@in_loop
async def test_any_object_reaches_the_callback_of_a_faust_consumer() -> None:
    delivered: list[Any] = []

    class Consumer:
        async def callback(self, message: object) -> None:
            delivered.append(message)

    value = object()
    await driver.deliver(Consumer(), "lanes", 3, 17, value, generation=5)
    (message,) = delivered
    assert (message.topic, message.partition, message.offset, message.generation_id) == ("lanes", 3, 17, 5)
    assert message.value is value
    assert driver.generation(SimpleNamespace(consumer_generation_id=5)) == 5  # type: ignore[arg-type]


def test_no_logger_is_left_at_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", logging.DEBUG)
    driver.quiet_loggers()
    for name in ("", "aiokafka", "aiokafka.conn", "faust", "mode"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_what_a_worker_needs_in_its_environment_is_text() -> None:
    assert {**os.environ, **driver.WORKER_ENVIRONMENT}
    assert all(isinstance(value, str) for value in driver.WORKER_ENVIRONMENT.values())


def test_security_is_translated_from_librdkafkas_names() -> None:
    cluster = Cluster(
        "cloud:9092",
        security={
            "security.protocol": "sasl_ssl",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": "user",
            "sasl.password": "hunter2",
        },
    )
    settings = stock_settings(cluster)
    context = settings.pop("ssl_context")
    assert context.check_hostname
    assert settings == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "user",
        "sasl_plain_password": "hunter2",
    }
    assert librdkafka_settings(cluster, "me")["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(cluster)
    assert stock_settings(Cluster("local:9092")) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    "security",
    [
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"},
        {"security.protocol": "SASL_PLAINTEXT", "sasl.username": "user"},
    ],
)
def test_security_that_cannot_be_had_is_refused(security: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"sasl\."):
        stock_settings(Cluster("x", security=security))


@in_loop
async def test_topics_are_made_once_and_described_with_their_ids(broker: Cluster) -> None:
    admin = Admin(broker)
    plans = [TopicPlan("made-once", 3, config={"cleanup.policy": "compact"}), TopicPlan("made-too", 1)]
    assert sorted(await admin.create_topics(plans)) == ["made-once", "made-too"]
    assert await admin.create_topics(plans) == []
    facts = await admin.describe(["made-once", "made-too", "never-made"])
    assert {name: fact.partitions for name, fact in facts.items()} == {"made-once": 3, "made-too": 1}
    assert {len(fact.topic_id) for fact in facts.values()} == {16}
    assert facts["made-once"].topic_id != facts["made-too"].topic_id
    assert await admin.topic_ids(["made-once"]) == {"made-once": facts["made-once"].topic_id}
    assert (await admin.topics())["made-once"] == 3
    assert await admin.cluster_id()


@in_loop
async def test_positions_are_kept_by_a_group_without_members(broker: Cluster, make_topic: Callable[..., str]) -> None:
    topic = make_topic(2)
    positions = Positions(broker, "test", f"group-{topic}")
    assert await positions.load([(topic, 0), (topic, 1)]) == {}
    await positions.commit({(topic, 1): Position(7, "topic id and cluster id")})
    await positions.commit({})
    await positions.close()
    again = Positions(broker, "test", f"group-{topic}")
    assert {where: position.offset for where, position in (await again.load([(topic, 0), (topic, 1)])).items()} == {
        (topic, 1): 7
    }
    assert await again.load([]) == {}
    await again.close()
