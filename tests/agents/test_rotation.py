"""Everything is made anew before it ends, or when it is told to, and what flows does not wait."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from batch_made import some
from desk import Desk
from in_loop import until
from world import World, in_world

from sealwire.agents import garbage, renewal
from sealwire.agents.rotation import ANSWER, ORDER
from sealwire.agents.settings import Lifetimes
from sealwire.keys import keypackage, session, wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from world import Station, Store

    from sealwire.agents.sending import Sending

HOUR = 3_600_000
PAUSE = 0.050  # seconds: the most that a rotation may keep a source partition waiting


def current(sealer: Station) -> Sending:
    found = sealer.side.senders.current("orders")  # type: ignore[union-attr]
    assert found is not None
    return found


def directory(world: World, name: str) -> Path:
    """A worker's own directory."""
    path = world._tmp / name
    path.mkdir()
    return path


async def flowing(world: World, **changes: Any) -> tuple[Station, Station, Desk]:
    """A sealer and a mirror in directories of their own, and an authority that answers."""
    desk = Desk(world)
    stores = world.member("s", "berlin"), world.member("r", "paris")
    desk.knows(stores[0], "s", "berlin")
    desk.knows(stores[1], "r", "paris")
    sealer = world.sealer(stores[0], state=directory(world, "s"), **changes)
    mirror = world.mirror(stores[1], state=directory(world, "r"), **changes)
    await mirror.start()
    await sealer.start()
    await until(lambda: sealer.side.senders.current("orders") and sealer.seated() and mirror.seated())  # type: ignore[union-attr]
    return sealer, mirror, desk


async def ordered(station: Station, *what: str, desk: Desk | None = None) -> dict[str, str]:
    """Order a rotation and wait for the answer."""
    state = station.settings.state
    (state / ORDER).write_text(json.dumps({"id": "abc", "what": what}))

    def answered() -> bool:
        if desk is not None:
            desk.look()
        return not (state / ORDER).exists()

    await until(answered)
    told = json.loads((state / ANSWER).read_text())
    assert told["id"] == "abc"
    return {each["what"]: each["words"] for each in told["done"]}


def signed_by(statement: bytes) -> bytes:
    return statement[-wire.ENTRY_SIZE : -wire.ENTRY_SIZE + 32]


@in_world
async def test_sessions_are_followed_by_others_when_a_person_says_so(world: World) -> None:
    sealer, mirror, _ = await flowing(world)
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    first = current(sealer)
    words = await ordered(sealer, "sessions")
    second = current(sealer)
    assert second.outbound.id != first.outbound.id
    assert words == {"sessions": f"orders: session {second.outbound.id.hex()[:8]} for 1 reader"}
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)
    assert mirror.refused.keys() <= {"parked"}


@in_world
async def test_receiving_keys_that_are_made_anew_open_what_is_sealed_from_then_on_and_what_was_before(
    world: World,
) -> None:
    sealer, mirror, _ = await flowing(world)
    before, former = current(sealer), mirror.store.secrets.held
    world.berlin.send(some(3))
    words = await ordered(mirror, "receiving")
    assert words == {"receiving": "29 windows have new receiving keys, and are announced"}
    assert set(former) <= set(mirror.store.secrets.held)
    assert len(mirror.store.secrets.held) == 2 * len(former)
    await until(lambda: current(sealer).outbound.id != before.outbound.id)  # the old keys may be in a thief's hands
    member = mirror.store.secrets.identity.member_id
    announced = sealer.control.trust.packages[member].windows
    assert not {window.public for window in announced} & {each.receiving.public for each in former}
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)


@in_world
async def test_receiving_keys_that_the_cloud_does_not_take_are_answered_for_in_its_words(world: World) -> None:
    _, mirror, _ = await flowing(world)
    world.cloud.at("acme.control").refuse = lambda _: "no room"
    words = await ordered(mirror, "receiving")
    assert words == {"receiving": "the cloud does not take our receiving keys, so nobody wraps for them: no room"}
    assert not mirror.errors


@in_world
async def test_a_credential_is_asked_for_when_a_person_says_so(world: World) -> None:
    sealer, _, desk = await flowing(world)
    words = await ordered(sealer, "credential", desk=desk)
    assert words["credential"].startswith("credential 2 counts, for ")
    assert sealer.control.credential.serial == 2  # type: ignore[union-attr]


@in_world
async def test_an_authority_that_is_away_keeps_an_order_waiting_only_so_long(world: World) -> None:
    sealer, _, desk = await flowing(world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(renewal, "_ANSWER_WITHIN", 0.05)
        words = await ordered(sealer, "identity")
    assert words["identity"].startswith("asked for; the authority has not answered yet")
    desk.look()
    await until(lambda: sealer.control.credential is not None and sealer.control.credential.serial == 2)
    assert sealer.store.secrets.following is None


@in_world
async def test_an_identity_key_is_replaced_under_the_same_member_and_everything_is_signed_by_the_new_one(
    world: World,
) -> None:
    sealer, mirror, desk = await flowing(world)
    world.berlin.send(some(3))
    for station in (sealer, mirror):
        former, before = station.store.secrets.identity, current(sealer).outbound.id
        await ordered(station, "identity", desk=desk)
        mine = station.store.secrets.identity
        assert mine.member_id == former.member_id
        assert mine.public != former.public
        assert station.control.credential.identity_key == mine.public  # type: ignore[union-attr]
        assert station.store.secrets.following is None
        if station is sealer:
            await until(lambda before=before: current(sealer).outbound.id != before)  # type: ignore[misc]
    asked = desk.asked[-1]
    assert asked.former_key is not None
    member = mirror.store.secrets.identity.member_id
    await until(lambda: sealer.control.trust.packages[member].serial == 2)
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)
    newest = world.cloud.at("acme.sessions").values()
    sessions = [session.peek(each, world.project.root.project_id) for each in newest if each[2] == wire.Type.SESSION]
    assert sessions[-1].credential == sealer.control.credential.statement  # type: ignore[union-attr]
    assert mirror.refused.keys() <= {"parked"}


@in_world
async def test_the_next_identity_key_is_in_the_vault_before_it_is_asked_for_and_the_old_one_signs_until_it_counts(
    world: World,
) -> None:
    sealer, _, desk = await flowing(world)
    former, saved = sealer.store.secrets.identity, []
    save = sealer.store.save

    def noting(secrets: Any) -> None:
        saved.append((secrets.following, world.cloud.at("acme.requests").end))
        save(secrets)

    sealer.store.save = noting  # type: ignore[method-assign]
    await sealer.control.renewal._replace_identity()
    assert [(following is not None, end) for following, end in saved] == [(True, 0)]
    following = sealer.store.secrets.following
    assert following is not None
    before = current(sealer).outbound.id
    await sealer.side.senders.rotate()  # type: ignore[union-attr]
    assert current(sealer).outbound.id != before
    assert sealer.store.secrets.identity is former
    desk.look()
    assert [(each.former_key, each.identity_key) for each in desk.asked] == [(former.public, following.public)]
    await until(lambda: sealer.store.secrets.identity.public == following.public)


@in_world
async def test_a_worker_that_starts_again_asks_for_the_identity_key_that_it_had_made(world: World) -> None:
    sealer, _, desk = await flowing(world)
    await sealer.control.renewal._replace_identity()
    desk.look(answers=False)
    await sealer.kill()
    again = world.sealer(sealer.store, state=sealer.settings.state)
    await again.start()
    await until(lambda: desk.look() and len(desk.asked) == 2)
    assert desk.asked[0].identity_key == desk.asked[1].identity_key
    await until(lambda: again.store.secrets.following is None)


@in_world
async def test_an_identity_key_that_comes_to_count_while_it_is_asked_for_again_is_not_replaced_at_once(
    world: World,
) -> None:
    sealer, _, desk = await flowing(world)
    control = sealer.control
    await control.renewal._replace_identity()
    desk.look(answers=False)
    following = control.secrets.following
    assert following is not None
    world.clock.ahead = HOUR + 1000
    async with control.changing:
        asking = asyncio.create_task(control.renewal._look_at_credential())
        await until(lambda: control.changing._waiters)  # type: ignore[attr-defined]
        await control.save(control.secrets.admitted(world.project.admit(following, "s", "berlin", world.clock.now())))
    await asking
    assert sealer.store.secrets.identity.public == following.public
    assert sealer.store.secrets.following is None


@in_world
async def test_identity_keys_are_replaced_when_they_are_as_old_as_the_settings_say(world: World) -> None:
    sealer, _, desk = await flowing(world, lifetimes=Lifetimes(identity=10 * HOUR))
    former = sealer.store.secrets.identity
    world.clock.ahead = 10 * HOUR - 60_000
    await sealer.control.renewal.look()
    assert desk.look() == 0
    world.clock.ahead = 10 * HOUR + 1000

    def replaced() -> bool:
        desk.look()
        return sealer.store.secrets.identity.public != former.public

    await until(replaced)


@in_world
async def test_a_vault_of_before_the_replacement_is_noticed_and_makes_nothing(world: World) -> None:
    sealer, _, desk = await flowing(world)
    old = sealer.store.secrets
    await ordered(sealer, "identity", desk=desk)
    await sealer.stop()
    store: Store = type(sealer.store)(old)
    again = world.sealer(store, state=sealer.settings.state)
    await again.start()
    await until(again.control.caught_up.is_set)
    told = await again.control.renewal.credential_anew()
    assert told.startswith("our credential names an identity key that is not in this vault")  # from the first word on
    assert told == again.control.renewal.trouble
    assert again.side.senders.current("orders") is None  # type: ignore[union-attr]
    await until(lambda: again.side.senders.waits_for("orders") == told)  # type: ignore[union-attr]
    assert again.side.senders.lacks()  # type: ignore[union-attr]


@in_world
async def test_what_is_no_order_is_removed_and_harms_nothing(world: World) -> None:
    sealer, _, _ = await flowing(world)
    strange = ('{"id": 1, "what": []}', '{"id": "a", "what": [[]]}', "[" * 4000, "x" * 5000)
    for content in ("", "[]", "{}", *strange):
        (sealer.settings.state / ORDER).write_text(content)
        await until(lambda: not (sealer.settings.state / ORDER).exists() or sealer.errors)
        assert not sealer.errors
    assert await ordered(sealer, "receiving", "nonsense") == {}


def crowd(world: World, count: int) -> None:
    """So many more members that may read, with receiving keys announced."""
    now = world.clock.now()
    for number in range(count):
        store = world.member(f"reader{number}", "rome")
        who, project = store.secrets.identity, world.project
        credential = project.read(store.secrets.credential, now)  # type: ignore[arg-type]
        held, _ = keypackage.renew(who, credential, project.root.project_id, (), now, os.urandom)
        world.tell(keypackage.announce(who, credential, project.root.project_id, held, now))


@in_world
async def test_a_cloud_that_acknowledges_nothing_of_a_rotation_keeps_no_record_waiting(world: World) -> None:
    sealer, mirror, desk = await flowing(world)
    sessions, control, requests = (world.cloud.at(f"acme.{each}") for each in ("sessions", "control", "requests"))
    senders = sealer.side.senders  # type: ignore[union-attr]
    told, asked = control.end, requests.end

    async def flows_during(what: str, station: Station, begun: Callable[[], object]) -> None:
        for log in (sessions, control, requests):
            log.acked.clear()
        ordering = asyncio.create_task(ordered(station, what, desk=desk))
        await until(begun)
        before = len(world.paris.got())
        world.berlin.send(some(3, before))
        await until(lambda: len(world.paris.got()) == before + 3)
        assert not ordering.done()
        for log in (sessions, control, requests):
            log.acked.set()
        await ordering

    await flows_during("sessions", sealer, lambda: senders._beginning)
    await flows_during("receiving", mirror, lambda: control.end > told)
    await flows_during("credential", sealer, lambda: requests.end > asked)
    asked = requests.end
    await flows_during("identity", sealer, lambda: requests.end > asked)


@pytest.mark.no_cover
@in_world
async def test_no_rotation_keeps_a_source_partition_waiting_for_more_than_fifty_milliseconds(world: World) -> None:
    """By the processor's time, with a hundred readers, and the least of ten: what else this process does only adds."""
    crowd(world, 100)
    sealer, mirror, desk = await flowing(world)
    await until(lambda: len(current(sealer).readers) == 101)
    sealed: list[float] = []
    count = sealer.side.senders.count  # type: ignore[union-attr]

    def noting(sending: Sending, used: int) -> None:
        sealed.append(time.process_time())
        count(sending, used)

    sealer.side.senders.count = noting  # type: ignore[union-attr, method-assign]
    stop, sent = asyncio.Event(), 0

    async def load() -> None:
        nonlocal sent
        while not stop.is_set():
            world.berlin.send(some(1, sent))
            sent += 1
            await asyncio.sleep(0.002)

    async def pause(what: str, station: Station) -> float:
        """The longest time between two envelopes while this is made anew, and for some thirty envelopes after it."""
        begun = len(sealed)
        await ordered(station, what, desk=desk)
        done = len(sealed)
        await until(lambda: len(sealed) > done + 30)
        return max(after - before for before, after in itertools.pairwise(sealed[begun - 1 :]))

    loading = asyncio.create_task(load())
    await until(lambda: len(sealed) > 20)
    each = (("sessions", sealer), ("receiving", mirror), ("credential", sealer), ("identity", sealer))
    pauses: dict[str, float] = {}
    settled = gc.get_threshold()
    try:
        garbage.begin()
        garbage.settle()  # as a worker does: what other tests left in this process is not looked through
        for what, station in each:
            found = [await pause(what, station)]
            while min(found) >= PAUSE and len(found) < 10:
                found.append(await pause(what, station))
            pauses[what] = min(found)
    finally:
        gc.set_threshold(*settled)
        gc.unfreeze()
    stop.set()
    await loading
    await until(lambda: len(world.paris.got()) == sent)
    print({what: f"{longest * 1000:.1f} ms" for what, longest in pauses.items()})
    assert max(pauses.values()) < PAUSE, pauses
