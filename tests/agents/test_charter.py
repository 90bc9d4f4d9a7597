"""Charters: adopted at once, remembered, and obeyed by senders and readers; too old a one holds everything."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from desk import Desk
from in_loop import until
from world import World, in_world

from sealwire.agents import healer
from sealwire.agents.settings import Lifetimes
from sealwire.keys import grant, keypackage, policy, wire
from sealwire.keys.charter import PolicyRow
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from world import Station, Store

    from sealwire.agents.sending import Sending

MINUTE, HOUR = 60_000, 3_600_000


def current(sealer: Station) -> Sending | None:
    return sealer.side.senders.current("orders")  # type: ignore[union-attr]


def member(station: Station) -> bytes:
    found: bytes = station.store.secrets.identity.member_id
    return found


def granted(world: World, session_id: bytes) -> set[bytes]:
    """Who was ever granted a session."""
    values = [value for value in world.cloud.at("acme.sessions").values() if value[2] == wire.Type.GRANTS]
    read = [grant.read(value, world.project.root.project_id)[0] for value in values]
    return {each.recipient for fields in read if fields.session_id == session_id for each in fields.grants}


class Told:
    """A trail that keeps what it is told."""

    trouble = ""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, str | int]]] = []

    def note(self, event: str, **fields: str | int) -> None:
        self.events.append((event, fields))

    def named(self, event: str) -> list[dict[str, str | int]]:
        return [fields for each, fields in self.events if each == event]


@in_world
async def test_a_reader_that_is_refused_is_granted_no_session_that_begins_after_the_news(world: World) -> None:
    sealer, paris = await world.flow()
    rome = world.mirror(world.member("rome1", "rome"))
    await rome.start()
    await until(lambda: current(sealer) and len(current(sealer).readers) == 2)  # type: ignore[union-attr]
    before = current(sealer)
    Desk(world).refuse(rome.store)
    await until(lambda: current(sealer) not in (None, before))  # noqa: PLR6201 (they have no hash)
    after = current(sealer)
    assert after is not None
    assert after.reader_ids == {member(paris)}
    assert granted(world, after.outbound.id) == {member(paris)}
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)


@in_world
async def test_nothing_more_is_sealed_for_a_reader_that_is_refused_while_the_cloud_takes_no_new_session(
    world: World,
) -> None:
    sealer, _ = await world.flow()
    rome = world.mirror(world.member("rome1", "rome"))
    await rome.start()
    await until(lambda: current(sealer) and len(current(sealer).readers) == 2)  # type: ignore[union-attr]
    world.cloud.at("acme.sessions").refuse = lambda _: "not now"
    Desk(world).refuse(rome.store)
    await until(lambda: sealer.control.trust.charter.version == 1)
    assert current(sealer) is None
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().state == "waiting")
    assert world.envelopes.end == 0
    world.cloud.at("acme.sessions").refuse = lambda _: ""
    await until(lambda: len(world.paris.got()) == 3)


@in_world
async def test_a_charter_is_in_the_vault_before_it_counts_and_no_restart_goes_back_behind_it(world: World) -> None:
    sealer, _ = await world.flow()
    rome, desk = world.member("rome1", "rome"), Desk(world)
    desk.refuse(rome)
    await until(lambda: sealer.control.trust.charter.version == 1)
    assert sealer.store.secrets.charter is not None
    await sealer.stop()
    log = world.cloud.at("acme.control")
    log.batches.pop()  # the cloud keeps it back from now on
    again = world.sealer(sealer.store)
    assert again.control.trust.charter.version == 1
    assert again.control.trust.refuses(rome.secrets.identity.member_id, 0)


@in_world
async def test_what_a_refused_sender_made_and_nobody_delivered_comes_from_a_clean_worker(world: World) -> None:
    bad, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    world.envelopes.show(world.envelopes.end)  # what comes now is held back for a while
    world.berlin.send(some(3, 3))
    await until(lambda: (found := world.berlin.committed.get(("orders", 0))) is not None and found.offset == 6)
    await bad.kill()
    Desk(world).refuse(bad.store)
    await until(lambda: mirror.control.trust.charter.version == 1)
    clean = world.sealer()
    await clean.start()
    world.envelopes.show()
    await until(lambda: mirror.refused.get(Reason.REFUSED_MEMBER))
    assert len(world.paris.got()) == 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(healer, "_AFTER", 0.05)
        world.berlin.send(some(3, 6))
        await until(lambda: len(world.paris.got()) == 9)
    assert world.paris.got() == some(9)
    assert mirror.side.counters["reseals asked"] == 1


@in_world
async def test_what_a_refused_sender_said_of_itself_is_waited_for_no_more(world: World) -> None:
    bad, mirror = await world.flow()
    world.envelopes.show(0)
    world.berlin.send(some(3))
    await until(lambda: [row["source"] for row in mirror.side.snapshot()["partitions"]] == ["live"])
    Desk(world).refuse(bad.store)
    await until(lambda: mirror.control.trust.charter.version == 1)
    await until(lambda: mirror.side.snapshot()["partitions"] == [])


@in_world
async def test_a_sender_that_is_refused_since_a_time_keeps_what_it_made_before(world: World) -> None:
    sealer, mirror = await world.flow()
    world.envelopes.show(0)
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().position == 3)
    Desk(world).refuse(sealer.store, since=world.clock.now() + 1)
    await until(lambda: mirror.control.trust.charter.version == 1)
    world.envelopes.show()
    await until(lambda: len(world.paris.got()) == 3)


@in_world
async def test_a_worker_that_is_refused_seals_nothing_more_and_ends_for_good(world: World) -> None:
    sealer, _ = await world.flow()
    over: list[str] = []
    sealer.control.on_over = over.append
    Desk(world).refuse(sealer.store)
    await until(lambda: over)
    assert current(sealer) is None
    world.berlin.send(some(3))
    assert over == [sealer.control.trouble]
    assert "the charter refuses this member" in over[0]
    await until(lambda: sealer.seat().state == "waiting")
    assert world.envelopes.end == 0


@in_world
async def test_a_mirror_that_is_refused_delivers_nothing_more_and_ends_for_good(world: World) -> None:
    sealer, mirror = await world.flow()
    over: list[str] = []
    mirror.control.on_over = over.append
    world.envelopes.show(0)
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().position == 3)
    Desk(world).refuse(mirror.store)
    await until(lambda: over)
    world.envelopes.show()
    await asyncio.sleep(0.3)  # long enough for it to be read, delivered and acknowledged
    assert world.paris.got() == []


@in_world
async def test_a_charter_that_is_too_old_stops_sealing_and_delivering_until_a_newer_one_comes(world: World) -> None:
    sealer, mirror = await world.flow()
    desk, trail = Desk(world), Told()
    sealer.control.trail = trail
    desk.sign(max_age=20 * MINUTE)
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    await until(lambda: [station.control.trust.charter.version for station in (sealer, mirror)] == [1, 1])
    world.clock.ahead = 21 * MINUTE  # the session lives longer
    await until(lambda: sealer.control.holding and mirror.control.holding)
    assert current(sealer) is None
    assert str(Reason.CHARTER_OLD) in sealer.side.snapshot()["channels"][0]["why"]
    sealed = world.envelopes.end
    world.berlin.send(some(3, 3))
    await until(lambda: sealer.seat().state == "waiting")
    assert world.envelopes.end == sealed
    assert str(Reason.CHARTER_OLD) in mirror.side.troubles["acme.orders[0]"]
    (held,) = trail.named("held-for-age")
    assert str(held["words"]).startswith(f"{Reason.CHARTER_OLD}: charter 1 is as of {desk.charter.as_of}, ")
    desk.sign()
    await until(lambda: len(world.paris.got()) == 6)
    assert world.paris.got() == some(6)
    assert sealer.control.trouble == mirror.control.trouble == ""


@in_world
async def test_a_cloud_that_takes_no_request_keeps_nobody_from_noticing_that_the_charter_is_too_old(
    world: World,
) -> None:
    lives = Lifetimes(identity=10 * MINUTE)
    sealer, mirror = world.sealer(lifetimes=lives), world.mirror(lifetimes=lives)
    for station in (sealer, mirror):
        await station.start()
    await until(lambda: current(sealer))
    Desk(world).sign(max_age=20 * MINUTE)
    await until(lambda: [station.control.trust.charter.version for station in (sealer, mirror)] == [1, 1])
    world.cloud.at("acme.requests").stored.clear()
    world.clock.ahead = 11 * MINUTE
    await until(lambda: sealer.store.secrets.following and mirror.store.secrets.following)  # and that is asked for
    world.clock.ahead = 21 * MINUTE
    await until(lambda: sealer.control.holding and mirror.control.holding)


@in_world
async def test_a_disk_that_takes_no_vault_keeps_nobody_from_noticing_that_the_charter_is_too_old(world: World) -> None:
    sealer, _ = await world.flow()
    Desk(world).sign(max_age=20 * MINUTE)
    await until(lambda: sealer.control.trust.charter.version == 1)

    def full(_secrets: object) -> None:
        raise OSError(28, "No space left on device")

    sealer.store.save = full  # type: ignore[method-assign]
    world.member("later", "rome")
    await until(lambda: sealer.control.trouble)
    world.clock.ahead = 21 * MINUTE
    await until(lambda: sealer.control.holding)
    assert current(sealer) is None


@in_world
async def test_a_mirror_delivers_nothing_under_a_charter_that_is_too_old_and_all_of_it_later(world: World) -> None:
    sealer, mirror = await world.flow()
    desk = Desk(world)
    desk.sign(max_age=20 * MINUTE)
    await until(lambda: mirror.control.trust.charter.version == 1)
    world.envelopes.show(0)
    world.berlin.send(some(5))
    await until(lambda: sealer.seat().position == 5)
    world.clock.ahead = 21 * MINUTE  # the session lives longer
    await until(lambda: mirror.control.holding)
    world.envelopes.show()
    await asyncio.sleep(0.3)  # long enough for it to be read, delivered and acknowledged
    assert world.paris.got() == []
    desk.sign()
    await until(lambda: len(world.paris.got()) == 5)


@in_world
async def test_a_mirror_that_starts_under_a_charter_that_is_too_old_delivers_nothing(world: World) -> None:
    sealer, mirror = await world.flow()
    desk = Desk(world)
    desk.sign(max_age=20 * MINUTE)
    await until(lambda: mirror.control.trust.charter.version == 1)
    await mirror.stop()
    world.berlin.send(some(3))
    await until(lambda: sealer.seat().position == 3)
    world.clock.ahead = 21 * MINUTE
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: again.lanes.open and any(work.seats for work in again.works))
    for _ in range(200):
        await asyncio.sleep(0)
    assert world.paris.got() == []
    desk.sign()
    await until(lambda: len(world.paris.got()) == 3)


@in_world
async def test_a_charter_of_more_than_an_hour_ago_is_told_of_and_holds_nothing(world: World) -> None:
    sealer, _ = await world.flow()
    desk = Desk(world)
    desk.sign(max_age=0)
    await until(lambda: sealer.control.trust.charter.version == 1)
    assert sealer.control.old_charter == ""
    world.clock.ahead = 2 * HOUR + MINUTE
    assert sealer.control.old_charter.startswith("charter 1 is as of more than 2 h ago: the authority is away")
    assert sealer.control.charter_row() == {"version": 1, "as_of_ms": desk.charter.as_of}
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    desk.sign()
    await until(lambda: sealer.control.old_charter == "")


@in_world
async def test_a_worker_is_not_ready_before_the_charter_that_its_credential_names_is_there(world: World) -> None:
    desk = Desk(world)
    mirror = world.mirror()
    await mirror.start()
    store = world.member("s", "berlin", charter=1)
    sealer = world.sealer(store)
    await sealer.start()
    await until(lambda: str(Reason.CHARTER_OLD) in sealer.control.trouble)
    for _ in range(200):
        await asyncio.sleep(0)
    assert not sealer.control.caught_up.is_set()
    world.berlin.send(some(3))
    desk.sign()
    await until(sealer.control.caught_up.is_set)
    await until(lambda: len(world.paris.got()) == 3)


def says_at(world: World, at: int, other: Store) -> None:
    """Let a member announce receiving keys by a clock of its own (ms)."""
    now, project, who = world.clock.now(), world.project, other.secrets.identity
    credential = project.read(other.secrets.credential or b"", now)
    _, package = keypackage.renew(who, credential, project.root.project_id, (), at, os.urandom)
    assert package is not None
    world.tell(package)


@in_world
async def test_a_clock_that_the_authority_and_a_member_are_ahead_of_stops_its_worker_and_both_are_named(
    world: World,
) -> None:
    sealer, _ = await world.flow()
    other = world.member("other", "rome")
    behind = world.clock.now() + 10 * MINUTE
    says_at(world, behind, other)
    Desk(world).sign(as_of=behind)
    await until(lambda: sealer.control.holding)
    assert str(Reason.AHEAD) in sealer.control.holding
    assert str(behind) in sealer.control.holding
    assert current(sealer) is None
    world.clock.ahead = 11 * MINUTE
    await until(lambda: not sealer.control.holding)


@in_world
async def test_one_wrong_clock_of_another_stops_nobody(world: World) -> None:
    sealer, _ = await world.flow()
    says_at(world, world.clock.now() + 10 * MINUTE, world.member("other", "rome"))
    await until(lambda: sealer.control.trust.waiting)
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert not sealer.control.holding
    told = sealer.control.clocks
    assert re.match(r"clocks differ: other dated a statement 20\S+Z when our clock said 20\S+Z. What is dated so", told)
    sealer.control.trust = replace(sealer.control.trust, ahead={})  # its clock was set right since
    assert re.match(r"1 statement of a clock that was ahead of ours waits, .* until 20\S+Z", sealer.control.clocks)
    world.clock.ahead = 10 * MINUTE + 1000
    assert sealer.control.clocks == ""


@in_world
async def test_a_charter_that_lacks_since_our_clock_is_behind_is_told_of_as_a_clock_that_is(world: World) -> None:
    behind = world.clock.now() + 43 * MINUTE
    Desk(world).sign(as_of=behind)
    says_at(world, behind, world.member("other", "rome"))
    sealer = world.sealer(world.member("s", "berlin", charter=1))
    await sealer.start()
    await until(lambda: sealer.control.holding.startswith(str(Reason.AHEAD)))


@in_world
async def test_a_charter_that_lacks_is_told_of_with_the_authority_s_clock_where_nobody_else_was_heard(
    world: World,
) -> None:
    Desk(world).sign(as_of=world.clock.now() + 43 * MINUTE)
    sealer = world.sealer(world.member("s", "berlin", charter=1))
    await sealer.start()
    await until(lambda: "; clocks differ: the authority dated a statement 20" in sealer.control.holding)
    assert sealer.control.holding.startswith(str(Reason.CHARTER_OLD))


@in_world
async def test_a_policy_that_lets_a_reader_read_no_more_ends_the_session_that_it_was_granted(world: World) -> None:
    sealer, paris = await world.flow()
    rome = world.mirror(world.member("rome1", "rome"))
    await rome.start()
    await until(lambda: current(sealer) and len(current(sealer).readers) == 2)  # type: ignore[union-attr]
    only = policy.table({"role": ["member"], "site": ["berlin", "paris"]})
    Desk(world).sign(policies=(PolicyRow("*", "*", policy.ATTRIBUTES, only, only, 0),))
    await until(lambda: current(sealer) and current(sealer).reader_ids == {member(paris)})  # type: ignore[union-attr]


@in_world
async def test_who_came_who_was_renewed_and_who_is_refused_is_on_record_once(world: World) -> None:
    store: Store = world.member("s", "berlin")
    sealer, trail = world.sealer(store), Told()
    sealer.control.trail = trail
    await sealer.start()
    await until(sealer.control.caught_up.is_set)
    other, desk = world.member("other", "rome"), Desk(world)
    await until(lambda: [fields["name"] for fields in trail.named("admitted")] == ["other"])
    world.renew(other, "other", "rome")
    desk.refuse(other, since=5)
    await until(lambda: trail.named("renewed") and trail.named("refused"))
    assert [fields["serial"] for fields in trail.named("renewed")] == [2]
    (refused,) = trail.named("refused")
    assert (refused["name"], refused["since"]) == ("other", 5)
    assert [fields["version"] for fields in trail.named("charter")] == [1]
    desk.sign()
    await sealer.kill()
    again, told = world.sealer(store), Told()
    again.control.trail = told
    await again.start()
    await until(again.control.caught_up.is_set)
    assert told.events == []
