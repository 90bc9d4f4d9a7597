"""Exactly once on Apache Kafka: workers are killed, and mirrors sleep through their session, under load."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from fleet_load import FleetLoad, Size, Totals, read, totals
from kafka_world import LANES, World, await_, sealwire
from traffic import read_all

from sealwire.keys.delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Clusters
    from fleet_load import Partition
    from kafka_world import Node

pytestmark = pytest.mark.kafka

SIZE = Size(topics=2, partitions=4, records=0, per_second=4000, name="exactly")
NOTHING = Totals(missing=0, foreign=0, disordered=0, broken=0, duplicates=0)
AGAIN_WITHIN = 5.0  # seconds after kill -9: what is promised of a static member
BUSY = 4.0  # times as long, where the machine has other work


class Site:
    """A sealer, and two mirrors that share the lanes of their site."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.make_source_topics(SIZE.names, SIZE.partitions)
        world.admit("berlin", "sealer")
        for name in ("mirror1", "mirror2"):
            world.admit("lisbon", name)
        self.sealer = world.sealing("sealer", SIZE.names)
        self.mirrors = [world.opening(name, SIZE.names) for name in ("mirror1", "mirror2")]
        sealwire("topics", "apply", "--yes", self.sealer.file)
        sealwire("site", "init", self.sealer.file)
        sealwire("site", "init", self.mirrors[0].file)
        for each in self.mirrors:
            each.start(ready=False)
        self.sealer.start(ready=False)
        for each in (self.sealer, *self.mirrors):
            each.await_ready()

    def delivered(self) -> dict[tuple[str, int], Partition]:
        """What an independent reader of committed records finds."""
        return read(self.world.sink, SIZE)

    def await_all(self, sent: dict[tuple[str, int], int], within: float = 90.0) -> dict[tuple[str, int], Partition]:
        """Wait until the sink has as much as the source, as a reader finds it."""
        found: dict[tuple[str, int], Partition] = {}

        def whole() -> bool:
            with suppress(KafkaException):
                found.update(self.delivered())
            return all(found[place].next >= count for place, count in sent.items())

        await_(whole, f"{sum(sent.values())} records at the sink", within, every=0.5)
        return found


@pytest.fixture(scope="module")
def site(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    world = World("exactly", tmp_path_factory.mktemp("exactly"), *clusters)
    try:
        yield Site(world.found())
    finally:
        world.close()


def ends_of(node: Node) -> dict[str, int]:
    return {f"{row['topic']}/{row['partition']}": row["cursor"] or 0 for row in node.status.get("partitions", ())}


def moves(node: Node, killed: int) -> bool:
    """Whether a new worker delivers: its cursors, and not only what it read back, move."""
    before = ends_of(node)
    if node.pid == killed or not before:
        return False
    time.sleep(0.2)
    after = ends_of(node)
    return any(after.get(place, 0) > next_ for place, next_ in before.items())


def test_mirrors_and_sealers_that_are_killed_under_load_deliver_each_record_once(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    load = FleetLoad(site.world.source, SIZE)
    load.start()
    try:
        for node in (site.mirrors[0], site.sealer, site.mirrors[1], site.mirrors[0]):
            time.sleep(2)
            begun, killed = time.monotonic(), node.kill_worker()
            if node is site.sealer:
                await_(lambda: node.pid != killed and node.status.get("ready"), "a new sealer")  # noqa: B023
            else:
                await_(lambda: moves(node, killed), f"{node.identity} delivers")  # noqa: B023
                took = time.monotonic() - begun
                record_property(f"{node.identity} delivers again after", took)
                assert took < AGAIN_WITHIN * BUSY
    finally:
        load.stop()
    found = totals(site.await_all(load.sent))
    record_property("records", load.count)
    record_property("found", str(found))
    assert found == NOTHING


def test_a_mirror_that_sleeps_through_its_session_is_fenced_and_delivers_nothing_twice(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    load = FleetLoad(site.world.source, SIZE)
    load.sent = {place: partition.next for place, partition in site.delivered().items()}
    load.start()
    zombie, other = site.mirrors
    try:
        time.sleep(1)
        os.kill(zombie.pid, signal.SIGSTOP)
        time.sleep(13)  # its session is over after ten
        await_(lambda: len(other.status.get("lanes", ())) == LANES, "the other has all lanes")
        os.kill(zombie.pid, signal.SIGCONT)
        await_(lambda: zombie.status.get("ready") and zombie.status.get("lanes"), "the zombie is back")
        time.sleep(2)
    finally:
        with suppress(ProcessLookupError):
            os.kill(zombie.pid, signal.SIGCONT)
        load.stop()
    found = totals(site.await_all(load.sent))
    record_property("records", load.count)
    assert found == NOTHING


def test_cursors_that_are_lost_are_noticed_and_restored_from_the_ledger_and_nothing_comes_twice(site: Site) -> None:
    before = site.delivered()
    for node in site.mirrors:
        node.up.stop()
    admin = AdminClient({"bootstrap.servers": site.world.sink.bootstrap, "log_level": 0})
    for answer in admin.delete_topics(["_sealwire.exactly.lisbon.cursors"]).values():
        answer.result(20)
    assert "sealwire site restore" in sealwire("site", "init", site.mirrors[0].file, code=1)
    node = site.mirrors[0].start(ready=False)
    await_(lambda: "sealwire site restore" in node.status.get("why", ""), "what helps")
    node.up.stop()
    await_(lambda: _restored(node), "nobody is a member any more", every=1)
    for each in site.mirrors:
        each.start()
    load = FleetLoad(site.world.source, SIZE)
    load.sent = {place: partition.next for place, partition in before.items()}
    load.start()
    time.sleep(2)
    load.stop()
    assert totals(site.await_all(load.sent)) == NOTHING


def _restored(node: Node) -> bool:
    """Static members are members until their session ends, whether or not they were stopped."""
    try:
        return "source partitions" in sealwire("site", "restore", node.file)
    except AssertionError as error:
        assert "The mirrors of this site run" in str(error)  # noqa: PT017
        return False


def test_the_ledger_tells_each_delivery_once(site: Site) -> None:
    spans: dict[object, list[tuple[int, int]]] = {}
    for messages in read_all(site.world.sink, "_sealwire.exactly.lisbon.ledger", raw=True).values():
        for message in messages:
            delivery = Delivery.decode(message.value())
            assert delivery.delivered is not None
            span = delivery.delivered.span
            spans.setdefault(delivery.cursor.source, []).append((span.first, span.next))
    found = site.delivered()
    assert len(spans) == len(found)
    for source, told in spans.items():
        assert all(before[1] >= after[0] for before, after in pairwise(told)), source
        assert told[-1][1] >= found[source.topic, source.partition].next  # type: ignore[attr-defined]
