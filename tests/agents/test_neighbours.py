"""Who joins a site is granted what is still read there, by those who read it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from desk import Desk
from in_loop import until
from world import World, in_world

from sealwire.keys import grant, policy, wire
from sealwire.keys.charter import PolicyRow

if TYPE_CHECKING:
    from world import Station


def session_of(sealer: Station) -> bytes:
    sending = sealer.side.senders.current("orders")  # type: ignore[union-attr]
    assert sending is not None
    found: bytes = sending.outbound.id
    return found


def granters(world: World, session_id: bytes) -> list[bytes | None]:
    """Who granted a session: None is the session itself."""
    values = [value for value in world.cloud.at("acme.sessions").values() if value[2] == wire.Type.GRANTS]
    read = [grant.read(value, world.project.root.project_id)[0] for value in values]
    return [each.granter for each in read if each.session_id == session_id]


@in_world
async def test_a_mirror_that_joins_a_site_opens_the_session_that_began_before_it(world: World) -> None:
    sealer, mirror = await world.flow()
    before = session_of(sealer)
    second = world.mirror()
    await second.start()
    await until(lambda: before in second.control.sessions)
    assert second.control.sessions[before].secret == mirror.control.sessions[before].secret
    assert granters(world, before) == [None, mirror.store.secrets.identity.member_id]


@in_world
async def test_a_mirror_of_another_site_is_granted_nothing_that_began_before_it(world: World) -> None:
    sealer, mirror = await world.flow()
    before = session_of(sealer)
    second = world.mirror(world.member("late", "rome"))
    await second.start()
    await until(lambda: session_of(sealer) in second.control.sessions and session_of(sealer) in mirror.control.sessions)
    assert before not in second.control.sessions
    assert granters(world, before) == [None]


@in_world
async def test_a_mirror_that_joins_is_granted_what_had_ended_inside_the_backfill_and_nothing_before(
    world: World,
) -> None:
    hour = 3_600_000
    row = PolicyRow("*", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, 2 * hour)
    sealer, mirror = await world.flow()
    first = session_of(sealer)
    await until(lambda: first in mirror.control.sessions)
    world.clock.ahead = 2 * hour
    await until(lambda: sealer.side.senders.current("orders"))  # type: ignore[union-attr]
    await until(lambda: session_of(sealer) != first and session_of(sealer) in mirror.control.sessions)
    second = session_of(sealer)
    Desk(world).sign(policies=(row,))
    await until(lambda: mirror.control.trust.charter.version == 1)
    world.clock.ahead = 4 * hour  # the first ended three hours ago, the second one
    late = world.mirror(world.member("late", "paris", admitted=world.clock.now()))
    await late.start()
    await until(lambda: second in late.control.sessions)
    assert first not in late.control.sessions


@in_world
async def test_a_member_that_lost_its_vault_is_granted_the_live_sessions_once_more(world: World) -> None:
    sealer, mirror = await world.flow()
    other = world.mirror()
    await other.start()
    await until(lambda: session_of(sealer) in other.control.sessions and session_of(sealer) in mirror.control.sessions)
    before = session_of(sealer)
    await other.stop()
    lost = replace(other.store.secrets, held=(), inbound={})
    again = world.mirror(type(other.store)(lost))
    world.cloud.at("acme.sessions").acked.clear()  # no session begins meanwhile
    await again.start()
    world.cloud.at("acme.sessions").acked.set()
    await until(lambda: before in again.control.sessions)
    assert mirror.store.secrets.identity.member_id in granters(world, before)


@in_world
async def test_a_mirror_that_joins_while_its_neighbour_is_off_is_granted_what_that_one_holds_at_its_next_start(
    world: World,
) -> None:
    sealer, mirror = await world.flow()
    before = session_of(sealer)
    await until(lambda: before in mirror.control.sessions)
    await mirror.kill()  # as it would be in the midst of granting
    second = world.mirror(world.member("late", "paris", admitted=world.clock.now()))
    await second.start()
    await until(second.control.caught_up.is_set)
    await world.mirror(mirror.store).start()
    await until(lambda: before in second.control.sessions)


@in_world
async def test_a_grant_that_the_cloud_does_not_take_is_granted_again(world: World) -> None:
    sealer, mirror = await world.flow()
    before, log = session_of(sealer), world.cloud.at("acme.sessions")
    await until(lambda: before in mirror.control.sessions)
    log.refuse = lambda _: "no room"
    second = world.mirror()
    await second.start()
    refused = log.refused
    await until(lambda: log.refused > refused + 3)
    log.refuse = lambda _: ""
    await until(lambda: before in second.control.sessions)
