"""The lookout of a mirror: what senders stated is compared with what came, and what the cloud keeps back is stale."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition
from batch_made import some
from in_loop import until
from world import LANES, World, in_world

from sealwire.agents import status
from sealwire.agents.lookout import Lookout
from sealwire.agents.topics import lane_of
from sealwire.keys.cursor import Cursor
from sealwire.keys.outlook import Sign, Stale
from sealwire.keys.source import SourcePartition

if TYPE_CHECKING:
    import pytest

HALF = 31_000  # ms: more than half of stale_after
DUE = 66_000  # ms: later than a word may be


def rows(mirror: Any) -> dict[int, dict[str, Any]]:
    return {row["partition"]: row for row in mirror.side.snapshot()["partitions"]}


def stale(mirror: Any, partition: int = 0) -> str:
    found = rows(mirror).get(partition)
    return "" if found is None else str(found["stale"])


async def looked(mirror: Any, times: int = 3) -> None:
    """Wait until words came and were compared a few times more."""
    for _ in range(times):
        before = mirror.side.progress.outlook
        await until(lambda before=before: mirror.side.progress.outlook is not before)
        await asyncio.sleep(0.05)


async def flowing(world: World) -> tuple[Any, Any]:
    sealer, mirror = await world.flow()
    world.berlin.send(some(1))
    await until(lambda: len(world.paris.got()) == 1)
    await until(lambda: rows(mirror).get(0, {}).get("source") == "live")
    return sealer, mirror


@in_world
async def test_a_withheld_tail_is_stale_and_flows_again_when_it_is_served(world: World) -> None:
    _, mirror = await flowing(world)
    world.envelopes.show(world.envelopes.end)  # from here on the cloud shows nothing new
    world.berlin.send(some(1, 1))
    await until(lambda: mirror.standing().awaited is not None)
    await looked(mirror)
    assert stale(mirror) == ""
    world.clock.ahead += HALF
    await until(lambda: stale(mirror))
    row = rows(mirror)[0]
    assert "its sender stated more by" in row["stale"]
    assert (row["state"], row["cursor"], row["lag"]) == ("flowing", 1, 1)
    assert "channel orders: 1 source partition is stale" in status.degraded(mirror.side.snapshot(), {})
    world.envelopes.show()
    await until(lambda: len(world.paris.got()) == 2 and not stale(mirror))
    assert status.degraded(mirror.side.snapshot(), {}) == []


@in_world
async def test_a_sender_that_goes_silent_is_stale_and_its_successor_ends_that(world: World) -> None:
    sealer, mirror = await flowing(world)
    await sealer.kill()
    await asyncio.sleep(0.1)
    assert stale(mirror) == ""
    world.clock.ahead += DUE
    await until(lambda: stale(mirror))
    assert "its sender spoke last at" in stale(mirror)
    await world.sealer(sealer.store).start()
    await until(lambda: not stale(mirror))


@in_world
async def test_words_that_the_cloud_keeps_back_are_a_sender_that_is_silent(world: World) -> None:
    _, mirror = await flowing(world)
    sessions = world.cloud.at("acme.sessions")
    sessions.show(sessions.end)
    world.clock.ahead += DUE
    await until(lambda: stale(mirror))
    assert "the cloud keeps its words back" in stale(mirror)
    sessions.show()
    await until(lambda: not stale(mirror))


@in_world
async def test_an_idle_topic_is_not_stale_and_its_lag_is_known(world: World) -> None:
    _, mirror = await flowing(world)
    for _ in range(20):
        world.clock.ahead += 20_000
        await looked(mirror, 1)
        assert stale(mirror) == ""
    assert rows(mirror)[0]["lag"] == 0
    world.envelopes.stored.clear()  # the cloud takes nothing: what is written at the source is a lag all the same
    world.berlin.send(some(7, 1))
    await until(lambda: rows(mirror)[0]["lag"] == 7)
    world.envelopes.stored.set()


@in_world
async def test_a_source_partition_that_is_withheld_from_its_birth_is_listed_and_stale(world: World) -> None:
    for cluster, topic in ((world.berlin.kafka, "orders"), (world.cloud, "acme.orders"), (world.paris.kafka, "orders")):
        cluster.grow(topic, 2)
    world.cloud.at("acme.orders", 1).show(0)
    _, mirror = await flowing(world)
    await until(lambda: 1 in rows(mirror))
    await until(lambda: rows(mirror)[1]["lag"] == 0)
    assert (rows(mirror)[1]["state"], rows(mirror)[1]["cursor"]) == ("flowing", None)
    world.berlin.send(some(3), partition=1)
    await until(lambda: rows(mirror)[1]["lag"] == 3)
    await looked(mirror)
    assert stale(mirror, 1) == ""
    world.clock.ahead += HALF
    await until(lambda: stale(mirror, 1))
    assert (rows(mirror)[1]["state"], rows(mirror)[1]["why"]) == ("waiting", "nothing of it has come yet")
    assert stale(mirror, 0) == ""
    world.cloud.at("acme.orders", 1).show()
    await until(lambda: len(unbuilt(world, 1)) == 3 and not stale(mirror, 1))
    assert rows(mirror)[1]["state"] == "flowing"


@in_world
async def test_what_came_since_the_last_look_is_one_row_not_two(world: World) -> None:
    for cluster, topic in ((world.berlin.kafka, "orders"), (world.cloud, "acme.orders"), (world.paris.kafka, "orders")):
        cluster.grow(topic, 2)
    world.cloud.at("acme.orders", 1).show(0)
    _, mirror = await flowing(world)
    await until(lambda: 1 in rows(mirror))
    lookout: Any = mirror.side.lookout
    lookout.look = lambda: None  # the next look is far away
    world.berlin.send(some(3), partition=1)
    world.cloud.at("acme.orders", 1).show()
    await until(lambda: len(unbuilt(world, 1)) == 3)
    assert sorted(row["partition"] for row in mirror.side.snapshot()["partitions"]) == [0, 1]


def unbuilt(world: World, partition: int) -> list[bytes]:
    return world.paris.kafka.at("orders", partition).values()


@in_world
async def test_one_that_nobody_speaks_of_is_seen_through_the_count_of_the_others(world: World) -> None:
    for cluster, topic in ((world.berlin.kafka, "orders"), (world.cloud, "acme.orders"), (world.paris.kafka, "orders")):
        cluster.grow(topic, 2)
    sealer, mirror = await flowing(world)
    fresh: Any = world.mirror()
    lane = lane_of("orders", 0, LANES)
    sealer.lanes.on_assigned({TopicPartition(sealer.settings.lane_topic, lane)})
    await sealer.lanes.on_revoked()
    sealer.lanes.on_assigned({TopicPartition(sealer.settings.lane_topic, lane)})
    sealer.side.report._left.clear()  # it was given up long ago
    await mirror.stop()
    world.cloud.make("acme.sessions")  # what was said before is gone
    sealer.side.senders._end("orders", "a new one")
    await fresh.start()
    await until(lambda: fresh.side.progress.outlook.size == 1)
    world.clock.ahead += DUE
    await until(lambda: stale(fresh, 1))
    assert "nobody has spoken of it since" in stale(fresh, 1)
    await until(lambda: not stale(fresh, 0))
    assert stale(fresh, 1)


@in_world
async def test_a_mirror_that_hears_nothing_after_its_start_does_not_believe_that_all_is_well(world: World) -> None:
    _, mirror = await flowing(world)
    await mirror.stop()
    world.cloud.at("acme.sessions").show(0)
    again: Any = world.mirror(mirror.store)
    await again.start()
    await until(lambda: rows(again))
    assert stale(again) == ""
    world.clock.ahead += DUE
    await until(lambda: stale(again))


@in_world
async def test_progress_of_a_newer_session_lifts_the_floor_of_what_is_idle(world: World) -> None:
    sealer, mirror = await flowing(world)
    first = mirror.standing().written.session_floor
    world.clock.ahead += 56 * 60_000  # an idle session is replaced before an hour is over
    await until(lambda: sealer.side.senders.current("orders").outbound.made_at > first + 55 * 60_000)
    newest = sealer.side.senders.current("orders").outbound.made_at
    await until(lambda: mirror.standing().written.session_floor == newest)
    assert mirror.standing().cursor.session_floor == newest
    await mirror.stop()
    again: Any = world.mirror(mirror.store)
    await again.start()
    await until(again.standing)
    assert again.standing().written.session_floor == newest
    assert stale(again) == ""


def test_where_many_topics_are_stale_one_is_explained_and_the_others_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stale = Stale(Sign.SILENT, 0, None)
    standings = [
        SimpleNamespace(
            cursor=Cursor(SourcePartition("orders", "berlin", f"orders{number}", bytes(16), 0)), stale=stale
        )
        for number in range(5)
    ]
    lookout = Lookout(SimpleNamespace(), lambda: [SimpleNamespace(standings=standings)])  # type: ignore[arg-type,list-item]
    lookout._tell()
    lookout._tell()
    first, others = [record.message for record in caplog.records]
    assert first.startswith("orders: 1 source partition of orders0 at berlin is stale: nobody has spoken of it since")
    assert others == "so are 4 source partitions of 4 more topics: sealwire status lists them"
