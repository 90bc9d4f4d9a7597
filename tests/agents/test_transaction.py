"""What a lane's transactions promise of a broker that answers as it likes: asked again, fenced, or in doubt."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from batch_made import NOW
from fake_broker import (
    ADD_PARTITIONS,
    END_TXN,
    FIND_COORDINATOR,
    INIT_PRODUCER,
    PRODUCE,
    Answer,
    FakeBroker,
    batch_of,
    partitions_of,
)
from in_loop import in_loop, until

from sealwire.agents import transaction
from sealwire.agents.header import read_header
from sealwire.agents.producer import Doubt, Fenced
from sealwire.agents.settings import Cluster
from sealwire.agents.writer import RawWriter, Refused, record_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from sealwire.agents.transaction import LaneTransactions

ID = "_sealwire.acme.paris.open.3"


@asynccontextmanager
async def a_writer(fake: FakeBroker) -> AsyncIterator[RawWriter]:
    writer = RawWriter(Cluster(fake.bootstrap), "test")
    await writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


def each_time(*answers: bytes) -> Callable[[bytes], bytes]:
    """One answer after the other, the last one from then on."""
    left = list(answers)
    return lambda _body: left.pop(0) if len(left) > 1 else left[0]


async def begun(writer: RawWriter) -> LaneTransactions:
    transactions = writer.transactions(ID)
    await transactions.begin()
    return transactions


@in_loop
async def test_a_transaction_is_begun_filled_and_committed_under_its_id_and_its_own_sequences() -> None:
    async with FakeBroker(partitions=2) as fake, a_writer(fake) as writer:
        seen: list[tuple[bytes, int, int, bool]] = []

        def take(body: bytes) -> bytes:
            header = read_header(batch_of(body))
            (length,) = struct.unpack_from(">h", body)
            seen.append((body[2 : 2 + max(length, 0)], header.producer_id, header.base_sequence, header.transactional))
            return fake.produced("t", 0, 0)

        fake.on[PRODUCE] = take
        await writer.produce("t", 0, record_batch(b"a", NOW))
        lane = await begun(writer)
        for _ in range(2):
            await lane.include([("t", 0)])
            await lane.produce("t", 0, record_batch(b"a", NOW))
            await lane.commit()
        await writer.produce("t", 0, record_batch(b"a", NOW))
    named = ID.encode()
    assert seen == [(b"", 101, 0, False), (named, 102, 0, True), (named, 102, 1, True), (b"", 101, 1, False)]
    assert fake.seen.count(ADD_PARTITIONS) == fake.seen.count(END_TXN) == 2


@in_loop
async def test_what_is_asked_for_at_once_is_included_at_once_and_never_twice() -> None:
    async with FakeBroker(partitions=3) as fake, a_writer(fake) as writer:
        asked: list[dict[str, list[int]]] = []

        def include(body: bytes) -> bytes:
            asked.append(partitions_of(body))
            return fake.included(body)

        fake.on[ADD_PARTITIONS] = include
        lane = await begun(writer)
        await asyncio.gather(*(lane.include([("t", partition), ("cursors", 0)]) for partition in range(2)))
        await lane.include([("t", 1), ("cursors", 0)])
        await lane.include([("t", 2), ("cursors", 0)])
        await lane.commit()
        await lane.include([("t", 1)])
    assert asked == [{"cursors": [0], "t": [0, 1]}, {"t": [2]}, {"t": [1]}]


@in_loop
async def test_each_step_is_asked_again_while_the_coordinator_loads_moves_or_is_busy() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        fake.on[FIND_COORDINATOR] = each_time(fake.coordinator(15), fake.coordinator())
        fake.on[INIT_PRODUCER] = each_time(fake.producer(51), fake.producer(14), fake.producer(16), fake.producer())
        busy = iter([51, 14])
        fake.on[ADD_PARTITIONS] = lambda body: fake.included(body, {("t", 0): next(busy, 0)})
        fake.on[END_TXN] = each_time(fake.ended(14), fake.ended(15), fake.ended(51), fake.ended())
        lane = await begun(writer)
        await lane.include([("t", 0)])
        await lane.commit()
        assert lane.waits == ""
    assert (fake.seen.count(ADD_PARTITIONS), fake.seen.count(END_TXN)) == (3, 4)


@in_loop
async def test_what_is_waited_for_is_said_in_the_coordinator_s_last_word() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        lane = writer.transactions(ID)
        for request, busy, over, deed in (
            (INIT_PRODUCER, fake.producer(51), fake.producer(), lane.begin),
            (ADD_PARTITIONS, lambda body: fake.included(body, {("t", 0): 51}), fake.included, include(lane)),
            (END_TXN, fake.ended(51), fake.ended(), lane.commit),
        ):
            fake.on[request] = busy if callable(busy) else each_time(busy)
            waits = asyncio.ensure_future(deed())
            await until(lambda: lane.waits == "CONCURRENT_TRANSACTIONS")
            fake.on[request] = over if callable(over) else each_time(over)
            await waits
            assert lane.waits == ""


def include(lane: LaneTransactions) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: lane.include([("t", 0)])


@pytest.mark.parametrize(("error", "kind"), [(47, Fenced), (90, Fenced), (48, Doubt), (49, Doubt), (53, Doubt)])
@pytest.mark.parametrize("deed", ["include", "produce", "commit"])
def test_a_fence_is_told_from_other_doubts_and_nothing_is_asked_again(error: int, kind: type, deed: str) -> None:
    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake, a_writer(fake) as writer:
            lane = await begun(writer)
            if deed == "include":
                fake.on[ADD_PARTITIONS] = lambda body: fake.included(body, {("t", 0): error})
            with pytest.raises(kind) as raised:  # noqa: PT012
                await lane.include([("t", 0)])
                fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, error if deed == "produce" else 0)
                await lane.produce("t", 0, record_batch(b"a", NOW))
                fake.on[END_TXN] = lambda _body: fake.ended(error)
                await lane.commit()
            assert isinstance(raised.value, Fenced) == (kind is Fenced)
            count = len(fake.seen)
            await asyncio.sleep(0.05)
            assert len(fake.seen) == count

    if (error, deed) != (53, "produce"):  # a producer that may not write is refused, as any batch is
        scenario()


@in_loop
async def test_a_batch_that_is_refused_leaves_its_sequence_to_the_next_one() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        sequences: list[int] = []
        answers = iter([32, 0])

        def take(body: bytes) -> bytes:
            sequences.append(read_header(batch_of(body)).base_sequence)
            return fake.produced("t", 0, next(answers))

        fake.on[PRODUCE] = take
        lane = await begun(writer)
        await lane.include([("t", 0)])
        with pytest.raises(Refused):
            await lane.produce("t", 0, record_batch(b"a", NOW))
        await lane.produce("t", 0, record_batch(b"b", NOW))
    assert sequences == [0, 0]


@in_loop
async def test_a_broker_error_that_stays_is_a_doubt_inside_a_transaction_since_nobody_knows_what_was_stored() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, -1)
        lane = await begun(writer)
        await lane.include([("t", 0)])
        with pytest.raises(Doubt):
            await lane.produce("t", 0, record_batch(b"a", NOW))


@in_loop
async def test_a_partition_without_a_leader_or_a_right_is_left_out_and_its_neighbours_go_on() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        lane = await begun(writer)
        fake.on[ADD_PARTITIONS] = lambda body: fake.included(
            body, {("bad", 0): 29, ("good", 0): 55} if "bad" in partitions_of(body) else {}
        )
        results = await asyncio.gather(
            lane.include([("bad", 0)]), lane.include([("good", 0)]), lane.include([("t", 7)]), return_exceptions=True
        )
        assert "may not write topic bad" in str(results[0])
        assert results[1] is None
        assert "no leader" in str(results[2])
        assert isinstance(results[0], Refused)
        assert isinstance(results[2], Refused)


@in_loop
async def test_what_is_given_up_sends_nothing_more_and_who_waits_is_told() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, 6)
        lane = await begun(writer)
        await lane.include([("t", 0)])
        waiting = [asyncio.create_task(lane.produce("t", 0, record_batch(b"a", NOW))) for _ in range(3)]
        await until(lambda: PRODUCE in fake.seen)
        lane.close()
        for each in waiting:
            with pytest.raises(Doubt):
                await each
        count = fake.seen.count(PRODUCE)
        await asyncio.sleep(0.2)
        assert fake.seen.count(PRODUCE) <= count + 1
        fake.on[PRODUCE] = lambda _body: fake.produced("t", 0, 0)
        await writer.produce("t", 0, record_batch(b"b", NOW))


@in_loop
async def test_a_lost_answer_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "_HEARTBEATS", 0.01)
    async with FakeBroker() as fake, a_writer(fake) as writer:

        def once(api: int) -> Callable[[bytes], Answer]:
            stock, lost = fake.on[api], iter([True])

            def answer(body: bytes) -> Answer:
                if next(lost, False):
                    for connection in list(fake._writers):
                        connection.transport.abort()
                    return None
                return stock(body)

            return answer

        for api in (INIT_PRODUCER, ADD_PARTITIONS, END_TXN):
            fake.on[api] = once(api)
        lane = await begun(writer)
        await lane.include([("t", 0)])
        await lane.commit()
    assert [fake.seen.count(api) for api in (ADD_PARTITIONS, END_TXN)] == [2, 2]


@in_loop
async def test_a_lane_that_could_not_reach_its_cluster_takes_the_id_only_when_its_group_had_time_to_say_no(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transaction, "_HEARTBEATS", 0.4)
    async with FakeBroker() as fake, a_writer(fake) as writer:
        asked: list[float] = []
        loop, stock = asyncio.get_running_loop(), fake.on[FIND_COORDINATOR]
        cut = iter([True])

        def find(body: bytes) -> Answer:
            asked.append(loop.time())
            if next(cut, False):
                for connection in list(fake._writers):
                    connection.transport.abort()
                return None
            return stock(body)

        fake.on[FIND_COORDINATOR] = find
        await begun(writer)
        assert loop.time() - asked[-1] >= 0.4


@in_loop
async def test_a_transactional_id_that_is_forbidden_is_named_and_waited_for() -> None:
    async with FakeBroker() as fake, a_writer(fake) as writer:
        fake.on[INIT_PRODUCER] = each_time(fake.producer(53))
        lane = writer.transactions(ID)
        beginning = asyncio.create_task(lane.begin())
        await until(lambda: ID in writer.rights.lacking)
        assert f"may not write transactional id {ID}: grant Write on it" in writer.rights.lacking[ID]
        fake.on[INIT_PRODUCER] = each_time(fake.producer())
        await beginning
        assert not writer.rights.lacking
