"""Control: statements are followed, judged by keys/, saved before they are used; our own are published."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from desk import Desk
from in_loop import until
from world import World, in_world

from sealwire.agents import following, renewal
from sealwire.agents.clock import now
from sealwire.keys import keypackage, request, wire
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from world import Station

MINUTE, DAY = 60_000, 24 * 3600 * 1000


def packages(world: World) -> list[bytes]:
    """Every key package in the control topic."""
    values = world.cloud.at("acme.control").values()
    return [value for value in values if value[:2] == wire.MAGIC and value[2] == wire.Type.KEY_PACKAGE]


async def ready(station: Station) -> Station:
    await station.start()
    await until(station.control.caught_up.is_set)
    return station


@in_world
async def test_a_worker_is_not_ready_before_it_has_read_control_to_its_end(world: World) -> None:
    stores = [world.member(f"m{number}", "rome") for number in range(3)]
    sealer = world.sealer()
    budget = sealer.cloud.budget
    taken = budget.take(budget.total)  # nothing can be read
    await sealer.start()
    for _ in range(50):
        await asyncio.sleep(0)
    assert not sealer.control.caught_up.is_set()
    budget.release(taken)
    await until(sealer.control.caught_up.is_set)
    assert {store.secrets.identity.member_id for store in stores} <= set(sealer.control.trust.credentials)


@in_world
async def test_missing_project_topics_are_named_and_waited_for(world: World) -> None:
    del world.cloud.topics["acme.sessions"]
    sealer = world.sealer()
    await sealer.start()
    words = "cloud topic acme.sessions is missing: sealwire project cloud makes it"
    await until(lambda: sealer.control.trouble == words)
    assert not sealer.control.caught_up.is_set()
    world.cloud.make("acme.sessions")
    await until(sealer.control.caught_up.is_set)
    assert sealer.control.trouble == ""


@in_world
async def test_a_mirror_publishes_its_receiving_keys_after_they_are_saved(world: World) -> None:
    mirror = world.mirror()
    saved: list[int] = []
    save = mirror.store.save

    def noting(secrets: object) -> None:
        saved.append(len(packages(world)))
        save(secrets)  # type: ignore[arg-type]

    mirror.store.save = noting  # type: ignore[method-assign]
    await ready(mirror)
    await until(lambda: packages(world))
    assert saved[0] == 0
    (package,) = packages(world)
    assert keypackage.peek(package, world.project.root.project_id).member_id == mirror.store.secrets.identity.member_id
    assert mirror.store.secrets.held


@in_world
async def test_a_sealer_announces_no_receiving_keys(world: World) -> None:
    await ready(world.sealer())
    assert packages(world) == []


@in_world
async def test_refused_statements_are_counted_by_reason_and_the_rest_goes_on(world: World) -> None:
    sealer = await ready(world.sealer())
    for value in (b"hello", b"", os.urandom(500), bytes(1 << 20), b"SW\x01"):
        world.tell(value)
    altered = bytearray(world.project.admit(world.member("x", "rome").secrets.identity, "x", "rome", now()))
    altered[-1] ^= 1
    world.tell(bytes(altered))
    later = world.member("later", "rome")
    await until(lambda: sealer.control.trust.credential_of(later.secrets.identity.member_id))
    assert sum(sealer.control.refused.values()) == 6
    assert sealer.control.refused[Reason.BAD_SIGNATURE] == 1


@in_world
async def test_a_credential_of_another_project_admits_nobody(world: World) -> None:
    sealer = await ready(world.sealer())
    other = type(world.project).make(now(), "other")
    who = world.member("x", "rome", known=False).secrets.identity
    world.tell(other.admit(who, "x", "rome", now()))
    await until(lambda: sum(sealer.control.refused.values()))
    assert sealer.control.trust.credential_of(who.member_id) is None


@in_world
async def test_the_next_credential_is_asked_for_after_a_third_of_its_life(world: World) -> None:
    sealer = await ready(world.sealer())
    requests = world.cloud.at("acme.requests")
    world.clock.ahead = 7 * DAY // 3 - 60_000
    await sealer.control.renewal.look()
    assert requests.end == 0
    world.clock.ahead = 7 * DAY // 3 + 60_000
    await until(lambda: requests.end == 1)
    asked = request.read(requests.value(0), world.project.root.project_id)
    assert asked.member_id == sealer.store.secrets.identity.member_id
    await sealer.control.renewal.look()
    assert requests.end == 1, "once an hour is enough"


@in_world
async def test_a_renewed_credential_is_saved_and_its_mirror_announces_again(world: World) -> None:
    mirror = await ready(world.mirror(world.member("r", "paris")))
    await until(lambda: len(packages(world)) == 1)
    world.renew(mirror.store, "r", "paris")
    await until(lambda: len(packages(world)) == 2)
    assert keypackage.peek(packages(world)[1], world.project.root.project_id).serial == 2
    credential = mirror.control.credential
    assert credential is not None
    assert mirror.store.secrets.credential == credential.statement


@in_world
async def test_receiving_keys_whose_announcement_was_lost_or_is_anothers_are_announced_again(world: World) -> None:
    mirror = await ready(world.mirror())
    log = world.cloud.at("acme.control")
    await until(lambda: len(packages(world)) == 1 and mirror.control.trust.packages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renewal, "_RENEW_EVERY", 0.0)
        for _ in range(3):
            await mirror.control.renewal.look()
        assert len(packages(world)) == 1, "nothing is said twice for nothing"
        who, project, now = mirror.store.secrets.identity, world.project, world.clock.now()
        credential = project.read(mirror.store.secrets.credential or b"", now)
        _, others = keypackage.renew(who, credential, project.root.project_id, (), now + 1, os.urandom)
        world.tell(others or b"")
        held = {each.receiving.public for each in mirror.store.secrets.held}
        await until(lambda: len(packages(world)) == 3)
    newest = keypackage.peek(packages(world)[-1], project.root.project_id)
    assert {window.public for window in newest.windows} <= held
    assert log.end >= 3


@in_world
async def test_receiving_keys_that_the_cloud_does_not_take_are_told_of_and_announced_when_it_does(world: World) -> None:
    log = world.cloud.at("acme.control")
    log.refuse = lambda _: "no room"
    mirror = world.mirror()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renewal, "_RENEW_EVERY", 0.0)
        await ready(mirror)
        words = "the cloud does not take our receiving keys, so nobody wraps for them: no room"
        await until(lambda: mirror.control.trouble == words)
        assert mirror.store.secrets.held
        log.refuse = lambda _: ""
        await until(lambda: packages(world) and not mirror.control.trouble)


@in_world
async def test_what_a_newer_credential_came_with_is_told_though_the_cloud_takes_no_receiving_keys(world: World) -> None:
    mirror = await ready(world.mirror(world.member("r", "paris")))
    await until(lambda: packages(world))
    world.cloud.at("acme.control").refuse = lambda _: "no room"
    told: list[bool] = []
    mirror.control.on_members = lambda: told.append(True)
    world.renew(mirror.store, "r", "paris")
    await until(lambda: mirror.control.trouble.endswith("no room"))
    assert told


@in_world
async def test_a_vault_is_written_to_its_end_before_it_is_written_again_though_nobody_waits_for_it(
    world: World,
) -> None:
    sealer = await ready(world.sealer())
    control, save = sealer.control, sealer.store.save
    may, saving, noted = threading.Event(), threading.Event(), list[str]()

    def slowly(secrets: object) -> None:
        noted.append("begun")
        saving.set()
        may.wait(10)
        save(secrets)  # type: ignore[arg-type]
        noted.append("written")

    async def change() -> None:
        async with control.changing:
            await control.save(replace(control.secrets))

    sealer.store.save = slowly  # type: ignore[method-assign]
    first = asyncio.create_task(change())
    await until(saving.is_set)
    first.cancel()
    second = asyncio.create_task(change())
    for _ in range(50):
        await asyncio.to_thread(lambda: None)
    assert noted == ["begun"]
    may.set()
    await second
    assert noted == ["begun", "written"] * 2
    assert first.cancelled()


@in_world
async def test_secrets_that_are_erased_before_the_cloud_was_read_are_nowhere_in_memory(world: World) -> None:
    _, mirror = await world.flow()
    await until(lambda: mirror.control.sessions)
    await mirror.stop()
    world.cloud.at("acme.control").show(0)
    world.clock.ahead = 14 * DAY
    again = world.mirror(mirror.store)
    former = weakref.ref(next(iter(again.control.secrets.inbound.values())))
    key = weakref.ref(again.control.secrets.held[0])
    await again.side.forgetting.look()  # type: ignore[union-attr]
    again.side.forgetting._begun = -4000.0  # type: ignore[union-attr]  # an hour after its start the receiving keys go
    await again.side.forgetting.look()  # type: ignore[union-attr]
    gc.collect()
    assert former() is None
    assert key() is None


@in_world
async def test_a_worker_that_starts_again_knows_its_sessions_from_the_vault(world: World) -> None:
    _, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    await mirror.stop()
    sessions = dict(mirror.control.sessions)
    again = await ready(world.mirror(mirror.store))
    assert sessions
    assert sessions.keys() <= again.control.sessions.keys()


@in_world
async def test_a_topic_of_statements_that_was_cut_short_is_read_from_its_start_again(world: World) -> None:
    sealer = await ready(world.sealer())
    log = world.cloud.at("acme.control")
    log.truncate(log.end + 5)
    await until(lambda: sealer.control.trouble.startswith("acme.control: "))
    later = world.member("later", "rome")
    await until(lambda: sealer.control.trust.credential_of(later.secrets.identity.member_id))
    await until(lambda: not sealer.control.trouble)


@in_world
async def test_a_mirror_that_starts_delivers_though_control_takes_no_receiving_keys_of_it(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    await mirror.stop()
    world.cloud.at("acme.control").stored.clear()
    await world.mirror(mirror.store).start()
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)
    assert sealer.side.senders.current("orders")  # type: ignore[union-attr]
    world.cloud.at("acme.control").stored.set()


@in_world
async def test_a_request_that_the_cloud_does_not_acknowledge_keeps_no_receiving_keys_from_being_announced(
    world: World,
) -> None:
    mirror = await ready(world.mirror(world.member("r", "paris")))
    await until(lambda: packages(world))
    requests = world.cloud.at("acme.requests")
    requests.acked.clear()
    world.clock.ahead = 7 * DAY // 3 + 60_000
    await until(lambda: requests.end == 1)
    before = len(packages(world))
    world.renew(mirror.store, "r", "paris")
    await until(lambda: len(packages(world)) == before + 1)
    requests.acked.set()


@in_world
async def test_a_request_that_the_cloud_refused_is_made_again_after_ten_minutes_and_after_a_clock_that_was_set_back(
    world: World,
) -> None:
    sealer = await ready(world.sealer())
    requests, look = world.cloud.at("acme.requests"), sealer.control.renewal.look
    world.clock.ahead = 4 * DAY
    requests.refuse = lambda _: "no room"
    await look()
    requests.refuse = lambda _: ""
    await look()
    assert requests.end == 0
    world.clock.ahead = 4 * DAY + 601_000
    await look()
    assert requests.end == 1
    world.clock.ahead = 3 * DAY
    await look()
    assert requests.end == 2


@in_world
async def test_a_charter_that_is_dated_ahead_of_our_clock_counts_as_soon_as_it_may_though_a_start_waits_for_it(
    world: World,
) -> None:
    desk = Desk(world)
    world.clock.ahead = 10 * MINUTE
    desk.sign()
    world.clock.ahead = 0
    sealer = world.sealer(world.member("s", "berlin", charter=1))
    await sealer.start()
    await until(lambda: sealer.control.trust.waiting)
    sealer.control._following._read_at = float("inf")  # nothing is read again meanwhile
    assert not sealer.control.caught_up.is_set()
    world.clock.ahead = 6 * MINUTE
    await until(sealer.control.caught_up.is_set)


@in_world
async def test_a_sealer_without_a_reader_reads_again_what_it_may_have_been_led_past(world: World) -> None:
    """Offsets are the cloud's word, and a key package is announced every few hours only."""
    await ready(world.mirror())
    log = world.cloud.at("acme.control")
    await until(lambda: packages(world))
    batch = log.batches[-1]
    log.drop(log.end - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(following, "_READ_AGAIN", 0.1)
        patch.setattr(following, "_READ_AGAIN_TO", 0.1)
        sealer = await ready(world.sealer())
        later = world.member("x", "rome").secrets.identity.member_id
        await until(lambda: sealer.control.trust.credential_of(later))
        await until(lambda: "no reader" in sealer.side.senders.why["orders"])  # type: ignore[union-attr]
        log.batches.insert(-1, batch)
        await until(lambda: sealer.side.senders.current("orders"))  # type: ignore[union-attr]


@in_world
async def test_a_credential_whose_authority_key_the_next_root_takes_away_is_lacking_until_the_authority_makes_another(
    world: World,
) -> None:
    sealer = await ready(world.sealer(world.member("s", "berlin")))
    project, other = world.project, SigningKey.from_seed(os.urandom(32))
    now, dropped = world.clock.now(), set[bytes]()
    sealer.control.on_dropped = dropped.update
    world.tell(project.follow(now, authority_keys=((ED25519, other.public, now + 300 * DAY),)))
    await until(lambda: sealer.control.trouble == renewal._NO_CREDENTIAL)
    assert dropped == {sealer.store.secrets.identity.member_id}
    assert "authority run" in await sealer.control.renewal.credential_anew()
    project.authority = other
    world.renew(sealer.store, "s", "berlin")
    await until(lambda: not sealer.control.trouble)
