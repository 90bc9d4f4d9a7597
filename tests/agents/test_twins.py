"""An identity that is used twice is noticed by what it signs, and ends the worker that notices."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from in_loop import until
from world import World, in_world

from sealwire.agents import twins
from sealwire.keys import keypackage, session

if TYPE_CHECKING:
    from world import Station, Store

MINUTE = 60_000


def heard(station: Station) -> list[str]:
    """What a worker says when it ends for good."""
    over: list[str] = []
    station.control.on_over = over.append
    return over


def twin_of(store: Store) -> Store:
    """A copy of a vault."""
    return type(store)(store.secrets)


def session_at(world: World, store: Store, at: int) -> bytes:
    """A session statement that this identity signs, dated so (ms)."""
    credential = store.secrets.credential or b""
    who, project = store.secrets.identity, world.project.root.project_id
    return session.start(who, credential, project, "orders", 0, 9, at, os.urandom)[1]


@in_world
async def test_two_sealers_of_one_identity_see_each_others_sessions_and_end(world: World) -> None:
    sealer, _ = await world.flow()
    over = heard(sealer)
    world.clock.ahead = 6 * MINUTE
    second = world.sealer(twin_of(sealer.store))
    await second.start()
    await until(lambda: over)
    assert over[0].startswith("identity in use twice: a session of this identity was made elsewhere")
    assert sealer.side.senders.current("orders") is None  # type: ignore[union-attr]
    assert not second.control.over  # it has seen nothing that was made after its own start


@in_world
async def test_two_mirrors_of_one_identity_see_each_others_receiving_keys_and_end(world: World) -> None:
    _, mirror = await world.flow()
    over = heard(mirror)
    world.clock.ahead = 6 * MINUTE
    second = world.mirror(twin_of(mirror.store))
    await second.start()
    await until(lambda: over)
    assert over[0].startswith("identity in use twice: a key package of this identity was made elsewhere")


@in_world
async def test_what_the_worker_before_this_one_signed_is_no_twins(world: World) -> None:
    sealer, _ = await world.flow()
    former = session_at(world, sealer.store, world.clock.now())
    await sealer.stop()
    again = world.sealer(sealer.store)
    over = heard(again)
    await again.start()
    await until(lambda: again.side.senders.current("orders"))  # type: ignore[union-attr]
    world.tell(former, "acme.sessions")  # the cloud serves it once more
    for each in world.cloud.at("acme.sessions").values():
        world.tell(each, "acme.sessions")
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert over == []


@in_world
async def test_nobody_can_end_a_worker_by_a_statement_that_its_identity_did_not_sign(world: World) -> None:
    sealer, _ = await world.flow()
    over = heard(sealer)
    world.clock.ahead = 6 * MINUTE
    other = world.member("other", "berlin")
    true = session_at(world, sealer.store, world.clock.now())
    forged = bytearray(true)
    forged[-1] ^= 1
    world.tell(bytes(forged), "acme.sessions")
    world.tell(session_at(world, other, world.clock.now()), "acme.sessions")
    world.tell(b"SW" + b"\x06\x01" + sealer.store.secrets.identity.member_id, "acme.sessions")
    end = world.cloud.at("acme.sessions").end
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3 and world.cloud.at("acme.sessions").end > end)
    assert over == []
    world.tell(true, "acme.sessions")
    await until(lambda: over)


@in_world
async def test_a_key_package_of_a_sealers_identity_is_somebody_elses(world: World) -> None:
    sealer, _ = await world.flow()
    over = heard(sealer)
    world.clock.ahead = 6 * MINUTE
    who, project, now = sealer.store.secrets.identity, world.project, world.clock.now()
    credential = project.read(sealer.store.secrets.credential or b"", now)
    _, package = keypackage.renew(who, credential, project.root.project_id, (), now, os.urandom)
    assert package is not None
    world.tell(package)
    await until(lambda: over)


@in_world
async def test_its_own_sessions_and_receiving_keys_end_no_worker(world: World) -> None:
    sealer, mirror = await world.flow()
    over = heard(sealer) + heard(mirror)
    for number in range(1, 4):
        world.clock.ahead = number * 6 * MINUTE
        await sealer.side.senders.rotate()  # type: ignore[union-attr]
        await mirror.control.renewal.receiving_anew()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert over == []
    assert not sealer.control.over
    assert not mirror.control.over


@in_world
async def test_sessions_of_its_own_that_a_worker_has_forgotten_and_the_cloud_serves_again_end_it_not(
    world: World,
) -> None:
    sealer, _ = await world.flow()
    over = heard(sealer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twins, "_MINE_MOST", 2)
        for number in range(1, 6):
            world.clock.ahead = number * 6 * MINUTE
            await sealer.side.senders.rotate()  # type: ignore[union-attr]
        values = world.cloud.at("acme.sessions").values()
        for each in values:
            sealer.control.twins.look(each)
        assert over == []
        world.clock.ahead += 6 * MINUTE
        world.tell(session_at(world, sealer.store, world.clock.now()), "acme.sessions")
        await until(lambda: over)
