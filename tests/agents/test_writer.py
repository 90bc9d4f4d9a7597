"""What the writer promises: order, one copy where producer ids are, retries without end, a plain word on refusal."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, some, unbuild
from fake_broker import INIT_PRODUCER, METADATA, PRODUCE, FakeBroker, batch_of
from in_loop import in_loop, until

from sealwire.agents import records
from sealwire.agents.header import read_header
from sealwire.agents.reader import RawReader
from sealwire.agents.settings import Cluster
from sealwire.agents.writer import RawWriter, Refused, Stopped, record_batch, record_frame, seal_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.reader import Fetched


async def read_all(cluster: Cluster, topic: str, count: int, partition: int = 0) -> list[Made]:
    reader = RawReader(cluster, linger_ms=0)
    await reader.start()
    found: list[Made] = []

    async def take(fetched: Fetched) -> None:
        found.extend(unbuild(header.cut_from(fetched.data) for header in fetched.scan.headers))
        fetched.release()

    reader.seat(topic, partition, 0, take, pytest.fail)
    await until(lambda: len(found) >= count)
    await reader.stop()
    return found


@in_loop
async def test_foreign_batches_of_every_codec_are_stored_as_they_are(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    writer = RawWriter(broker, "test")
    await writer.start()
    parts = [build(some(20, 20 * i, size=200), 500 * i, codec) for i, codec in enumerate((0, 1, 2, 3, 4))]
    places = [await writer.produce(topic, 0, bytearray(part)) for part in parts]
    await writer.stop()
    assert [place.base_offset for place in places] == [0, 20, 40, 60, 80]
    assert await read_all(broker, topic, 100) == some(100, size=200)


@in_loop
async def test_batches_of_a_partition_are_stored_in_the_order_of_the_calls(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(2)
    writer = RawWriter(broker, "test")
    await writer.start()
    made = [Made(NOW + i, None, b"%d" % i, []) for i in range(200)]
    await asyncio.gather(
        *(writer.produce(topic, i % 2, record_batch(one.value, one.timestamp)) for i, one in enumerate(made))
    )
    await writer.stop()
    assert await read_all(broker, topic, 100, 1) == made[1::2]


@in_loop
async def test_after_a_cut_connection_everything_arrives_in_order(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    async with FakeBroker() as fake:
        stored: list[bytes] = []
        fails = iter([True, False, True, True])

        def take(body: bytes) -> bytes | None:
            batch = batch_of(body)
            sequence = read_header(batch).base_sequence
            if sequence == len(stored):
                stored.append(batch)
            if next(fails, False):
                for connection in list(fake._writers):
                    connection.transport.abort()
                return None
            return fake.produced("t", 0, 0, sequence)

        fake.on[PRODUCE] = take
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        places = await asyncio.gather(*(writer.produce("t", 0, record_batch(b"%d" % i, NOW)) for i in range(5)))
        await writer.stop()
    assert [place.base_offset for place in places] == list(range(5))
    headers = [read_header(batch) for batch in stored]
    assert [header.base_sequence for header in headers] == list(range(5))
    assert len({header.producer_id for header in headers}) == 1


@pytest.mark.parametrize(("error", "words"), [(10, None), (87, "null key"), (44, "no such names"), (32, None)])
def test_a_refusal_for_good_is_raised_in_the_brokers_words_and_the_next_batch_goes_on(
    error: int, words: str | None
) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            answers = iter([error, 0])
            sequences: list[int] = []

            def take(body: bytes) -> bytes:
                sequences.append(read_header(batch_of(body)).base_sequence)
                return fake.produced("t", 0, next(answers), 41, words)

            fake.on[PRODUCE] = take
            writer = RawWriter(Cluster(fake.bootstrap), "test")
            await writer.start()
            first = asyncio.create_task(writer.produce("t", 0, record_batch(b"a", NOW)))
            second = asyncio.create_task(writer.produce("t", 0, record_batch(b"b", NOW)))
            with pytest.raises(Refused, match=words or r"t\[0\]: \w+"):
                await first
            assert (await second).base_offset == 41
            assert sequences == [0, 0]  # what was refused has used up no sequence
            await writer.stop()

    scenario()


@in_loop
async def test_whatever_may_pass_is_tried_again_and_each_cause_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as fake:
        answers = iter([6, 3, 7, 19, 20, 5, 2, -1, 0])
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, next(answers), 3)
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        writer._backoff = lambda _tries: 0.01  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING, "sealwire"):
            task = asyncio.create_task(writer.produce("t", 0, record_batch(b"a", NOW)))
            await until(lambda: writer.troubles)
            assert (await task).base_offset == 3
            assert not writer.troubles
            await writer.stop()
        said = [entry.getMessage() for entry in caplog.records if "trying again" in entry.getMessage()]
        assert len(said) == 2  # too few replicas are a cause of their own
        assert "NOT_LEADER" in said[0]
        assert "NOT_ENOUGH_REPLICAS" in said[1]


@in_loop
async def test_an_error_that_never_passes_is_a_refusal_in_the_end() -> None:
    async with FakeBroker() as fake:
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, -1)
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        writer._backoff = lambda _tries: 0.01  # type: ignore[method-assign]
        await writer.start()
        with pytest.raises(Refused):
            await writer.produce("t", 0, record_batch(b"a", NOW))
        await writer.stop()


@in_loop
async def test_a_producer_that_the_broker_forgot_begins_anew_for_that_partition_only() -> None:
    async with FakeBroker(partitions=2) as fake:
        seen: list[tuple[int, int, int]] = []

        def take(body: bytes) -> bytes:
            header = read_header(batch_of(body))
            partition = struct.unpack_from(">i", body, body.index(b"t", 8) + 5)[0]
            seen.append((partition, header.producer_id, header.base_sequence))
            forgot = seen.count((0, 101, 1)) == 1 and seen[-1] == (0, 101, 1)
            return fake.produced("t", partition, 59 if forgot else 0)

        fake.on[PRODUCE] = take
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        for partition in (0, 1, 0, 1):
            await writer.produce("t", partition, record_batch(b"a", NOW))
        await writer.stop()
    assert seen == [(0, 101, 0), (1, 101, 0), (0, 101, 1), (0, 102, 0), (1, 101, 1)]


@in_loop
async def test_a_duplicate_counts_as_stored() -> None:
    async with FakeBroker() as fake:
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, 46, -1)
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        assert (await writer.produce("t", 0, record_batch(b"a", NOW))).base_offset == -1
        await writer.stop()


@in_loop
async def test_sequences_wrap_as_a_broker_counts_them() -> None:
    async with FakeBroker() as fake:
        sequences: list[int] = []

        def take(body: bytes) -> bytes:
            sequences.append(read_header(batch_of(body)).base_sequence)
            return fake.produced("t", 0, 0)

        fake.on[PRODUCE] = take
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        await writer.produce("t", 0, build(some(3)))
        (where,) = writer._producers._sequences
        writer._producers._sequences[where] = 2**31 - 2
        await writer.produce("t", 0, build(some(3)))
        await writer.produce("t", 0, build(some(3)))
        await writer.stop()
    assert sequences == [0, 2**31 - 2, 1]


@in_loop
async def test_a_stopped_writer_ends_what_was_not_answered() -> None:
    async with FakeBroker() as fake:
        fake.on[PRODUCE] = lambda _body: None
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        task = asyncio.create_task(writer.produce("t", 0, record_batch(b"a", NOW)))
        await until(lambda: PRODUCE in fake.seen)
        await writer.stop()
        with pytest.raises(Stopped):
            await task
        with pytest.raises(Stopped):
            await writer.produce("t", 0, record_batch(b"a", NOW))


@in_loop
async def test_a_cancelled_wait_does_not_take_the_batch_back(broker: Cluster, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    writer = RawWriter(broker, "test")
    await writer.start()
    task = asyncio.create_task(writer.produce(topic, 0, record_batch(b"a", NOW)))
    await asyncio.sleep(0)
    task.cancel()
    assert (await writer.produce(topic, 0, record_batch(b"b", NOW))).base_offset == 1
    await writer.stop()


@in_loop
async def test_the_embedded_broker_is_never_asked_for_a_producer_id() -> None:
    async with FakeBroker() as fake:
        fake.on[PRODUCE] = lambda body: fake.produced(
            "t", 0, 0 if read_header(batch_of(body)).producer_id == -1 else 10
        )
        writer = RawWriter(Cluster(fake.bootstrap, embedded=True), "test")
        await writer.start()
        await writer.produce("t", 0, record_batch(b"a", NOW))
        await writer.stop()
        assert INIT_PRODUCER not in fake.seen


@in_loop
async def test_asking_for_a_topic_does_not_create_it() -> None:
    async with FakeBroker() as fake:
        asked: list[bytes] = []
        fake.on[METADATA] = lambda body: asked.append(body) or fake.metadata(body)  # type: ignore[func-returns-value]
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, 0)
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        await writer.produce("t", 0, record_batch(b"a", NOW))
        await writer.stop()
        assert asked
        assert all(body.endswith(b"\0") for body in asked)  # allow_auto_topic_creation


@in_loop
async def test_a_broker_that_hangs_is_left_and_the_batch_goes_out_when_it_answers(
    broker: Cluster, make_topic: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwire.agents.client.REQUEST_TIMEOUT_MS", 500)
    async with FakeBroker() as fake:
        silent = True
        fake.on[PRODUCE] = lambda _body: None if silent else fake.produced("t", 0, 0, 7)
        writer = RawWriter(Cluster(fake.bootstrap), "test")
        await writer.start()
        task = asyncio.create_task(writer.produce("t", 0, record_batch(b"a", NOW)))
        await until(lambda: "TimedOut" in writer.troubles.get(("t", 0), ""))
        silent = False
        assert (await task).base_offset == 7
        await writer.stop()


@pytest.mark.parametrize("record_key", [None, b"key"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 8191, 8192, 900_000])
def test_a_value_assembled_in_place_is_a_batch_of_one_record(size: int, record_key: bytes | None) -> None:
    head, tail = record_frame(size, NOW, record_key)
    batch = bytearray(len(head) + size + len(tail))
    batch[: len(head)] = head
    memoryview(batch)[len(head) : len(head) + size] = b"x" * size
    batch[len(head) + size :] = tail
    seal_frame(batch)
    assert unbuild([batch]) == [Made(NOW, record_key, b"x" * size, [])]
    (record,) = records.read(memoryview(batch))
    assert record.header_count == 0
    assert record_batch(b"x" * size, NOW, record_key)[61:] == batch[61:]


def test_a_tombstone_has_no_value() -> None:
    batch = record_batch(None, NOW, b"key")
    seal_frame(batch)
    assert unbuild([batch]) == [Made(NOW, b"key", None, [])]


@in_loop
async def test_a_batch_that_was_on_its_way_when_a_right_was_taken_away_does_not_give_it_back() -> None:
    async with FakeBroker(partitions=2, node=1) as one, FakeBroker(partitions=2, node=2) as two:

        def led(by: int) -> bytes:
            return struct.pack(">hii", 0, 1, by) + struct.pack(">iiiii", 1, by, 1, by, 0)

        def metadata(body: bytes) -> bytes:
            first, second = FakeBroker.metadata(one, body), FakeBroker.metadata(two, body)
            return struct.pack(">ii", 0, 2) + first[8:29] + second[8:29] + first[29:].replace(led(by=1), led(by=2))

        late = asyncio.get_running_loop().create_future()
        one.on[METADATA] = two.on[METADATA] = metadata
        one.on[PRODUCE] = lambda _body: late
        two.on[PRODUCE] = lambda _body: two.produced("t", 1, 29)
        writer = RawWriter(Cluster(one.bootstrap), "test")
        await writer.start()
        before = asyncio.create_task(writer.produce("t", 0, record_batch(b"a", NOW)))
        await until(lambda: PRODUCE in one.seen)
        after = asyncio.create_task(writer.produce("t", 1, record_batch(b"b", NOW)))
        await until(lambda: writer.rights.lacking)
        late.set_result(one.produced("t", 0, 0))
        await before
        assert writer.rights.lacking
        two.on[PRODUCE] = lambda _body: two.produced("t", 1, 0)
        await after
        assert not writer.rights.lacking
        await writer.stop()
