"""Who joins a site is granted what is still read there, by those who read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from in_loop import until
from world import World, in_world

from sealwire.keys import grant, wire

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
