"""What a person orders is done once, by whichever lane has the source partition, and stands in the cursors."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from batch_made import some
from in_loop import until
from world import World, in_world

from sealwire.agents.single import record_batch
from sealwire.keys.delivery import Delivery
from sealwire.keys.order import Expected, Kind, Order, give
from sealwire.keys.reason import Reason
from sealwire.keys.source import Span
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from world import Station

    from sealwire.keys.standing import Cursor

TOPIC = "_sealwire.acme.paris.orders"


def order(cursor: Cursor, kind: Kind, to: int | None, *, again: bool = True) -> Order:
    seen = Expected.of(cursor)
    return give(kind, cursor.source, seen, to, "ops@host", "it is gone", 1, os.urandom, again=again)


def write(world: World, given: Order) -> None:
    world.paris.kafka.at(TOPIC).append(record_batch(given.encode(), 1, given.source.encode()))


def cursor(mirror: Station) -> Cursor:
    standing = mirror.standing()
    assert standing is not None
    return standing.cursor


def applied(world: World) -> list[Order]:
    """The orders that the ledger tells of."""
    values = [value for log in world.paris.kafka.topics["_sealwire.acme.paris.ledger"][1] for value in log.values()]
    return [each.order for each in map(Delivery.decode, values) if each.order is not None]


async def one_by_one(world: World, count: int, start: int = 0) -> None:
    """Send records so that each gets an envelope of its own."""
    for number in range(start, start + count):
        before = world.envelopes.produced
        world.berlin.send(some(1, number))
        await until(lambda before=before: world.envelopes.produced > before)  # type: ignore[misc]


async def a_gap(world: World, lost: int = 1, sent: int = 5) -> Station:
    """Five envelopes, of which the cloud lost the second, from a sealer that is no more; a mirror that waits."""
    sealer, mirror = await world.flow()
    world.envelopes.show(lost)
    await one_by_one(world, sent)
    await sealer.stop()
    world.envelopes.drop(lost)
    world.envelopes.show()
    await until(lambda: mirror.state() in {"waiting", "held"} and len(world.paris.got()) == lost)
    return mirror


@in_world
async def test_a_gap_that_is_accepted_is_passed_and_what_follows_is_delivered(world: World) -> None:
    mirror = await a_gap(world)
    waits = cursor(mirror)
    given = order(waits, Kind.ACCEPT_GAP, 2)
    write(world, given)
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == [*some(1), *some(3, 2)]
    assert mirror.state() == "flowing"
    assert mirror.standing().row()["order"] == given.id.hex()  # type: ignore[union-attr]
    await until(lambda: applied(world) == [given])


@in_world
async def test_an_order_counts_together_with_what_it_lets_through(world: World) -> None:
    mirror = await a_gap(world)
    world.paris.kafka.at("orders").stored.clear()
    given = order(cursor(mirror), Kind.ACCEPT_GAP, 2)
    write(world, given)
    await until(lambda: mirror.state() == "flowing")
    assert applied(world) == []
    await mirror.kill()
    world.paris.kafka.at("orders").stored.set()
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == [*some(1), *some(3, 2)]
    assert applied(world) == [given]


@in_world
async def test_an_order_given_while_no_worker_runs_is_carried_out_by_the_next(world: World) -> None:
    mirror = await a_gap(world)
    waits = cursor(mirror)
    await mirror.stop()
    write(world, order(waits, Kind.ACCEPT_GAP, 2))
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == [*some(1), *some(3, 2)]


@in_world
async def test_an_order_counts_once_however_often_it_is_read(world: World) -> None:
    mirror = await a_gap(world)
    given = order(cursor(mirror), Kind.ACCEPT_GAP, 2)
    for _ in range(3):
        write(world, given)
    await until(lambda: len(world.paris.got()) == 4)
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.standing() is not None and again.seated())
    write(world, order(cursor(again), Kind.REWIND, 4))  # what is tried again comes to an end
    await until(lambda: len(applied(world)) == 2)
    assert applied(world)[0] == given
    assert world.paris.got() == [*some(1), *some(3, 2)]


@in_world
async def test_an_order_for_what_stands_otherwise_by_now_changes_nothing(world: World) -> None:
    mirror = await a_gap(world)
    waits = cursor(mirror)
    write(world, order(replace(waits, gap=Span(1, 3)), Kind.ACCEPT_GAP, 2))
    write(world, order(replace(waits, reason=Reason.BELOW_FLOOR), Kind.ACCEPT_GAP, 2))
    write(world, order(replace(waits, source=replace(waits.source, topic_id=bytes(16))), Kind.ACCEPT_GAP, 2))
    write(world, order(replace(waits, order=bytes(16)), Kind.ACCEPT_GAP, 2))
    world.paris.kafka.at(TOPIC).inject(b"\1no order")
    write(world, order(waits, Kind.REWIND, 1))
    await until(lambda: len(applied(world)) == 1)
    assert applied(world)[0].kind is Kind.REWIND
    await until(lambda: mirror.state() == "waiting")
    assert world.paris.got() == some(1)


@in_world
async def test_a_part_of_a_gap_may_be_passed_and_the_rest_waits_on(world: World) -> None:
    sealer, mirror = await world.flow()
    world.envelopes.show(1)
    await one_by_one(world, 5)
    await sealer.stop()
    for lost in (1, 2):
        world.envelopes.drop(lost)
    world.envelopes.show()
    await until(lambda: mirror.state() == "waiting")
    write(world, order(cursor(mirror), Kind.ACCEPT_GAP, 2))
    await until(lambda: cursor(mirror).next == 2 and mirror.state() == "waiting")
    assert mirror.standing().row()["gap"] == [2, 3]  # type: ignore[union-attr]
    write(world, order(cursor(mirror), Kind.ACCEPT_GAP, 3))
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == [*some(1), *some(2, 3)]


@in_world
async def test_a_source_partition_without_its_start_begins_where_a_person_lets_it(world: World) -> None:
    mirror = await a_gap(world, lost=0, sent=3)
    assert cursor(mirror).reason is Reason.NO_START
    write(world, order(cursor(mirror), Kind.ACCEPT_GAP, 1))
    await until(lambda: len(world.paris.got()) == 2)
    assert world.paris.got() == some(2, 1)


@in_world
async def test_what_is_rewound_is_delivered_once_more(world: World) -> None:
    sealer, mirror = await world.flow()
    await one_by_one(world, 3)
    await until(lambda: len(world.paris.got()) == 3)
    await sealer.stop()
    given = order(cursor(mirror), Kind.REWIND, 1)
    write(world, given)
    await until(lambda: cursor(mirror).next == 1)
    again = [world.envelopes.value(offset) for offset in (1, 2)]
    for envelope in again:
        world.envelopes.inject(envelope)
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == [*some(3), *some(2, 1)]
    assert cursor(mirror).order == given.id


@in_world
async def test_what_is_held_is_read_again_after_an_order_however_far_the_cloud_has_gone_on(world: World) -> None:
    mirror = await a_gap(world, sent=6)
    held = replace(cursor(mirror), state=State.HELD, reason=Reason.LOST_SPAN)
    mirror.work().standings.note(mirror.standing(), held)  # type: ignore[arg-type]
    await mirror.stop()
    world.envelopes.truncate(4)  # the cloud keeps no more than the last two
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.standing() is not None and again.seated())
    assert cursor(again).state is State.HELD
    write(world, order(cursor(again), Kind.ACCEPT_GAP, 2))
    await until(lambda: again.state() == "waiting")
    assert again.standing().row()["gap"] == [2, 4]  # type: ignore[union-attr]
    write(world, order(cursor(again), Kind.ACCEPT_GAP, 4))
    await until(lambda: len(world.paris.got()) == 3)
    assert world.paris.got() == [*some(1), *some(2, 4)]


@in_world
async def test_a_topic_of_orders_that_is_missing_holds_nothing_up_and_is_named(world: World) -> None:
    world.paris.kafka.topics.pop(TOPIC)
    sealer, mirror = await world.flow()
    await one_by_one(world, 1)
    await until(lambda: len(world.paris.got()) == 1)
    await until(lambda: TOPIC in mirror.side.troubles)
    assert "sealwire site init" in mirror.side.troubles[TOPIC]
    await sealer.stop()
    world.paris.kafka.make(TOPIC)
    write(world, order(cursor(mirror), Kind.REWIND, 0))
    await until(lambda: cursor(mirror).next == 0)
    assert TOPIC not in mirror.side.troubles


@in_world
async def test_since_when_something_waits_is_said(world: World) -> None:
    before = world.clock.now()
    mirror = await a_gap(world)
    row = mirror.standing().row()  # type: ignore[union-attr]
    assert before <= row["since_ms"] <= world.clock.now()
    assert (row["reason"], row["gap"], row["cursor"], row["order"]) == ("gap", [1, 2], 1, None)
    write(world, order(cursor(mirror), Kind.ACCEPT_GAP, 2))
    await until(lambda: mirror.state() == "flowing")
    assert mirror.standing().row()["since_ms"] is None  # type: ignore[union-attr]


def test_who_ordered_what_and_why_is_in_the_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @in_world
    async def passed(world: World) -> None:
        mirror = await a_gap(world)
        write(world, order(cursor(mirror), Kind.ACCEPT_GAP, 2))
        await until(lambda: mirror.state() == "flowing")

    passed(monkeypatch, tmp_path)
    assert "passes [1, 2), as ops@host ordered: it is gone" in caplog.text
