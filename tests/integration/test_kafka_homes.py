"""Workers whose home is not what it was: a twin of the same identity, a state directory that is gone, or another's."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from kafka_world import LANES, Node, World, await_, sealwire
from outages import end
from traffic import Load, await_more, await_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Clusters

    Record = Callable[[str, object], None]

pytestmark = pytest.mark.kafka

PER_SECOND = 300
TWIN = "are there two workers of this identity?"


@pytest.fixture(scope="module")
def nodes(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Node, Node]]:
    """A sealer and a mirror of two topics, both run."""
    world = World("homes", tmp_path_factory.mktemp("homes"), *clusters)
    topics = ("twins", "moved")
    try:
        world.found().make_source_topics(topics)
        world.admit("berlin", "outbound")
        world.admit("lisbon", "inbound")
        sealer, mirror = world.sealing("outbound", topics), world.opening("inbound", topics)
        sealwire("topics", "apply", "--yes", sealer.file)
        for node in (sealer, mirror):
            sealwire("site", "init", node.file)
        sealer.start(ready=False)
        mirror.start()
        sealer.await_ready()
        yield world, sealer, mirror
    finally:
        world.close()


def test_two_nodes_of_one_identity_and_site_deliver_each_record_once_and_are_told_of_each_other(
    nodes: tuple[World, Node, Node], record_property: Record
) -> None:
    world, _, mirror = nodes
    shutil.copytree(world.state("inbound"), world.state("twin"))
    twin = world.opening("twin", ("twins", "moved"))
    twin.file.write_text(twin.file.read_text().replace("identity: twin", "identity: inbound"))
    with Load(world.source, "twins", PER_SECOND) as load:
        await_more(world.sink, "twins", PER_SECOND)
        twin.start(ready=False)
        for node in (mirror, twin):
            await_(lambda node=node: node.said(TWIN), f"that {node.file.stem} is told of the other")  # type: ignore[misc]
        assert any(TWIN in words for words in mirror.status["degraded"])
        twin.up.stop(within=45)
        await_(lambda: not mirror.status.get("degraded", [""]), "that it is over")
        await_more(world.sink, "twins", PER_SECOND)
        sent = load.stop()
    last = await_whole(world.source, world.sink, "twins")
    record_property("comparison", str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered, last.duplicates) == (sent, 0, 0, 0, 0)


def test_workers_whose_tables_are_gone_or_other_lanes_go_on_by_what_the_clusters_hold(
    nodes: tuple[World, Node, Node], record_property: Record
) -> None:
    world, sealer, mirror = nodes
    with Load(world.source, "moved", PER_SECOND) as load:
        await_more(world.sink, "moved", PER_SECOND)
        end(sealer, mirror)
        shutil.rmtree(tables_of(world, sealer))
        lanes = sorted(tables_of(world, mirror).glob("state-*.db"))
        assert len(lanes) == LANES
        moved = [lane.rename(lane.with_suffix(".moved")) for lane in lanes]
        for table, lane in zip(moved, [*lanes[1:], lanes[0]], strict=True):
            table.rename(lane)
        for node in (sealer, mirror):
            node.start(ready=False)
        await_more(world.sink, "moved", PER_SECOND)
        sent = load.stop()
    last = await_whole(world.source, world.sink, "moved")
    record_property("comparison", str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered, last.duplicates) == (sent, 0, 0, 0, 0)
    assert not mirror.said("Traceback")


def tables_of(world: World, node: Node) -> Path:
    """Where a worker's lanes have their tables."""
    return world.state(node.identity) / node.identity / "faust" / "v1" / "tables"
