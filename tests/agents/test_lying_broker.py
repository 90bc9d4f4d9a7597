"""A broker that lies costs a connection and a little memory: never a traceback, a loop of ours, or what comes later."""

from __future__ import annotations

import asyncio
import logging
import struct
import zlib
from typing import TYPE_CHECKING

import pytest
from aiokafka.structs import TopicPartition
from batch_made import build, some
from fake_broker import FETCH, METADATA, VERSIONS, FakeBroker, text
from in_loop import in_loop, until
from world import a_world

from sealwire.agents import opening_side
from sealwire.agents.batches import MOST_BATCHES, scan
from sealwire.agents.client import ClusterAway, close, connect
from sealwire.agents.cloud_topic import MESSAGE_BYTES, opened_most
from sealwire.agents.driver import MetadataRequest
from sealwire.agents.frames import FetchBatches
from sealwire.agents.reader import Budget, Fetched, RawReader
from sealwire.agents.security import ANSWER_CAP, librdkafka_settings
from sealwire.agents.settings import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NULL = struct.pack(">i", -1)
HEADER_TAKES = 512  # bytes
BROKER = struct.pack(">ii", 1, 1)  # one, of the number 1


def _metadata(brokers: bytes, topics: bytes) -> bytes:
    return struct.pack(">i", 0) + brokers + text("fake") + struct.pack(">i", 1) + topics


def _at(host: str | None, port: int) -> bytes:
    return BROKER + text(host) + struct.pack(">i", port) + text(None)


NULLS: dict[str, Callable[[int], bytes]] = {
    "brokers": lambda _port: _metadata(NULL, struct.pack(">i", 0)),
    "a host": lambda port: _metadata(_at(None, port), struct.pack(">i", 0)),
    "topics": lambda port: _metadata(_at("127.0.0.1", port), NULL),
    "a topic's name": lambda port: _metadata(
        _at("127.0.0.1", port), struct.pack(">ih", 1, 0) + text(None) + b"\0" + struct.pack(">i", 0)
    ),
    "partitions": lambda port: _metadata(_at("127.0.0.1", port), struct.pack(">ih", 1, 0) + text("t") + b"\0" + NULL),
}


async def _started(fake: FakeBroker, **settings: object) -> RawReader:
    reader = RawReader(Cluster(fake.bootstrap), **settings)  # type: ignore[arg-type]
    await reader.start()
    return reader


@pytest.mark.parametrize("null", NULLS)
def test_metadata_with_nulls_ends_no_client_that_is_at_work(null: str, caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            client = await connect(Cluster(fake.bootstrap), "test")
            honest, fake.on[METADATA] = fake.on[METADATA], lambda _body: NULLS[null](fake.port)
            await client.add_topic("t")
            assert client.cluster.leader_for_partition(TopicPartition("t", 0)) is None
            fake.on[METADATA] = honest
            async with asyncio.timeout(5):
                assert await client.force_metadata_update()
            await close(client)

    with caplog.at_level(logging.WARNING, "asyncio"):
        scenario()
    assert [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"] == []


@pytest.mark.parametrize("null", NULLS)
def test_metadata_with_nulls_from_the_start_is_a_cluster_that_is_away(
    null: str, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            fake.on[METADATA] = lambda _body: NULLS[null](fake.port)
            with pytest.raises(ClusterAway):
                await connect(Cluster(fake.bootstrap), "test", deadline=0.05)

    if null == "brokers":
        pytest.skip("a cluster without brokers may have some later: its connection is kept")
    with caplog.at_level(logging.WARNING, "asyncio"):
        scenario()
    assert [entry.getMessage() for entry in caplog.records if entry.name == "asyncio"] == []


@in_loop
async def test_a_cluster_whose_brokers_are_not_where_it_said_is_asked_again_where_we_were_sent() -> None:
    async with FakeBroker() as fake:
        client = await connect(Cluster(fake.bootstrap), "test")
        honest = fake.on[METADATA]
        fake.on[METADATA] = lambda _body: _metadata(_at("127.0.0.1", 1), struct.pack(">i", 0))
        assert await client.add_topic("t")
        fake.on[METADATA] = honest
        for writer in list(fake._writers):
            writer.transport.abort()
        async with asyncio.timeout(10):
            while client.cluster.leader_for_partition(TopicPartition("t", 0)) != 1:
                await client.force_metadata_update()
        await close(client)


@pytest.mark.parametrize("lie", [struct.pack(">hi", 0, 0), struct.pack(">hihhhhhh", 0, 2, METADATA, 0, 5, FETCH, 0, 0)])
def test_a_broker_that_says_it_speaks_nothing_is_asked_again(lie: bytes) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            reader, taken = await _started(fake), list[Fetched]()
            fake.on[VERSIONS] = lambda _body: lie if fake.seen.count(VERSIONS) < 4 else fake.versions()
            fake.on[FETCH] = lambda _body: None if taken else fake.fetched("t", 0, build(some(3)), high_watermark=3)

            async def take(fetched: Fetched) -> None:
                taken.append(fetched)

            reader.seat("t", 0, 0, take, pytest.fail)
            await until(lambda: taken)
            await reader.stop()

    scenario()


@in_loop
async def test_only_a_fetch_may_be_answered_at_length() -> None:
    async with FakeBroker() as fake:
        client = await connect(Cluster(fake.bootstrap), "test")
        assert await client.ready(1)
        fake.frame = lambda body: struct.pack(">i", ANSWER_CAP + 1) + body
        with pytest.raises(Exception, match="closed") as caught:
            await client.send(1, MetadataRequest(["t"]))
        assert f"{ANSWER_CAP} allowed" in str(caught.value.__cause__)
        await close(client)


@in_loop
async def test_an_answer_to_nothing_that_was_asked_is_not_received() -> None:
    async with FakeBroker() as fake:
        client = await connect(Cluster(fake.bootstrap), "test")
        stock = fake.frame
        fake.frame = lambda body: stock(body) + (struct.pack(">i", 5000) if fake.seen[-1] == METADATA else b"")
        assert await client.ready(1)
        (connection,) = client._conns.values()
        await connection.send(MetadataRequest(["t"]))
        await until(lambda: not connection.connected())
        await close(client)


def test_librdkafka_believes_no_longer_answers_than_we_do() -> None:
    assert librdkafka_settings(Cluster("x:9092"), "me")["receive.message.max.bytes"] == ANSWER_CAP


def _decoded(answer: bytes, partitions: int = 1) -> object:
    import io  # noqa: PLC0415

    asked = FetchBatches(1, 1, 1, 0, [("t", [(number, 0, 1) for number in range(partitions)])])
    source = io.BytesIO(bytes(4) + answer)
    source.seek(4)
    return asked.prepare({FETCH: (4, 11)}).RESPONSE_TYPE.decode(source)


def test_a_fetch_that_answers_for_more_than_was_asked_for_is_refused() -> None:
    answer = struct.pack(">ihii", 0, 0, 0, 1) + text("t")
    rows = b"".join(struct.pack(">ihqqqiii", number, 0, 0, 0, 0, 0, -1, 0) for number in range(3))
    answer += struct.pack(">i", 3) + rows
    assert len(_decoded(answer, 3).partitions) == 3  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="more than the 2 partitions"):
        _decoded(answer, 2)


def test_a_fetch_with_any_number_of_aborted_transactions_is_refused() -> None:
    answer = struct.pack(">ihii", 0, 0, 0, 1) + text("t") + struct.pack(">iihqqqi", 1, 0, 0, 0, 0, 0, 100_000)
    with pytest.raises(ValueError, match="100000 aborted transactions"):
        _decoded(answer + bytes(1_600_000) + struct.pack(">ii", -1, 0))


def _tiny(count: int, first: int = 0) -> bytes:
    one = build(some(1))[:61]
    batch = bytearray(one)
    struct.pack_into(">i", batch, 8, 61 - 12)
    many = batch * count
    for number in range(count):
        struct.pack_into(">q", many, 61 * number, first + number)
    return bytes(many)


def test_of_more_batches_than_are_taken_the_rest_is_asked_for_again() -> None:
    found = scan(memoryview(_tiny(12)), check_crc=False, most=10)
    assert (len(found.headers), found.next, found.size) == (10, 10, 610)


@in_loop
async def test_an_answer_of_nothing_but_headers_takes_from_the_budget_what_it_takes_in_memory() -> None:
    async with FakeBroker(partitions=2) as fake:
        count = MOST_BATCHES // 2 + 1000
        many, answered = _tiny(count), 0

        def fetch(_body: bytes) -> bytes | None:
            nonlocal answered
            answered += 1
            rows = [
                struct.pack(">ihqqqiii", number, 0, count, count, 0, 0, -1, len(many)) + many for number in range(2)
            ]
            head = struct.pack(">ihii", 0, 0, 0, 1) + text("t") + struct.pack(">i", 2)
            return head + b"".join(rows) if answered == 1 else None

        fake.on[FETCH] = fetch
        budget, held = Budget(100 << 20), list[Fetched]()
        reader = await _started(fake, budget=budget, check_crc=False)

        async def take(fetched: Fetched) -> None:
            held.append(fetched)

        for partition in range(2):
            reader.seat("t", partition, 0, take, pytest.fail)
        await until(lambda: len(held) == 2, 20)
        assert sum(len(each.scan.headers) for each in held) == MOST_BATCHES
        assert sum(each.held for each in held) == MOST_BATCHES * (61 + HEADER_TAKES)
        held[0].release(61)
        before = budget.used
        held[0].release()
        assert before - budget.used == len(held[0].scan.headers) * (61 + HEADER_TAKES) - 61
        await reader.stop()
        assert budget.used == 0


# Statements


def test_statements_that_cannot_be_read_are_sampled_into_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def scenario() -> None:
        async with a_world(monkeypatch, tmp_path) as world:
            sealer = world.sealer()
            await sealer.start()
            await until(sealer.control.caught_up.is_set)
            for _ in range(50):
                world.cloud.at("acme.control").append(bytearray(_tiny(1)))
            await until(lambda: sealer.control.refused["malformed"] == 50)

    with caplog.at_level(logging.WARNING, "sealwire"):
        scenario()
    assert sum("cannot be read" in entry.getMessage() for entry in caplog.records) == 20


def test_statements_that_were_passed_over_once_are_read_when_envelopes_wait_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @in_loop
    async def scenario() -> None:
        async with a_world(monkeypatch, tmp_path) as world:
            sealer, mirror = world.sealer(), world.mirror()
            await mirror.start()
            await until(mirror.control.caught_up.is_set)
            log = world.cloud.at("acme.sessions")
            log.show(0)
            await sealer.start()
            world.berlin.send(some(3))
            await until(lambda: world.envelopes.end and log.end)
            # As if a batch had said that it stands there.
            mirror.control._following._seats["acme.sessions"].offset = log.end
            log.show()
            await until(lambda: mirror.refused.get("parked"))
            assert not world.paris.got()
            monkeypatch.setattr(opening_side, "_GRANTED_WITHIN_MS", 0)
            await until(lambda: len(world.paris.got()) == 3)

    scenario()


def test_a_batch_of_the_cloud_opens_to_no_more_than_an_envelope_may_have() -> None:
    stored = build(some(1))
    assert opened_most(memoryview(stored)) == 2 * MESSAGE_BYTES
    assert opened_most(memoryview(bytes(3 * MESSAGE_BYTES))) == 6 * MESSAGE_BYTES


def test_a_bomb_in_the_cloud_is_malformed_before_it_opens(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def scenario() -> None:
        async with a_world(monkeypatch, tmp_path) as world:
            sealer, mirror = await world.flow()
            opener = zlib.compressobj(9, wbits=31)
            bomb = bytearray(build(some(1), codec=1)[:61])
            bomb += opener.compress(bytes(2 * MESSAGE_BYTES + 1)) + opener.flush()
            struct.pack_into(">i", bomb, 8, len(bomb) - 12)
            for topic in ("acme.orders", "acme.sessions", "acme.control"):
                world.cloud.at(topic).append(bomb)
            await until(lambda: mirror.refused.get("malformed") == 1 and mirror.control.refused["malformed"] == 2)
            await until(lambda: sealer.control.refused["malformed"] == 1)
            world.berlin.send(some(3))
            await until(lambda: len(world.paris.got()) == 3)

    with caplog.at_level(logging.WARNING, "sealwire"):
        scenario()
    assert sum(f"it would open to more than {2 * MESSAGE_BYTES} bytes" in each for each in caplog.messages) == 4
