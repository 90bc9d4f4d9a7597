"""What the sealer does with what cannot go as it is: too large, too old, behind a transaction, nothing at all."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, control, some, with_horizon
from fake_kafka import FakeAdmin
from in_loop import until
from test_batches import RECORDED
from test_sealer import WHERE, committed
from world import ORDERS, World, in_world

from sealwire.agents import seat_sealing
from sealwire.agents.batches import MAX_HOLE

if TYPE_CHECKING:
    from pathlib import Path


def held(world: World) -> str:
    (sealer,) = (each for each in world.stations if each.settings.direction == "seal")
    return str(sealer.seat().row("berlin")["why"]) if sealer.seat().state == "held" else ""


@pytest.mark.parametrize("may_ask", [True, False])
@pytest.mark.parametrize("codec", [0, 4])
def test_an_envelope_larger_than_the_cloud_takes_is_sealed_again_in_smaller_ones(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    may_ask: bool,  # noqa: FBT001
    codec: int,
) -> None:
    @in_world
    async def scenario(world: World) -> None:
        FakeAdmin.may_ask = may_ask
        sealer, mirror = await world.flow()
        world.envelopes.most = 30_000
        dice = random.Random(7)
        made = [record._replace(value=dice.randbytes(900)) for record in some(600)]
        world.berlin.send(made[:400], codec=codec)
        world.berlin.send(made[400:401], codec=codec)
        await until(lambda: len(world.paris.got()) == 401)
        refused = world.envelopes.refused
        for at in range(401, 600, 50):
            world.berlin.send(made[at : at + 50], codec=codec)
        await until(lambda: len(world.paris.got()) == 600)
        assert world.paris.got() == made
        await committed(world, 600)
        assert max(map(len, world.envelopes.batches)) <= 30_000
        assert world.envelopes.refused == refused <= (2 if may_ask else 10), "what is too large is not tried for ever"
        assert (sealer.seat().state, mirror.state()) == ("flowing", "flowing")

    scenario(monkeypatch, tmp_path)


@pytest.mark.parametrize("may_ask", [True, False])
def test_one_record_too_large_holds_its_source_partition_with_both_limits_until_the_topic_has_room(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    may_ask: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr("sealwire.agents.sealing._HELD_EVERY", 0.05)
    monkeypatch.setattr("sealwire.agents.sealing._UNASKED_EVERY", 0.2)

    @in_world
    async def scenario(world: World) -> None:
        FakeAdmin.may_ask = may_ask
        world.berlin.kafka.grow("orders", 2)
        world.cloud.grow("acme.orders", 2)
        world.paris.kafka.grow("orders", 2)
        sealer, _ = await world.flow()
        world.envelopes.most = 3000
        large = Made(NOW, b"k", random.Random(7).randbytes(5000), [])
        world.berlin.send([*some(4), large, *some(4, 4)], codec=1)
        await until(lambda: held(world) and "record at offset 4 makes an envelope of 5" in held(world))
        assert held(world).startswith("too-large: ")
        assert f"and {'3000' if may_ask else 'fewer'} are allowed" in held(world)
        assert "cloud topic acme.orders" in held(world)
        await until(lambda: len(world.paris.got()) == 4)
        assert world.paris.got() == some(4)
        await committed(world, 4)
        world.berlin.send(some(3), partition=1)
        await until(lambda: len(world.paris.got(partition=1)) == 3)
        world.envelopes.most = 10_000
        await until(lambda: len(world.paris.got()) == 9)
        assert sealer.seat().state == "flowing"

    scenario(monkeypatch, tmp_path)


@in_world
async def test_padding_finds_room_in_the_cloud_topic_as_well(world: World) -> None:
    mirror, sealer = world.mirror(), world.sealer(route=replace(ORDERS, padding=True))
    await mirror.start()
    await sealer.start()
    world.envelopes.most = 30_000
    dice = random.Random(7)
    made = [record._replace(value=dice.randbytes(900)) for record in some(200)]
    for at in range(0, 200, 10):
        world.berlin.send(made[at : at + 10], codec=4)
    await until(lambda: len(world.paris.got()) == 200)
    assert world.paris.got() == made
    assert max(map(len, world.envelopes.batches)) <= 30_000
    assert world.envelopes.end < 15


@in_world
async def test_more_records_than_a_mirror_believes_go_in_several_envelopes(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seat_sealing, "_RECORDS", 100)
        await world.flow()
        world.berlin.send(some(450), codec=4)
        await until(lambda: len(world.paris.got()) == 450)
        assert world.paris.got() == some(450)
        assert 5 <= world.envelopes.end < 10


@in_world
async def test_the_old_formats_hold_their_source_partition_by_that_reason_until_they_are_gone(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sealwire.agents.sealing._HELD_EVERY", 0.05)
        log = world.berlin.kafka.at("orders")
        log.append(build(some(3)))
        sealer, _ = await world.flow()
        await committed(world, 3)
        log.old = bytes.fromhex(RECORDED["v1", "gzip"])
        await until(lambda: held(world))
        assert held(world).startswith("old-format: the record at offset 0 is in message format v1")
        assert "write it again" in held(world)
        assert sealer.seat().position == 3
        log.old = b""
        log.append(build(some(2, 3)))
        await until(lambda: len(world.paris.got()) == 5)


@in_world
async def test_an_open_transaction_waits_and_is_shown_and_goes_on_when_it_ends(world: World) -> None:
    sealer, _ = await world.flow()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sealwire.agents.seat._TRANSACTION_TAKES", 0.1)
        log = world.berlin.kafka.at("orders")
        log.append(build(some(2)))
        log.stable = 2
        log.append(build(some(3, 2), attributes=0x10, producer=7))
        await committed(world, 2)
        await until(lambda: sealer.seat().state == "waiting")
        row = sealer.seat().row("berlin")
        assert (row["state"], row["lag"]) == ("waiting", 3)
        assert row["why"].startswith("a transaction is open from offset 2: ")
        log.stable = None
        log.append(control(0, 7, commit=True))
        await until(lambda: len(world.paris.got()) == 5)
        await until(lambda: sealer.seat().row("berlin")["lag"] == 0)
        assert sealer.seat().state == "flowing"


@in_world
async def test_the_end_of_a_transaction_leaves_no_lag(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seat_sealing, "_TAIL_AFTER", 0.1)
        sealer, mirror = await world.flow()
        log = world.berlin.kafka.at("orders")
        log.append(build(some(2), attributes=0x10, producer=7))
        await committed(world, 2)
        log.append(control(0, 7, commit=True))
        log.aborted = ((8, 3),)
        log.append(build(some(4, 2), attributes=0x10, producer=8))
        log.append(control(0, 8, commit=False))
        await committed(world, 8)
        await until(lambda: mirror.standing().written.next == 8)  # type: ignore[union-attr]
        assert world.envelopes.end <= 3
        assert (sealer.seat().row("berlin")["lag"], mirror.standing().row()["lag"]) == (0, 0)  # type: ignore[union-attr]
        log.aborted = ()
        world.berlin.send(some(1, 2))
        await until(lambda: len(world.paris.got()) == 3)
        assert world.paris.got() == some(3)
        assert world.berlin.committed[WHERE].offset == 8 or sealer.seat().position == 9


@in_world
async def test_a_compacted_topic_arrives_without_what_is_gone(world: World) -> None:
    log = world.berlin.kafka.at("orders")
    far = 3 * MAX_HOLE
    log.append(build(some(3), offsets=[2, 5, 9], last_delta=11), base=0)
    log.append(with_horizon(some(2, 3), 0, NOW + 86_400_000), base=far)
    log.append(build([Made(NOW, b"gone", None, [])]), base=2 * far + 5)
    log.end = 2 * far + 6 + 2 * MAX_HOLE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seat_sealing, "_TAIL_AFTER", 0.1)
        _, mirror = await world.flow()
        await until(lambda: len(world.paris.got()) == 6)
        assert world.paris.got() == [*some(5), Made(NOW, b"gone", None, [])]
        assert mirror.state() == "flowing"


@in_world
async def test_what_was_read_before_a_long_sleep_is_read_anew_and_not_sealed(world: World) -> None:
    """Another worker may have sealed on meanwhile: the source's end of that time is no news any more."""
    sealer, _mirror = await world.flow()
    ages, take = [100.0, 0.0], seat_sealing.SeatSealing.take
    seen: list[int] = []

    def late(self: seat_sealing.SeatSealing, load: seat_sealing.Load) -> None:
        assert load[3] is not None
        load[3].asked_at -= ages[min(len(seen), 1)]
        take(self, load)
        seen.append(sealer.seat().envelopes)

    seat_sealing.SeatSealing.take = late  # type: ignore[method-assign]
    try:
        world.berlin.send(some(3))
        await until(lambda: len(world.paris.got()) == 3)
    finally:
        seat_sealing.SeatSealing.take = take  # type: ignore[method-assign]
    assert seen == [0, 1]
    assert world.paris.got() == some(3)
