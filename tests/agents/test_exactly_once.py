"""Exactly once: a transaction holds batches and cursors together, is short, and ends its lane when in doubt."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from batch_made import Made, some
from in_loop import until
from test_cursors import LEDGER, TOPIC, delivery_records, flowing
from world import LANES, World, in_world

from sealwire.agents import exactly_once, lanes
from sealwire.agents.records import read
from sealwire.keys.delivery import Delivery
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from fake_transactions import Held
    from world import Station

ID = "_sealwire.acme.paris.open."


def held(world: World, mirror: Station) -> Held:
    """What the coordinator knows of the lane that has the one cloud partition."""
    (number,) = (lane.number for lane in mirror.lanes.open.values() if lane.work.seats)  # type: ignore[attr-defined]
    return world.paris.kafka.coordinator.known[f"{ID}{number}"]


def only(deed: str, times: int = 1) -> Callable[[str, str], bool]:
    """True for the first few times of one deed."""
    left = iter(range(times))
    return lambda done, _id: done == deed and next(left, None) is not None


async def send(world: World, count: int, start: int = 0) -> None:
    """One envelope a record."""
    for at in range(start, start + count):
        before = world.envelopes.end
        world.berlin.send(some(1, at))
        await until(lambda before=before: world.envelopes.end > before)  # type: ignore[misc]


@in_world
async def test_batches_cursor_position_and_ledger_count_together_or_not_at_all(world: World) -> None:
    _, mirror = await flowing(world)
    kafka = world.paris.kafka
    kafka.coordinator.lose = lambda deed, _id: deed == "commit"
    stuck = asyncio.Event()

    async def before(deed: str, _id: str) -> None:
        if deed == "commit":
            await stuck.wait()

    kafka.coordinator.before = before
    records = delivery_records(world)
    await send(world, 3, 1)
    await until(lambda: any(log.open for log in kafka.topics[TOPIC][1]))
    assert len(world.paris.got()) == 1
    assert delivery_records(world) == records
    assert any(log.open for log in kafka.topics[LEDGER][1])
    await mirror.kill()
    kafka.coordinator.before = kafka.coordinator.__class__(kafka).before
    kafka.coordinator.lose = lambda _deed, _id: False
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)
    assert held(world, again).aborted == 1


@in_world
async def test_many_envelopes_share_a_transaction_and_idle_lanes_have_none(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactly_once, "_OPEN_FOR", 0.3)
        _, mirror = await flowing(world)
        before = held(world, mirror).committed
        await send(world, 10, 1)
        await until(lambda: len(world.paris.got()) == 11)
        assert held(world, mirror).committed - before <= 3
        await until(lambda: not mirror.work().sink.log.pending and mirror.standing().written.next == 11)  # type: ignore[union-attr]
        committed = {name: each.committed for name, each in world.paris.kafka.coordinator.known.items()}
        await asyncio.sleep(0.7)
        assert {name: each.committed for name, each in world.paris.kafka.coordinator.known.items()} == committed


@in_world
async def test_a_transaction_ends_early_where_it_holds_much(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactly_once, "_OPEN_FOR", 30.0)
        patch.setattr(exactly_once, "_OPEN_TO", 100_000)
        _, _mirror = await world.flow()
        world.berlin.send([Made(at, None, bytes(1000), []) for at in range(150)], codec=0)
        world.berlin.send(some(1))
        await until(lambda: len(world.paris.got()) >= 150)


@in_world
async def test_what_comes_while_a_transaction_is_committed_waits_for_the_next_one(world: World) -> None:
    _, mirror = await flowing(world)
    kafka, gate, seen = world.paris.kafka, asyncio.Event(), []

    async def before(deed: str, _id: str) -> None:
        seen.append(deed)
        if deed == "commit":
            await gate.wait()

    kafka.coordinator.before = before
    await send(world, 1, 1)
    await until(lambda: "commit" in seen)
    produced = kafka.at("orders").produced
    await send(world, 5, 2)
    await until(lambda: mirror.standing().cursor.next == 7)  # type: ignore[union-attr]
    assert kafka.at("orders").produced == produced
    assert mirror.standing().written.next == 1  # type: ignore[union-attr]
    gate.set()
    await until(lambda: len(world.paris.got()) == 7)
    assert world.paris.got() == some(7)


@pytest.mark.parametrize("deed", ["include", "produce", "commit"])
@pytest.mark.parametrize("lost", [True, False])
def test_any_doubt_ends_the_lane_and_the_next_one_reads_back_what_counts(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
    deed: str,
    lost: bool,  # noqa: FBT001
) -> None:
    """Whether it was done and its answer lost, or the coordinator aborted it meanwhile."""

    @in_world
    async def scenario(world: World) -> None:
        monkeypatch.setattr(lanes, "_NOT_OURS_FOR", 0.1)
        _, mirror = await flowing(world)
        coordinator = world.paris.kafka.coordinator
        lane = next(lane for lane in mirror.lanes.open.values() if lane.work.seats)  # type: ignore[attr-defined]
        if lost:
            coordinator.lose = only(deed)
        else:
            fails = iter([True])

            async def before(done: str, transactional_id: str) -> None:
                if done == deed and deed != "include" and next(fails, False):
                    coordinator.expire(transactional_id)

            coordinator.before = before
            if deed == "include":
                coordinator.begin(f"{ID}{lane.number}")
        await send(world, 6, 1)
        await until(lambda: len(world.paris.got()) == 7)
        assert not lane.open
        assert lane.fenced is not lost
        assert world.paris.got() == some(7)
        await send(world, 2, 7)
        await until(lambda: len(world.paris.got()) == 9)
        assert world.paris.got() == some(9)
        entries = [each for log in world.paris.kafka.topics[LEDGER][1] for each in log.values()]
        spans = [Delivery.decode(each).delivered.span for each in entries]  # type: ignore[union-attr]
        assert sum(map(len, spans)) == 9, "the ledger has each delivery once"

    scenario(monkeypatch, tmp_path)


@in_world
async def test_a_zombie_is_fenced_and_waits_to_be_told_that_the_lane_is_its_own(world: World) -> None:
    """It must not fence its successor back: only Faust says whose a lane is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_NOT_OURS_FOR", 3600.0)
        _, zombie = await flowing(world)
        zombie.agent.pass_on.clear()
        successor = world.mirror()
        await successor.start()
        await until(successor.seated)
        await send(world, 3, 1)
        await until(lambda: len(world.paris.got()) == 4)
        zombie.agent.pass_on.set()
        await until(lambda: len(zombie.lanes.open) < LANES)
        await send(world, 3, 4)
        await until(lambda: len(world.paris.got()) == 7)
        assert world.paris.got() == some(7)
        assert len(successor.lanes.open) == LANES
        assert held(world, successor).epoch == 1
        zombie.assign()
        await until(lambda: len(zombie.lanes.open) == LANES)
        await until(lambda: any(each.epoch == 2 for each in world.paris.kafka.coordinator.known.values()))


@in_world
async def test_a_worker_that_did_not_run_for_a_while_does_not_take_a_lane_again_by_itself(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_BEAT_EVERY", 0.05)
        patch.setattr(lanes, "_ASLEEP", 0.2)
        patch.setattr(lanes, "_NOT_OURS_FOR", 3600.0)
        _, mirror = await flowing(world)
        await until(lambda: mirror.lanes._beat_at)
        import time  # noqa: PLC0415

        time.sleep(0.6)  # noqa: ASYNC251 (as a process that is stopped)
        await asyncio.sleep(0.1)
        next(iter(mirror.lanes.open.values())).fail("something else")
        await until(lambda: len(mirror.lanes.open) < LANES)
        await asyncio.sleep(0.2)
        assert len(mirror.lanes.open) == LANES - 1
        mirror.assign()
        assert len(mirror.lanes.open) == LANES


@in_world
async def test_a_transaction_that_the_cluster_does_not_take_ends_its_lane_before_the_coordinator_fences_it(
    world: World,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactly_once, "_DEADLINE", 0.2)
        _, mirror = await flowing(world)
        log = world.paris.kafka.at("orders")
        log.acked.clear()
        await send(world, 1, 1)
        lane = next(lane for lane in mirror.lanes.open.values() if lane.work.seats)  # type: ignore[attr-defined]
        await until(lambda: not lane.open)
        assert not lane.fenced
        log.acked.set()
        await until(lambda: len(world.paris.got()) == 2)
        assert world.paris.got() == some(2)


@in_world
async def test_the_time_that_a_transaction_has_is_its_own(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactly_once, "_DEADLINE", 2.0)
        _, mirror = await flowing(world)
        lane = next(lane for lane in mirror.lanes.open.values() if lane.work.seats)  # type: ignore[attr-defined]

        async def before(_deed: str, _id: str) -> None:
            await asyncio.sleep(0.01)

        world.paris.kafka.coordinator.before = before
        await asyncio.sleep(2.1)
        await send(world, 1, 1)
        await until(lambda: len(world.paris.got()) == 2)
        assert lane.open


@in_world
async def test_a_refused_batch_holds_its_source_partition_and_what_stands_before_it_is_committed(world: World) -> None:
    _, mirror = await flowing(world)
    world.paris.kafka.at("orders").refuse = lambda batch: "out of bounds" if b"v3v3" in batch else ""
    await send(world, 5, 1)
    await until(lambda: mirror.state() == "held")
    await until(lambda: mirror.standing().written.reason is Reason.SINK_REFUSED)  # type: ignore[union-attr]
    assert mirror.standing().written.next == 3  # type: ignore[union-attr]
    assert world.paris.got() == some(3)
    assert held(world, mirror).aborted == 0
    cursors = [each for log in world.paris.kafka.topics[TOPIC][1] for batch in log.committed() for each in _rows(batch)]
    assert cursors[-1].cursor.reason is Reason.SINK_REFUSED


def _rows(batch: bytes) -> list[Delivery]:
    found = read(memoryview(batch))
    return [Delivery.decode(bytes(each.value)) for each in found if bytes(each.record_key)[:2] != b"\0\0"]  # type: ignore[arg-type]


@in_world
async def test_a_lane_that_is_given_up_commits_what_it_produced_and_leaves_the_rest(world: World) -> None:
    _, mirror = await flowing(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exactly_once, "_OPEN_FOR", 30.0)
        log = world.paris.kafka.at("orders")
        await send(world, 3, 1)
        await until(lambda: log.produced >= 2)
        log.stored.clear()
        await send(world, 3, 4)
        await until(lambda: log.turn.locked() or log.produced >= 4)
        world.spawn_later(log.stored.set)
        await mirror.stop()
    assert 4 <= len(world.paris.got()) <= 7
    assert not any(log.open for log in world.paris.kafka.topics[TOPIC][1])
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 7)
    assert world.paris.got() == some(7)


@in_world
async def test_cursors_that_cannot_be_written_let_nothing_count(world: World) -> None:
    _, mirror = await flowing(world)
    logs = world.paris.kafka.topics[TOPIC][1]
    for log in logs:
        log.refuse = lambda _: "policy"
    await send(world, 2, 1)
    await until(lambda: sum(each.aborted for each in world.paris.kafka.coordinator.known.values()) >= 2)
    assert len(world.paris.got()) == 1
    for log in logs:
        log.refuse = lambda _: ""
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == some(3)
    assert not mirror.errors


# Another sink


@in_world
async def test_a_sink_topic_that_was_made_anew_is_held_and_the_others_go_on(world: World) -> None:
    _, mirror = await flowing(world)
    world.paris.kafka.make("orders")
    await until(lambda: mirror.state() == "held")
    assert mirror.standing().row()["why"] == "sink-changed: the sink topic was made anew since the last delivery"  # type: ignore[union-attr]
    await send(world, 2, 1)
    await asyncio.sleep(0.1)
    assert world.paris.got() == []
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.state() == "held")
    assert again.standing().cursor.reason is Reason.SINK_CHANGED  # type: ignore[union-attr]
    assert world.paris.got() == []


@in_world
async def test_a_sink_that_is_behind_what_was_delivered_is_held_at_seating(world: World) -> None:
    _, mirror = await flowing(world)
    await mirror.stop()
    log = world.paris.kafka.at("orders")
    log.batches.clear()
    log.end = 0
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.state() == "held")
    assert "the sink ends at 0, and the last delivery ended at 1" in again.standing().row()["why"]  # type: ignore[union-attr]


@in_world
async def test_a_sink_topic_that_is_gone_is_not_made_again_in_silence(world: World) -> None:
    _, mirror = await flowing(world)
    del world.paris.kafka.topics["orders"]
    world.berlin.send(some(1, 1))
    await until(lambda: mirror.state() == "held")
    assert mirror.standing().row()["why"] == "sink-changed: the sink topic is gone"  # type: ignore[union-attr]
    assert "orders" not in world.paris.kafka.topics
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.state() == "held")
    assert "orders" not in world.paris.kafka.topics
