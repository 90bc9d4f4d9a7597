"""The sealer: what it puts into the cloud, how far its position moves, and what it does when the source changes."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from batch_made import NOW, Made, some
from in_loop import until
from world import ORDERS, World, in_world

from sealwire.agents.positions import Position
from sealwire.agents.topics import lane_of
from sealwire.keys.envelope import Cause, Compression, Kind, Place
from sealwire.keys.opening import Opened, open_envelope

if TYPE_CHECKING:
    from world import Station

WHERE = ("orders", 0)


def opened(world: World, mirror: Station, offset: int) -> Opened:
    """What an envelope in the cloud says, read with the mirror's keys."""
    value = world.envelopes.value(offset)
    place = Place(world.project.root.project_id, "orders", "acme.orders", 0)
    control = mirror.control
    found = open_envelope(
        value, place, None, control.sessions, control.trust, world.clock.now(), memoryview(bytearray(len(value)))
    )
    assert isinstance(found, Opened)
    return found


async def sealed(world: World, count: int) -> None:
    await until(lambda: world.envelopes.end >= count)


async def committed(world: World, offset: int) -> None:
    await until(lambda: world.berlin.committed.get(WHERE, Position(-1)).offset == offset)


@in_world
async def test_what_is_sealed_arrives_byte_for_byte_and_in_order(world: World) -> None:
    _, mirror = await world.flow()
    sent = some(50)
    for at in range(0, 50, 10):
        world.berlin.send(sent[at : at + 10], codec=at // 10)  # every codec of Kafka's
    await until(lambda: len(world.paris.got()) == 50)
    assert world.paris.got() == sent
    assert mirror.side.counters["records"] == 50


@in_world
async def test_partitions_keep_their_numbers_and_their_order(world: World) -> None:
    for cluster, topic in (
        (world.berlin.kafka, "orders"),
        (world.cloud, "acme.orders"),
        (world.paris.kafka, "orders"),
    ):
        cluster.grow(topic, 3)
    sealer, mirror = world.sealer(), world.mirror()
    await mirror.start()
    await sealer.start()
    for partition in range(3):
        for at in range(0, 30, 10):
            world.berlin.send(some(10, 1000 * partition + at), partition=partition)
    for partition in range(3):
        await until(lambda partition=partition: len(world.paris.got(partition=partition)) == 30)  # type: ignore[misc]
        assert world.paris.got(partition=partition) == some(30, 1000 * partition)


@in_world
async def test_the_cloud_sees_nothing_of_the_records(world: World) -> None:
    await world.flow()
    world.berlin.send(some(100, size=4000))
    await sealed(world, 1)
    stored = b"".join(world.envelopes.batches)
    assert not any(each.value and each.value in stored for each in some(100, size=4000)[60:])


@in_world
async def test_a_position_moves_only_when_the_cloud_has_acknowledged(world: World) -> None:
    sealer, _ = await world.flow()
    world.envelopes.acked.clear()
    world.berlin.send(some(5))
    await sealed(world, 1)
    assert sealer.seat().position == 0
    await sealer.side.commit()
    assert WHERE not in world.berlin.committed
    world.envelopes.acked.set()
    await committed(world, 5)
    topic_id = world.berlin.kafka.topics["orders"][0]
    assert world.berlin.committed[WHERE].metadata == f"{topic_id.hex()}:local-cluster"


@in_world
async def test_a_sealer_that_starts_again_from_an_older_position_repeats_and_nothing_is_delivered_twice(
    world: World,
) -> None:
    sealer, mirror = await world.flow()
    for at in range(4):
        world.berlin.send(some(5, 5 * at))
        await until(lambda at=at: len(world.paris.got()) == 5 * at + 5)  # type: ignore[misc]
    await committed(world, 20)
    await sealer.kill()
    world.berlin.committed[WHERE] = replace(world.berlin.committed[WHERE], offset=7)
    again = world.sealer(sealer.store)
    await again.start()
    await until(lambda: mirror.side.counters["trimmed"] + mirror.side.counters["duplicates"] > 0)
    world.berlin.send(some(5, 20))
    await until(lambda: len(world.paris.got()) == 25)
    assert world.paris.got() == some(25)


@in_world
async def test_two_sealers_at_once_deliver_each_record_once(world: World) -> None:
    """As for a moment after a rebalance, when the former one does not know yet."""
    _, mirror = await world.flow()
    second = world.sealer()
    await second.start()
    await until(second.seated)
    for at in range(5):
        world.berlin.send(some(4, 4 * at))
    await until(lambda: len(world.paris.got()) == 20)
    await until(lambda: mirror.side.counters["duplicates"] > 0)
    assert world.paris.got() == some(20)


@in_world
async def test_a_cloud_that_refuses_for_good_holds_the_source_partition_with_its_words(world: World) -> None:
    sealer, _ = await world.flow()
    world.envelopes.refuse = lambda _: "the record is too large for this topic"
    world.berlin.send(some(5))
    await until(lambda: sealer.seat().held)
    row = sealer.seat().row("berlin")
    assert (row["state"], row["position"]) == ("held", 0)
    assert row["why"] == "the cloud will not take it: the record is too large for this topic"


@in_world
async def test_a_position_never_passes_an_envelope_that_was_refused(world: World) -> None:
    sealer, _ = await world.flow()
    world.envelopes.stored.clear()
    refusals = iter(["no"])
    world.envelopes.refuse = lambda _: next(refusals, "")
    for at in range(3):
        world.berlin.send(some(5, 5 * at))
        await until(lambda at=at: sealer.seat().sealed_to == 5 * at + 5)  # type: ignore[misc]
    world.envelopes.stored.set()
    await sealed(world, 2)
    await until(lambda: not sealer.side.lanes.open[lane_of("orders", 0, 2)].work.sealing.tasks)  # type: ignore[attr-defined]
    await sealer.stop()
    assert WHERE not in world.berlin.committed


@in_world
async def test_what_the_source_lost_is_said_in_a_lost_envelope_and_on_it_goes(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(5))
    await until(lambda: len(world.paris.got()) == 5)
    await committed(world, 5)
    await sealer.stop()
    world.berlin.send(some(5, 5))
    world.berlin.kafka.at("orders").truncate(10)
    world.berlin.send(some(5, 10))
    again = world.sealer(sealer.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 10)
    assert world.paris.got() == some(5) + some(5, 10)
    said = opened(world, mirror, 1).inner
    assert (said.kind, said.first, said.next) == (Kind.LOST, 5, 10)
    assert mirror.state() == "flowing"


@in_world
async def test_what_was_read_before_the_source_lost_the_rest_is_sealed_before_the_loss(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(1))
    await until(lambda: len(world.paris.got()) == 1)
    sealer.agent.pass_on.clear()  # what is read waits at Faust
    for number in range(1, 4):
        world.berlin.send(some(1, number))
    await until(lambda: sealer.seat().seat is not None and sealer.seat().seat.offset == 4)  # type: ignore[union-attr]
    world.berlin.kafka.at("orders").truncate(9)
    world.berlin.send(some(1, 9))
    await until(lambda: sealer.seat().seat is None)
    sealer.agent.pass_on.set()
    await until(lambda: len(world.paris.got()) == 5)
    assert world.paris.got() == some(4) + some(1, 9)
    said = [opened(world, mirror, offset).inner for offset in range(world.envelopes.end)]
    lost = [(each.first, each.next, each.cause) for each in said if each.kind is Kind.LOST]
    assert lost == [(4, 9, Cause.DELETED)]


@in_world
async def test_a_source_whose_beginning_went_before_anything_was_sealed_begins_where_it_begins_now(
    world: World,
) -> None:
    sealer, mirror = world.sealer(), world.mirror()
    world.berlin.send(some(3))
    await sealer.start()  # without a reader nothing is sealed
    await until(lambda: sealer.lanes.open and any(w.seats for w in sealer.works) and sealer.seat().sealed_to == 0)
    world.berlin.kafka.at("orders").truncate(3)
    world.berlin.send(some(2, 3))
    await mirror.start()
    await until(lambda: len(world.paris.got()) == 2)
    first = opened(world, mirror, 0).inner
    assert (first.kind, first.first, first.log_start) == (Kind.RECORDS, 3, True)
    assert mirror.state() == "flowing"


@in_world
async def test_a_source_that_ends_before_what_was_sealed_of_it_is_held(world: World) -> None:
    world.berlin.committed[WHERE] = Position(50, "")
    sealer, _ = world.sealer(), world.mirror()
    await world.stations[1].start()
    await sealer.start()
    await until(lambda: sealer.lanes.open and any(w.seats for w in sealer.works) and sealer.seat().held)
    assert sealer.seat().held.startswith("the source ends before what was sealed of it")
    await until(lambda: world.berlin.committed[WHERE].metadata.endswith(":ends-behind"))
    await sealer.stop()
    world.berlin.send(some(60))  # it has grown beyond the position, with other data
    again = world.sealer(sealer.store)
    await again.start()
    await until(lambda: again.lanes.open and any(w.seats for w in again.works) and again.seat().position == 50)
    assert again.seat().held.startswith("the source ends before what was sealed of it")
    await again.stop()
    assert world.envelopes.end == 0
    world.berlin.committed[WHERE] = Position(20, "")  # as kafka-consumer-groups.sh resets it
    last = world.sealer(sealer.store)
    await last.start()
    await until(lambda: world.berlin.committed[WHERE].offset == 60)


@in_world
async def test_a_topic_made_anew_starts_at_its_log_start(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(5))
    await committed(world, 5)
    world.berlin.kafka.make("orders")
    world.berlin.send(some(7, 100))
    await until(lambda: len(world.paris.got()) == 12)
    assert world.paris.got() == some(5) + some(7, 100)
    assert sealer.seat().topic_id == world.berlin.kafka.topics["orders"][0]
    assert len(mirror.standings()) == 2


@in_world
async def test_a_position_of_another_topic_id_is_not_used(world: World) -> None:
    world.berlin.committed[WHERE] = Position(4, f"{bytes(16).hex()}:elsewhere")
    world.berlin.send(some(5))
    await world.flow()
    await until(lambda: len(world.paris.got()) == 5)


@in_world
async def test_the_first_envelope_of_a_source_says_that_its_log_starts_there(world: World) -> None:
    world.berlin.kafka.at("orders").truncate(40)
    _, mirror = await world.flow()
    for at in range(2):
        world.berlin.send(some(1, at))
        await until(lambda at=at: len(world.paris.got()) == at + 1)  # type: ignore[misc]
    assert opened(world, mirror, 0).inner.log_start
    assert opened(world, mirror, 0).inner.first == 40
    assert not opened(world, mirror, 1).inner.log_start


@in_world
async def test_a_sealer_that_stops_before_it_sealed_anything_leaves_the_log_start_to_the_next(world: World) -> None:
    world.berlin.kafka.at("orders").truncate(40)
    sealer, mirror = await world.flow()
    world.envelopes.stored.clear()
    world.berlin.send(some(1))
    await until(lambda: sealer.seat().sealed_to == 41)
    sealer.cloud_writer.dead = True
    world.envelopes.stored.set()
    await sealer.stop()
    again = world.sealer(sealer.store)
    await again.start()
    await until(lambda: len(world.paris.got()) == 1)
    assert opened(world, mirror, 0).inner.log_start


@in_world
async def test_only_chunks_that_came_uncompressed_are_compressed(world: World) -> None:
    _, mirror = await world.flow()
    for codec in range(5):
        world.berlin.send(some(100, 100 * codec), codec=codec)
        await until(lambda codec=codec: world.envelopes.end == codec + 1)  # type: ignore[misc]
    await until(lambda: len(world.paris.got()) == 500)
    squeezed = [opened(world, mirror, offset).inner.compression for offset in range(5)]
    assert squeezed == [Compression.ZSTD, *[Compression.NONE] * 4]


@in_world
async def test_a_route_without_compression_is_never_compressed(world: World) -> None:
    mirror, sealer = world.mirror(), world.sealer(route=replace(ORDERS, compress=False))
    await mirror.start()
    await sealer.start()
    world.berlin.send(some(100))
    await until(lambda: len(world.paris.got()) == 100)
    assert opened(world, mirror, 0).inner.compression is Compression.NONE


@in_world
async def test_padding_hides_sizes_and_is_gone_at_the_sink(world: World) -> None:
    mirror, sealer = world.mirror(), world.sealer(route=replace(ORDERS, padding=True))
    await mirror.start()
    await sealer.start()
    for at in range(3):
        world.berlin.send(some(1 + at, 10 * at), codec=0)
        await until(lambda at=at: world.envelopes.end == at + 1)  # type: ignore[misc]
    await until(lambda: len(world.paris.got()) == 6)
    assert len({len(value) for value in world.envelopes.values()}) == 1
    assert opened(world, mirror, 0).inner.padding_size > 0
    assert world.paris.got() == some(1) + some(2, 10) + some(3, 20)


@in_world
async def test_a_missing_cloud_topic_is_named_with_its_command_and_waited_for(world: World) -> None:
    del world.cloud.topics["acme.orders"]
    sealer, mirror = world.sealer(), world.mirror()
    await mirror.start()
    await sealer.start()
    await until(lambda: sealer.side.why_not == "cloud topic acme.orders is missing: sealwire topics apply makes it")
    world.cloud.make("acme.orders")
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert sealer.side.why_not == mirror.side.why_not == ""


@in_world
async def test_a_partition_that_the_cloud_topic_lacks_waits_until_it_grows(world: World) -> None:
    world.berlin.kafka.grow("orders", 2)
    world.paris.kafka.grow("orders", 2)
    sealer, _ = await world.flow()
    world.berlin.send(some(3), partition=1)
    await until(lambda: any("sealwire topics apply grows it" in words for words in sealer.side._said))
    world.cloud.grow("acme.orders", 2)
    await until(lambda: len(world.paris.got(partition=1)) == 3)


@in_world
async def test_with_a_slow_cloud_the_bytes_in_flight_stay_under_the_budget(world: World) -> None:
    budget = 1024 * 1024
    mirror, sealer = world.mirror(), world.sealer(in_flight_bytes=budget, chunk_bytes=100_000)
    await mirror.start()
    await sealer.start()
    await until(sealer.seated)
    world.envelopes.stored.clear()
    dice = random.Random(3)
    for _ in range(100):
        world.berlin.send([Made(NOW, None, dice.randbytes(4000), []) for _ in range(10)], codec=0)
    await until(lambda: sealer.side.budget.room < budget // 4 and not sealer.agent.queue.qsize())
    assert world.berlin.kafka.at("orders").reads < sum(map(len, world.berlin.kafka.at("orders").batches))
    world.envelopes.stored.set()
    await until(lambda: len(world.paris.got()) == 1000)
    assert sealer.local.most <= budget
    await until(lambda: sealer.side.budget.used == 0)


@in_world
async def test_closing_in_order_waits_for_what_is_in_flight(world: World) -> None:
    sealer, _ = await world.flow()
    world.envelopes.acked.clear()
    world.berlin.send(some(5))
    await sealed(world, 1)
    world.spawn_later(world.envelopes.acked.set)
    await sealer.stop()
    assert world.berlin.committed[WHERE].offset == 5


@in_world
async def test_table_rows_tell_of_every_source_partition(world: World) -> None:
    sealer, _ = await world.flow()
    world.berlin.send(some(5))
    await until(lambda: b"orders/orders/0" in sealer.table)
    (row,) = sealer.side.snapshot()["partitions"]
    await until(lambda: sealer.seat().position == 5)
    (row,) = sealer.side.snapshot()["partitions"]
    assert (row["state"], row["position"], row["lag"], row["records"]) == ("flowing", 5, 0, 5)
