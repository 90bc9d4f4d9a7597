"""Who may read is what the charter says, less whom the mapping does not name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from batch_made import some
from in_loop import until
from world import ORDERS, World, in_world

from sealwire.agents.settings import Lifetimes, SealPattern
from sealwire.keys.session import Rules

if TYPE_CHECKING:
    from world import Station

    from sealwire.agents.senders import Sending


def current(sealer: Station) -> Sending | None:
    return sealer.side.senders.current("orders")  # type: ignore[union-attr]


def why(sealer: Station) -> str:
    return sealer.side.snapshot()["channels"][0]["why"]  # type: ignore[no-any-return]


@in_world
async def test_of_two_members_that_may_read_only_the_one_that_the_mapping_names_is_granted_a_session(
    world: World,
) -> None:
    paris, rome = world.mirror(world.member("paris1", "paris")), world.mirror(world.member("rome1", "rome"))
    sealer = world.sealer(route=replace(ORDERS, readers=("rome1",)))
    for station in (paris, rome, sealer):
        await station.start()
    await until(lambda: current(sealer) and current(sealer).outbound.id in rome.control.sessions)  # type: ignore[union-attr]
    assert current(sealer).reader_ids == {rome.store.secrets.identity.member_id}  # type: ignore[union-attr]
    assert paris.control.sessions == {}
    assert why(sealer) == ""


@in_world
async def test_a_pattern_names_the_readers_of_all_its_topics(world: World) -> None:
    paris, rome = world.mirror(world.member("paris1", "paris")), world.mirror(world.member("rome1", "rome"))
    pattern = SealPattern("orders", "^(orders)$", "acme.\\1", readers=("paris1",))
    sealer = world.sealer(seal_patterns=(pattern,), by_name=False)
    for station in (paris, rome, sealer):
        await station.start()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert current(sealer).reader_ids == {paris.store.secrets.identity.member_id}  # type: ignore[union-attr]


@in_world
async def test_who_is_named_by_one_mapping_of_a_channel_and_not_by_another_reads_neither(world: World) -> None:
    paris, rome = world.mirror(world.member("paris1", "paris")), world.mirror(world.member("rome1", "rome"))
    sealer = world.sealer(route=replace(ORDERS, readers=("paris1", "rome1")))
    for station in (paris, rome, sealer):
        await station.start()
    await until(lambda: current(sealer) is not None and len(current(sealer).readers) == 2)  # type: ignore[union-attr]
    sealer.side.senders.cover(replace(ORDERS, cloud_topic="acme.more", readers=("paris1",)))  # type: ignore[union-attr]
    await until(lambda: current(sealer) is not None)
    assert current(sealer).reader_ids == {paris.store.secrets.identity.member_id}  # type: ignore[union-attr]


@in_world
async def test_a_session_that_was_on_its_way_to_a_reader_whom_a_new_topics_mapping_leaves_out_is_not_used(
    world: World,
) -> None:
    stations = [world.mirror(world.member("paris1", "paris")), world.mirror(world.member("rome1", "rome"))]
    paris, rome = (station.store.secrets.identity.member_id for station in stations)
    sealer, sessions, used = world.sealer(), world.cloud.at("acme.sessions"), list[frozenset[bytes]]()
    for station in stations:
        await station.start()
        await until(station.control.caught_up.is_set)
    sealer.side.senders._on_session = lambda _channel: used.append(current(sealer).reader_ids)  # type: ignore[union-attr]
    sessions.acked.clear()
    await sealer.start()
    await until(lambda: sessions.end == 1)
    assert {paris, rome} <= set(sealer.control.trust.packages)
    sealer.side.senders.cover(replace(ORDERS, cloud_topic="acme.more", readers=("paris1",)))  # type: ignore[union-attr]
    sessions.acked.set()
    await until(lambda: used)
    assert used[0] == {paris}


@in_world
async def test_a_name_that_no_member_has_is_warned_of_and_keeps_nobody_else_from_reading(world: World) -> None:
    paris = world.mirror(world.member("paris1", "paris"))
    sealer = world.sealer(route=replace(ORDERS, readers=("paris1", "pariss2")))
    await paris.start()
    await sealer.start()
    await until(lambda: current(sealer) is not None)
    assert why(sealer) == "readers: no member is named pariss2 (sealwire members lists them)"
    world.member("pariss2", "paris")
    await until(lambda: why(sealer) == "")


@in_world
async def test_a_session_lasts_as_long_and_takes_as_many_bytes_as_the_settings_say(world: World) -> None:
    paris = world.mirror()
    sealer = world.sealer(
        route=replace(ORDERS, compress=False), lifetimes=Lifetimes(session=Rules(busy_age=120_000, bytes=50_000))
    )
    await paris.start()
    await sealer.start()
    await until(lambda: current(sealer) is not None)
    first = current(sealer)
    world.berlin.send(some(3))
    await until(lambda: first.sealed > 0)  # type: ignore[union-attr]
    world.clock.ahead = 119_000 - 5_000
    await sealer.side.senders._look("orders")  # type: ignore[union-attr]
    assert current(sealer) is first
    world.berlin.send(some(3))
    world.clock.ahead = 121_000
    await until(lambda: current(sealer) is not first)
    second = current(sealer)
    world.berlin.send(some(1, size=120_000))
    await until(lambda: current(sealer) is not second)
