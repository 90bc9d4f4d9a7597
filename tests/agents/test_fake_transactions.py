"""The transactions that the other tests rest on do what Kafka's do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from batch_made import build, some, unbuild
from fake_kafka import FakeCluster, FakeReader, FakeWriter
from in_loop import in_loop, until

from sealwire.agents.producer import Doubt, Fenced

if TYPE_CHECKING:
    from sealwire.agents.seat import Fetched


def a_cluster() -> tuple[FakeCluster, FakeWriter]:
    cluster = FakeCluster()
    cluster.make("orders")
    return cluster, FakeWriter(cluster)


@in_loop
async def test_what_is_produced_shows_when_it_is_committed_and_never_when_it_is_aborted() -> None:
    cluster, writer = a_cluster()
    log, going = cluster.at("orders"), writer.transactions("a")
    await going.begin()
    for at in range(3):
        await going.include([("orders", 0)])
        await going.produce("orders", 0, build(some(2, 10 * at)))
        assert unbuild(log.committed()) == (some(2) if at else [])
        assert log.lso == 3 * at
        await (going.abort() if at == 1 else going.commit())
    assert unbuild(log.committed()) == some(2) + some(2, 20)
    assert log.lso == log.end == 9


@in_loop
async def test_whoever_takes_the_id_fences_its_last_holder_and_aborts_what_is_open() -> None:
    cluster, writer = a_cluster()
    log, zombie, successor = cluster.at("orders"), writer.transactions("a"), writer.transactions("a")
    await zombie.begin()
    await zombie.include([("orders", 0)])
    await zombie.produce("orders", 0, build(some(2)))
    await successor.begin()
    for deed in (zombie.include([("orders", 0)]), zombie.produce("orders", 0, build(some(1))), zombie.commit()):
        with pytest.raises(Fenced):
            await deed
    await successor.include([("orders", 0)])
    await successor.produce("orders", 0, build(some(1, 5)))
    await successor.commit()
    assert unbuild(log.committed()) == some(1, 5)


@in_loop
async def test_a_transaction_that_is_open_too_long_is_aborted_and_its_producer_fenced() -> None:
    cluster, writer = a_cluster()
    cluster.coordinator.timeout = 0.01
    going = writer.transactions("a")
    await going.begin()
    await going.include([("orders", 0)])
    await going.produce("orders", 0, build(some(2)))
    await until(lambda: cluster.coordinator.known["a"].aborted)
    with pytest.raises(Fenced):
        await going.commit()
    assert not cluster.at("orders").committed()


@in_loop
async def test_what_is_not_in_the_transaction_cannot_be_written_in_it() -> None:
    _, writer = a_cluster()
    going = writer.transactions("a")
    await going.begin()
    with pytest.raises(Doubt):
        await going.produce("orders", 0, build(some(2)))


@in_loop
async def test_a_lost_answer_to_a_commit_leaves_a_doubt_and_the_records() -> None:
    cluster, writer = a_cluster()
    going = writer.transactions("a")
    await going.begin()
    await going.include([("orders", 0)])
    await going.produce("orders", 0, build(some(2)))
    cluster.coordinator.lose = lambda deed, _id: deed == "commit"
    with pytest.raises(Doubt):
        await going.commit()
    assert unbuild(cluster.at("orders").committed()) == some(2)


@in_loop
async def test_a_reader_stops_at_what_is_open_and_is_told_of_what_was_aborted() -> None:
    cluster, writer = a_cluster()
    going, got = writer.transactions("a"), []

    async def take(fetched: Fetched) -> None:
        got.append((fetched.first, fetched.next, fetched.aborted))
        fetched.release()

    await going.begin()
    await going.include([("orders", 0)])
    await going.produce("orders", 0, build(some(2)))
    reader = FakeReader(cluster)
    reader.seat("orders", 0, 0, take, lambda _error: None)
    await asyncio.sleep(0.06)
    assert not got
    await going.abort()
    await until(lambda: got == [(0, 3, ((1000, 0),))])
    await going.include([("orders", 0)])
    await going.produce("orders", 0, build(some(2)))
    await going.commit()
    await until(lambda: got[1:] == [(3, 6, ())])
    await reader.stop()
