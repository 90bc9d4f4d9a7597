"""Three Kafka clusters for the session, and one project on them that most tests share."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for the helpers that these tests share

from kafka_cluster import KafkaCluster, start_together
from kafka_world import Node, World, sealwire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOPICS: Final = (
    "orders",
    "events",
    "codecs",
    "load",
    "calm",
    "shared-seal",
    "shared-open",
    "target",
    "neighbour",
    "moving",
    "audited",
    "watched",
)


class Clusters(NamedTuple):
    source: KafkaCluster
    cloud: KafkaCluster
    sink: KafkaCluster


class Bridge(NamedTuple):
    """A project with a worker that seals and one that opens, both ready, for all of TOPICS."""

    world: World
    sealer: Node
    mirror: Node
    topics: tuple[str, ...] = TOPICS


@pytest.fixture(scope="session")
def clusters() -> Iterator[Clusters]:
    with ExitStack() as stack:
        made = Clusters(*(KafkaCluster(name, secured=True) for name in ("source", "cloud", "sink")))
        for each in made:
            stack.callback(each.__exit__)
        start_together(made)
        yield made


@pytest.fixture(scope="session")
def bridge(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    world = World("acme", tmp_path_factory.mktemp("acme"), *clusters)
    try:
        world.found()
        world.make_source_topics(TOPICS)
        world.admit("berlin", "producer1")
        world.admit("lisbon", "consumer1")
        sealer, mirror = world.sealing("producer1", TOPICS), world.opening("consumer1", TOPICS)
        sealwire("topics", "apply", "--yes", sealer.file)
        sealwire("site", "init", sealer.file)
        sealwire("site", "init", mirror.file)
        sealer.start(ready=False)
        mirror.start()
        sealer.await_ready()
        yield Bridge(world, sealer, mirror)
    finally:
        world.close()


@pytest.fixture
def another(clusters: Clusters, tmp_path: Path) -> Iterator[Callable[[str], World]]:
    """Makes projects of a test's own on the same clusters; they end with it."""
    made: list[World] = []

    def make(project: str) -> World:
        made.append(World(project, tmp_path / project, *clusters))
        return made[-1].found()

    yield make
    for world in made:
        world.close()
