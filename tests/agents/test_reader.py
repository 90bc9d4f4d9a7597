"""What the reader promises: every batch once and in order, whatever its brokers do, with memory bounded."""

from __future__ import annotations

import asyncio
import itertools
import logging
import struct
import time
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, some, unbuild
from fake_broker import FETCH, LIST_OFFSETS, FakeBroker, text
from in_loop import in_loop, until
from own_broker import Proxy, end_broker, free_port, start_broker

from sealwire.agents import chunks as cutting
from sealwire.agents.client import Admin, TopicPlan
from sealwire.agents.reader import Budget, Fetched, OffsetOutOfRange, RawReader, ReadRefused, Seat
from sealwire.agents.settings import Cluster
from sealwire.agents.writer import RawWriter, record_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Taker:
    """Keeps what it is given; holds on to it while ``hold`` is set."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, int], list[Made]] = {}
        self.fetched: list[Fetched] = []
        self.errors: list[Exception] = []
        self.open = asyncio.Event()
        self.open.set()

    @property
    def count(self) -> int:
        return sum(map(len, self.made.values()))

    async def take(self, fetched: Fetched) -> None:
        await self.open.wait()
        self.fetched.append(fetched)
        chunks = cutting.cut(fetched.scan, fetched.first, aborted=fetched.aborted)
        made = self.made.setdefault((fetched.seat.topic, fetched.seat.partition), [])
        made.extend(unbuild(part for chunk in chunks for part in chunk.parts))
        fetched.release()

    def seat(self, reader: RawReader, topic: str, partition: int = 0, offset: int = 0) -> Seat:
        return reader.seat(topic, partition, offset, self.take, self.errors.append)


async def write(cluster: Cluster, topic: str, parts: list[bytes], partition: int = 0) -> None:
    writer = RawWriter(cluster, "test")
    await writer.start()
    for part in parts:
        await writer.produce(topic, partition, bytearray(part))
    await writer.stop()


async def started(cluster: Cluster, **settings: object) -> RawReader:
    reader = RawReader(cluster, **settings)  # type: ignore[arg-type]
    await reader.start()
    return reader


@in_loop
async def test_every_partition_is_read_whole_and_in_order(broker: Cluster, make_topic: Callable[..., str]) -> None:
    topics = [make_topic(3), make_topic(1)]
    for topic, count in zip(topics, (3, 1), strict=True):
        for partition in range(count):
            await write(broker, topic, [build(some(50, 50 * i), codec=i % 5) for i in range(6)], partition)
    reader, taker = await started(broker), Taker()
    seats = [taker.seat(reader, topics[0], partition) for partition in range(3)] + [taker.seat(reader, topics[1])]
    await until(lambda: taker.count == 1200)
    assert all(made == some(300) for made in taker.made.values())
    assert [seat.offset for seat in seats] == [300] * 4
    assert all(seat.high_watermark == 300 for seat in seats)
    await reader.stop()
    assert reader.budget.used == 0


@in_loop
async def test_reading_starts_at_the_wanted_offset(broker: Cluster, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    await write(broker, topic, [build(some(50, 50 * i)) for i in range(4)])
    reader, taker = await started(broker), Taker()
    taker.seat(reader, topic, 0, 77)
    await until(lambda: taker.count >= 123)
    assert taker.made[topic, 0] == some(123, 77)
    await reader.stop()


@in_loop
async def test_what_is_written_later_comes_within_moments(broker: Cluster, make_topic: Callable[..., str]) -> None:
    topics = [make_topic() for _ in range(5)]
    reader, taker = await started(broker), Taker()
    for topic in topics:
        taker.seat(reader, topic)
    await until(lambda: all(seat.answered_at > 0 or seat.fetching for seat in reader._seats))
    writer = RawWriter(broker, "test")
    await writer.start()
    for i, topic in enumerate(topics):
        began = time.monotonic()
        await writer.produce(topic, 0, record_batch(b"x", NOW))
        await until(lambda i=i: taker.count == i + 1)
        assert time.monotonic() - began < 2
    await writer.stop()
    await reader.stop()


@in_loop
async def test_a_partition_seated_during_a_long_poll_does_not_wait_for_its_end() -> None:
    async with FakeBroker(partitions=2) as fake:
        full = struct.pack(">i", 1) + struct.pack(">iq", -1, 0)  # partition 1, no leader epoch, offset 0
        fake.on[FETCH] = lambda body: fake.fetched("t", 1, build(some(5)), high_watermark=5) if full in body else None
        reader, taker = await started(Cluster(fake.bootstrap), max_wait_ms=30_000), Taker()
        idle = taker.seat(reader, "t", 0)
        await until(lambda: FETCH in fake.seen)
        began = time.monotonic()
        taker.seat(reader, "t", 1)
        await until(lambda: taker.count == 5)
        assert time.monotonic() - began < 5
        assert idle.fetching
        await reader.stop()


@in_loop
async def test_newcomers_and_questions_about_offsets_do_not_wait_behind_long_polls_of_all_others() -> None:
    async with FakeBroker(partitions=3) as fake:
        fake.holds.add(FETCH)
        full = struct.pack(">i", 1) + struct.pack(">iq", -1, 0)
        asked = struct.pack(">i", 2)  # partition 2
        fake.on[FETCH] = lambda body: (
            fake.fetched("t", 2, build(some(5)), high_watermark=5) if asked + full[4:] in body else None
        )
        listed = struct.pack(">ii", 0, 1) + text("u") + struct.pack(">iihqq", 1, 0, 0, -1, 9)
        fake.on[LIST_OFFSETS] = lambda _body: listed
        reader, taker = await started(Cluster(fake.bootstrap), max_wait_ms=30_000), Taker()
        for partition in range(2):
            idle = taker.seat(reader, "t", partition)
            await until(lambda idle=idle: idle.fetching)  # type: ignore[misc]
        began = time.monotonic()
        taker.seat(reader, "t", 2)
        await until(lambda: taker.count == 5)
        assert await reader.end_offset("u", 0) == 9
        assert time.monotonic() - began < 5  # the client itself gives up a fetch after ten seconds
        assert all(seat.fetching for seat in reader._seats if seat.partition < 2)
        await reader.stop()


@in_loop
async def test_a_taker_that_waits_holds_back_its_own_partition_only(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    slow_topic, fast_topic = make_topic(), make_topic()
    parts = [build(some(1, i, size=100_000)) for i in range(30)]
    await write(broker, slow_topic, parts)
    await write(broker, fast_topic, parts)
    reader = await started(broker, fetch_bytes=200_000)
    slow, fast = Taker(), Taker()
    slow.open.clear()
    held = slow.seat(reader, slow_topic)
    fast.seat(reader, fast_topic)
    await until(lambda: fast.count == 30)
    assert slow.count == 0
    assert held.offset < 10
    slow.open.set()
    await until(lambda: slow.count == 30)
    assert slow.made[slow_topic, 0] == fast.made[fast_topic, 0]
    await reader.stop()


@in_loop
async def test_bytes_in_flight_stay_within_the_budget_until_they_are_released(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(3)
    for partition in range(3):
        await write(broker, topic, [build(some(1, i, size=100_000)) for i in range(20)], partition)
    budget = Budget(800_000)
    reader = await started(broker, budget=budget)
    held: list[Fetched] = []

    async def take(fetched: Fetched) -> None:
        held.append(fetched)

    for partition in range(3):
        reader.seat(topic, partition, 0, take, pytest.fail)
    most = count = 0
    while count < 60:
        await until(lambda: held)
        await asyncio.sleep(0.02)
        most = max(most, budget.used)
        fetched = held.pop()
        count += len(fetched.scan.headers)
        fetched.release(1000)
        fetched.release()
        fetched.release()
    assert most <= 800_000 + 100_000  # one answer may be larger than was asked for
    await reader.stop()
    assert budget.used == 0


@in_loop
async def test_a_batch_larger_than_the_whole_budget_is_read_all_the_same(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await write(broker, topic, [build([Made(NOW, None, bytes(900_000), [])]), build(some(1))])
    reader, taker = await started(broker, budget=Budget(100_000)), Taker()
    taker.seat(reader, topic)
    await until(lambda: taker.count == 2)
    await reader.stop()


@in_loop
async def test_nothing_is_delivered_to_a_seat_that_was_given_up(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await write(broker, topic, [build(some(50, 50 * i)) for i in range(4)])
    reader, old, new = await started(broker), Taker(), Taker()
    old.open.clear()
    first = old.seat(reader, topic)
    await until(lambda: first._queue)
    reader.unseat(first)
    second = new.seat(reader, topic, 0, 100)
    old.open.set()
    await until(lambda: new.count == 100)
    assert old.count == 0
    assert first != second
    assert new.made[topic, 0] == some(100, 100)
    await reader.stop()
    assert reader.budget.used == 0


@in_loop
async def test_one_partition_can_be_read_in_two_places_at_a_time(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await write(broker, topic, [build(some(50, 50 * i)) for i in range(4)])
    reader, first, second = await started(broker), Taker(), Taker()
    first.seat(reader, topic)
    second.seat(reader, topic, 0, 150)
    await until(lambda: first.count == 200 and second.count == 50)
    assert second.made[topic, 0] == some(50, 150)
    await reader.stop()


@in_loop
async def test_a_taker_that_fails_ends_its_seat_and_is_told_why(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic()
    await write(broker, topic, [build(some(5))])
    reader, errors = await started(broker), []

    async def take(_fetched: Fetched) -> None:
        message = "no"
        raise RuntimeError(message)

    seat = reader.seat(topic, 0, 0, take, errors.append)
    await until(lambda: errors)
    assert isinstance(errors[0], RuntimeError)
    assert not seat.alive
    assert reader.budget.used <= 4 * 1024 * 1024
    await reader.stop()
    assert reader.budget.used == 0


@in_loop
async def test_the_end_of_a_partition_is_right_on_the_embedded_broker(
    broker: Cluster, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(2)
    await write(broker, topic, [build(some(50, 50 * i)) for i in range(2)])
    reader = await started(broker)
    assert await reader.log_start(topic, 0) == 0
    assert await reader.end_offset(topic, 0) == 100
    assert await reader.end_offset(topic, 1) == 0
    await reader.stop()


@in_loop
async def test_a_topic_that_comes_later_is_read_then_and_its_absence_is_said_once(
    broker: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwire.agents.reader.SAY_AFTER", 0.1)
    name = "comes-later"
    reader, taker = await started(broker), Taker()
    with caplog.at_level(logging.WARNING, "sealwire"):
        seat = taker.seat(reader, name)
        await until(lambda: seat.trouble)
        await asyncio.sleep(0.3)
        assert await Admin(broker).create_topics([TopicPlan(name, 1)]) == [name]
        await write(broker, name, [build(some(5))])
        await until(lambda: taker.count == 5)
    assert (
        len([entry for entry in caplog.records if name in entry.getMessage() and "no leader" in entry.getMessage()])
        == 1
    )
    assert seat.trouble == ""
    await reader.stop()


@pytest.fixture
def own_broker() -> Iterator[tuple[int, int]]:
    """A broker's port, and the one that it names to clients, where a proxy can be put."""
    port, advertised = free_port(), free_port()
    process = start_broker(port, advertised)
    yield port, advertised
    end_broker(process)


@in_loop
async def test_a_broker_that_hangs_is_left_after_the_time_out_and_said_once(
    own_broker: tuple[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sealwire.agents.client.REQUEST_TIMEOUT_MS", 700)

    def said() -> list[str]:
        return [entry.getMessage() for entry in caplog.records if "trying again" in entry.getMessage()]

    port, advertised = own_broker
    async with Proxy(port, advertised) as proxy:
        cluster = Cluster(f"127.0.0.1:{advertised}", embedded=True)
        await Admin(cluster).create_topics([TopicPlan("t", 1)])
        writer = RawWriter(cluster, "test")
        await writer.start()
        await writer.produce("t", 0, build(some(5)))
        reader, taker = await started(cluster), Taker()
        taker.seat(reader, "t")
        await until(lambda: taker.count == 5)
        with caplog.at_level(logging.WARNING, "sealwire"):
            proxy.stall()
            task = asyncio.create_task(writer.produce("t", 0, build(some(5, 5))))
            # The writer connects anew too: connections alone do not tell that the reader has given up.
            await until(lambda: any("reading from" in words for words in said()))
            before = proxy.connections
            await until(lambda: proxy.connections > before + 2)
            proxy.resume()
            await task
            await until(lambda: taker.count >= 10)
        assert taker.made["t", 0][:10] == some(10)
        assert sum("reading from" in words for words in said()) == 1
        assert len(said()) <= 2
        await reader.stop()
        await writer.stop()


@in_loop
async def test_cut_connections_lose_and_repeat_nothing(own_broker: tuple[int, int]) -> None:
    port, advertised = own_broker
    async with Proxy(port, advertised) as proxy:
        cluster = Cluster(f"127.0.0.1:{advertised}", embedded=True)
        await Admin(cluster).create_topics([TopicPlan("t", 1)])
        parts = [build(some(1, i, size=50_000)) for i in range(60)]
        await write(cluster, "t", parts)
        reader, taker = await started(cluster, fetch_bytes=100_000), Taker()
        taker.seat(reader, "t")
        for count in (10, 25, 40, 55):
            await until(lambda count=count: taker.count >= count)
            proxy.cut()
        await until(lambda: taker.count >= 60)
        assert taker.made["t", 0] == some(60, size=50_000)
        await reader.stop()


@in_loop
async def test_an_offset_that_is_gone_ends_the_seat_and_says_where_the_log_is() -> None:
    async with FakeBroker() as fake:
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, b"", error=1, high_watermark=-1)

        def listed(body: bytes) -> bytes:
            (which,) = struct.unpack_from(">q", body, len(body) - 8)
            return struct.pack(">ii", 0, 1) + text("t") + struct.pack(">iihqq", 1, 0, 0, -1, 50 if which == -2 else 90)

        fake.on[LIST_OFFSETS] = listed
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t", 0, 7)
        await until(lambda: taker.errors)
        (error,) = taker.errors
        assert isinstance(error, OffsetOutOfRange)
        assert (error.wanted, error.log_start, error.end) == (7, 50, 90)
        await reader.stop()


@in_loop
async def test_a_new_leader_that_is_behind_for_a_moment_does_not_end_the_seat() -> None:
    async with FakeBroker() as fake:
        behind = iter([True, True])
        data = build(some(3), 60)

        def fetch(_body: bytes) -> bytes | None:
            if next(behind, False):
                return fake.fetched("t", 0, b"", error=1, high_watermark=-1)
            return None if taker.count else fake.fetched("t", 0, data, high_watermark=63)

        fake.on[FETCH] = fetch
        fake.on[LIST_OFFSETS] = lambda body: (
            struct.pack(">ii", 0, 1)
            + text("t")
            + struct.pack(">iihqq", 1, 0, 0, -1, 50 if struct.unpack_from(">q", body, len(body) - 8)[0] == -2 else 63)
        )
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t", 0, 60)
        await until(lambda: taker.count == 3)
        assert not taker.errors
        await reader.stop()


@in_loop
async def test_a_leader_that_moved_is_found_again() -> None:
    async with FakeBroker(node=1) as old, FakeBroker(node=2) as new:
        old.on[FETCH] = lambda _body: old.fetched("t", 0, b"", error=6, high_watermark=-1)
        new.on[FETCH] = lambda _body: None if taker.count else new.fetched("t", 0, build(some(3)), high_watermark=3)
        moved = False

        def metadata(body: bytes) -> bytes:
            nonlocal moved
            fetched, moved = moved, FETCH in old.seen
            return (new if fetched else old).metadata(body)

        old.on[3] = new.on[3] = metadata
        reader, taker = await started(Cluster(old.bootstrap)), Taker()
        taker.seat(reader, "t")
        await until(lambda: taker.count == 3)
        assert FETCH in new.seen
        await reader.stop()


@in_loop
async def test_a_reader_that_may_not_read_says_which_right_it_lacks_and_reads_on_when_it_is_granted() -> None:
    async with FakeBroker() as fake:
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, b"", error=29, high_watermark=-1)
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        seat = taker.seat(reader, "t")
        await until(lambda: reader.rights.lacking)
        assert "may not read topic t: grant Read on it" in reader.rights.lacking["t"]
        assert seat.trouble == reader.rights.lacking["t"]
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, build(some(3)))
        await until(lambda: taker.count)
        assert not reader.rights.lacking
        assert not taker.errors
        await reader.stop()


@in_loop
async def test_a_long_poll_that_was_let_in_before_a_right_was_taken_away_does_not_give_it_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakeBroker(partitions=2) as fake:
        first = struct.pack(">i", 1) + struct.pack(">iq", -1, 0)  # partition 1, no leader epoch, offset 0
        refused = fake.fetched("t", 1, b"", error=29, high_watermark=-1)
        late = asyncio.get_running_loop().create_future()
        fake.on[FETCH] = lambda body: refused if first in body or late.done() else late
        reader, taker = await started(Cluster(fake.bootstrap), max_wait_ms=30_000), Taker()
        taker.seat(reader, "t", 0)
        await until(lambda: FETCH in fake.seen)
        taker.seat(reader, "t", 1)
        await until(lambda: reader.rights.lacking)
        late.set_result(fake.fetched("t", 0, build(some(3)), high_watermark=3))
        await until(lambda: taker.count == 3)
        assert reader.rights.lacking
        fake.on[FETCH] = lambda _body: fake.fetched("t", 1, build(some(2)), high_watermark=2)
        await until(lambda: taker.count == 5)
        assert not reader.rights.lacking
        await reader.stop()
    ours = [entry.getMessage() for entry in caplog.records if "our login" in entry.getMessage()]
    assert ["may not" in each for each in ours] == [True, False]


LIES: dict[str, Callable[[FakeBroker], bytes]] = {
    "cut short": lambda fake: fake.fetched("t", 0, build(some(3)))[:-9],
    "a length beyond the frame": lambda fake: fake.fetched("t", 0, build(some(3)))[:-200] + b"\x7f" * 200,
    "no partition": lambda _fake: struct.pack(">ihii", 0, 0, 0, 0),
    "another partition": lambda fake: fake.fetched("t", 5, build(some(3))),
    "another topic": lambda fake: fake.fetched("other", 0, build(some(3))),
    "a topic that is not text": lambda _fake: struct.pack(">ihiih", 0, 0, 0, 1, 3) + b"\xff\xff\xff" + bytes(60),
    "a negative array": lambda _fake: struct.pack(">ihii", 0, 0, 0, -7),
    "two thousand million topics": lambda _fake: struct.pack(">ihii", 0, 0, 0, 2_000_000_000) + bytes(100),
    "two thousand million aborted": lambda _fake: (
        struct.pack(">ihii", 0, 0, 0, 1) + text("t") + struct.pack(">iihqqqi", 1, 0, 0, 3, 3, 0, 2_000_000_000)
    ),
    "nothing": lambda _fake: b"",
    "damaged bytes": lambda fake: fake.fetched("t", 0, build(some(3))[:-1] + b"x"),
    "an older offset": lambda fake: fake.fetched("t", 0, build(some(3), 0)[:0] + build(some(3), 0)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_broker_costs_a_retry_and_nothing_else(lie: str) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            lies = 2
            good = [build(some(3, 10), 10)]

            def fetch(_body: bytes) -> bytes | None:
                nonlocal lies
                if lies:
                    lies -= 1
                    return LIES[lie](fake)
                return fake.fetched("t", 0, good.pop(), high_watermark=13) if good else None

            fake.on[FETCH] = fetch
            reader, taker = await started(Cluster(fake.bootstrap)), Taker()
            seat = taker.seat(reader, "t", 0, 10)
            await until(lambda: taker.count >= 3)
            assert taker.made["t", 0] == some(3, 10)
            assert not taker.errors
            assert seat.offset == 13
            await reader.stop()
            assert reader.budget.used == 0

    scenario()


@pytest.mark.parametrize("size", [-1, 0, 3, 2_000_001, 2**31 - 1])
def test_a_frame_that_claims_an_odd_size_is_refused_before_memory_is_taken(size: int) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            lies = 1
            stock = fake.frame

            def fetch(_body: bytes) -> bytes | None:
                return None if taker.count else fake.fetched("t", 0, build(some(3)), high_watermark=3)

            def frame(body: bytes) -> bytes:
                nonlocal lies
                if lies and fake.seen[-1] == FETCH:
                    lies -= 1
                    return struct.pack(">i", size) + body
                return stock(body)

            fake.on[FETCH] = fetch
            fake.frame = frame
            reader, taker = await started(Cluster(fake.bootstrap), frame_cap=2_000_000), Taker()
            taker.seat(reader, "t")
            await until(lambda: taker.count == 3)
            await reader.stop()

    scenario()


@in_loop
async def test_bytes_that_stay_damaged_end_the_seat() -> None:
    async with FakeBroker() as fake:
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, build(some(3))[:-1] + b"x")
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t")
        await until(lambda: taker.errors)
        assert isinstance(taker.errors[0], ReadRefused)
        await reader.stop()


@in_loop
async def test_a_small_answer_is_followed_by_the_linger_and_an_empty_one_is_not() -> None:
    async with FakeBroker() as fake:
        asked: list[float] = []
        answers = iter([build(some(3), 0), b"", b""])

        def fetch(_body: bytes) -> bytes | None:
            asked.append(time.monotonic())
            data = next(answers, None)
            return None if data is None else fake.fetched("t", 0, data, high_watermark=3)

        fake.on[FETCH] = fetch
        reader, taker = await started(Cluster(fake.bootstrap), linger_ms=1500), Taker()
        taker.seat(reader, "t")
        await until(lambda: len(asked) == 4)
        pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert pauses[0] >= 1.49
        assert pauses[1] < 1.2
        await reader.stop()
