"""A worker whose vault was restored from an old backup says so, and is whole again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from batch_made import some
from in_loop import until
from world import Store, World, in_world

from sealwire.agents import healer
from sealwire.keys import wire

if TYPE_CHECKING:
    from world import Station

    from sealwire.keys.secrets import Secrets


async def caught_up(station: Station) -> Station:
    await station.start()
    await until(station.control.caught_up.is_set)
    return station


def announced(station: Station, of: Station) -> set[bytes]:
    """The receiving keys that one worker's key package has, as another one trusts."""
    package = station.control.trust.packages.get(of.store.secrets.identity.member_id)
    return {window.public for window in package.windows} if package is not None else set()


def keys(secrets: Secrets) -> set[bytes]:
    return {each.receiving.public for each in secrets.held}


def session_of(sealer: Station) -> bytes:
    sending = sealer.side.senders.current("orders")  # type: ignore[union-attr]
    assert sending is not None
    found: bytes = sending.outbound.id
    return found


def packages(world: World) -> int:
    values = world.cloud.at("acme.control").values()
    return sum(value[:2] == wire.MAGIC and value[2] == wire.Type.KEY_PACKAGE for value in values)


@in_world
async def test_a_mirror_says_so_announces_new_receiving_keys_and_delivers_what_was_sealed_meanwhile(
    world: World,
) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    backup = mirror.store.secrets
    await mirror.control.renewal.receiving_anew()  # what the backup lacks
    sealed_for = keys(mirror.store.secrets) - keys(backup)
    await until(lambda: announced(sealer, mirror) == sealed_for)
    await mirror.stop()
    world.berlin.send(some(3, 3))  # under sessions that are granted to receiving keys that are lost
    await until(lambda: sealer.side.senders.current("orders") is not None)  # type: ignore[union-attr]

    again = await caught_up(world.mirror(Store(backup)))
    words = f"this vault lacks {len(sealed_for)} receiving keys that were announced: it was restored from an old backup"
    assert again.control.renewal.restored.startswith(words)
    held = keys(again.store.secrets)
    assert keys(backup) < held  # what waits was wrapped for them
    made = held - keys(backup)
    await until(lambda: announced(sealer, again) == made)
    assert not made & sealed_for
    await until(lambda: session_of(sealer) in again.control.sessions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healer, "_AFTER", 0.1)  # nobody else can open them: they are asked for
        world.berlin.send(some(3, 6))
        await until(lambda: world.paris.got() == some(9))

    await again.stop()
    third = await caught_up(world.mirror(again.store))
    assert third.control.renewal.restored == ""


@in_world
async def test_a_neighbour_grants_again_what_was_granted_to_the_receiving_keys_that_are_lost(world: World) -> None:
    sealer, mirror = await world.flow()
    late = await caught_up(world.mirror(world.member("late", "paris")))
    backup = late.store.secrets
    await late.control.renewal.receiving_anew()
    await until(lambda: announced(sealer, late) == keys(late.store.secrets) - keys(backup))
    await until(lambda: set(late.control.sessions) == set(mirror.control.sessions) != set(backup.inbound))
    await late.stop()
    missed = set(late.control.sessions) - set(backup.inbound)
    again = await caught_up(world.mirror(Store(backup)))
    await until(lambda: missed <= set(again.control.sessions))


@in_world
async def test_a_vault_that_knows_of_later_saves_is_enough_for_a_mirror_and_a_sealer(world: World) -> None:
    mirror, sealer = world.member("r", "paris"), world.member("s", "berlin")
    mirror.behind = sealer.behind = 3
    before = keys(mirror.secrets)
    one = await caught_up(world.mirror(mirror))
    assert "lacks its last 3 saves" in one.control.renewal.restored
    await until(lambda: announced(one, one) == keys(mirror.secrets) - before)
    assert announced(one, one)
    count = packages(world)
    other = await caught_up(world.sealer(sealer))
    assert "lacks its last 3 saves" in other.control.renewal.restored
    assert packages(world) == count  # a sealer has no receiving keys
    assert other.store.secrets.held == sealer.secrets.held


@in_world
async def test_a_credential_that_was_used_since_the_backup_is_a_sign_though_the_cloud_brings_it(world: World) -> None:
    store = world.member("r", "paris")
    mirror = await caught_up(world.mirror(store))
    backup = store.secrets
    world.renew(store, "r", "paris")

    def used() -> int:
        package = mirror.control.trust.packages.get(backup.identity.member_id)
        return package.serial if package is not None else 0

    await until(lambda: used() == 2)
    await mirror.stop()
    again = await caught_up(world.mirror(Store(backup)))
    assert again.control.renewal.restored.startswith("this vault lacks credential 2, which was used: it was restored")
    await until(lambda: announced(again, again) == keys(again.store.secrets) - keys(backup))


@in_world
async def test_a_worker_that_starts_again_with_its_own_vault_says_nothing(world: World) -> None:
    _, mirror = await world.flow()
    await mirror.control.renewal.receiving_anew()
    store = mirror.store
    await mirror.kill()
    world.clock.ahead = 5 * 3600 * 1000
    again = await caught_up(world.mirror(store))
    assert again.control.renewal.restored == ""
