"""Clusters that are away, that hang, that throttle: what is sent arrives when they are back, and workers end in time.

How long a cluster is away here is AWAY_SECONDS, 10 if that is not set. A minute is what is promised, and with 60
each state of each cluster is tried: AWAY_SECONDS=60 make test-kafka ARGS="-k outages".
"""

from __future__ import annotations

import random
import re
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest
from confluent_kafka import Producer
from kafka_quorum import KafkaQuorum
from kafka_world import Node, World, await_, sealwire
from outages import AWAY, ENDS_WITHIN, MEMORY, WHOLE, end, gone, hanging, lines, peak, tracebacks
from traffic import Load, await_count, await_more, compare, count_of, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Clusters

    Record = Callable[[str, object], None]

pytestmark = pytest.mark.kafka

PER_SECOND: Final = 1500
CLUSTERS: Final = ("source", "cloud", "sink")
AWAY_TOPICS: Final = tuple(f"away-{each}" for each in CLUSTERS)
TOPICS: Final = (*AWAY_TOPICS, "hanging", "ending", "throttled", "large")
QUOTA: Final = 8_000  # bytes a second: as sealed, the load has some thirty thousand
NOTICED_WITHIN: Final = 15.0  # seconds that a connection may hang before it is left
NOTICING: Final = 3.0  # seconds after the begin of an outage, before workers are told to end
MOST_LINES: Final = 15 + 4 * int(AWAY // 60)  # of a worker, for one outage: its begin, its lanes, each minute, its end


class Sites(NamedTuple):
    """A project of our own whose two workers run; at the sink a topic is named as at the source, with a suffix."""

    world: World
    sealer: Node
    mirror: Node
    suffix: str

    @property
    def workers(self) -> tuple[Node, Node]:
        return self.sealer, self.mirror


def begin(world: World, topics: tuple[str, ...], suffix: str = "") -> Sites:
    """Admit a worker at both sites, and start them."""
    world.make_source_topics(topics)
    world.admit("berlin", "outbound")
    world.admit("lisbon", "inbound")
    sealer, mirror = world.sealing("outbound", topics), world.opening("inbound", topics)
    mirror.file.write_text(re.sub(r"(to: [\w-]+)", rf"\1{suffix}", mirror.file.read_text()))
    sealwire("topics", "apply", "--yes", sealer.file)
    for node in (sealer, mirror):
        sealwire("site", "init", node.file)
    sealer.start(ready=False)
    mirror.start()
    sealer.await_ready()
    return Sites(world, sealer, mirror, suffix)


@pytest.fixture(scope="module")
def sites(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    world = World("outage", tmp_path_factory.mktemp("outage"), *clusters)
    try:
        yield begin(world.found(), TOPICS)
    finally:
        world.close()


def checked(sites: Sites, topic: str, sent: int, record: Record) -> None:
    """Wait until nothing is missing; claim that all is in order, and how much memory it took."""
    ours = read_all(sites.world.source, topic)
    last = compare(ours, {})

    def whole() -> bool:
        nonlocal last
        last = compare(ours, read_all(sites.world.sink, topic + sites.suffix))
        return not last.missing

    with suppress(AssertionError):
        await_(whole, "all of it", every=1)
    record(topic, str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered) == (sent, 0, 0, 0)
    peaks = {node.identity: peak(node) for node in sites.workers}
    record("peak MB", peaks)
    assert max(peaks.values()) <= MEMORY


@contextmanager
def quietly(sites: Sites, record: Record) -> Iterator[None]:
    """Claim that the workers say a few sentences within the block, and are the same ones when it ends."""
    before = {node.identity: (node.pid, len(lines(node))) for node in sites.workers}
    yield
    for node in sites.workers:
        pid, count = before[node.identity]
        said = lines(node)[count:]
        record(f"{node.identity} said", said)
        assert len(said) <= MOST_LINES, "\n".join(said)
        assert not tracebacks(node)
        assert node.pid == pid, "\n".join(said)


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_is_sent_while_a_cluster_is_away_arrives_when_it_is_back(
    sites: Sites, name: str, record_property: Record
) -> None:
    world, topic = sites.world, f"away-{name}"
    with quietly(sites, record_property):
        with Load(world.source, topic, PER_SECOND) as load:
            await_more(world.sink, topic, PER_SECOND)
            with gone(getattr(world, name), world.cloud_topic(topic) if name == "cloud" else topic):
                pass
            back = time.monotonic()
            await_more(world.sink, topic, PER_SECOND)
            record_property("flows after", round(time.monotonic() - back, 1))
            sent = load.stop()
        checked(sites, topic, sent, record_property)
        for node in sites.workers:
            node.await_ready()


@pytest.mark.parametrize("name", CLUSTERS if WHOLE else ("cloud",))
def test_a_connection_that_hangs_is_left_and_all_arrives(sites: Sites, name: str, record_property: Record) -> None:
    world, topic, watcher = sites.world, "hanging", sites.mirror if name == "sink" else sites.sealer
    before = count_of(world.source, topic)
    with Load(world.source, topic, PER_SECOND // 3, first=before) as load:
        await_more(world.sink, topic, PER_SECOND // 3)
        told = len(lines(watcher))
        with hanging(getattr(world, name), world.cloud_topic(topic) if name == "cloud" else topic, 0):
            begun = time.monotonic()
            await_(lambda: "trying again" in "\n".join(lines(watcher)[told:]), "that it hangs", within=NOTICED_WITHIN)
            record_property("noticed after", round(time.monotonic() - begun, 1))
        await_more(world.sink, topic, PER_SECOND // 3)
        sent = load.stop()
    checked(sites, topic, before + sent, record_property)


@contextmanager
def throttled(world: World) -> Iterator[None]:
    """Quotas of the cloud for every client: bytes a second, far less than what is sent."""
    rates = f"producer_byte_rate={QUOTA},consumer_byte_rate={QUOTA}"
    of = ("--alter", "--entity-type", "clients", "--entity-default")
    world.cloud.configs(*of, "--add-config", rates)
    try:
        yield
    finally:
        world.cloud.configs(*of, "--delete-config", "producer_byte_rate,consumer_byte_rate")


@contextmanager
def held(sites: Sites) -> Iterator[None]:
    """A source partition that is held: its cloud topic has no room for its record."""
    topic = sites.world.cloud_topic("large")
    of = ("--alter", "--entity-type", "topics", "--entity-name", topic)
    sites.world.cloud.configs(*of, "--add-config", "max.message.bytes=2000")
    producer = Producer({"bootstrap.servers": sites.world.source.bootstrap})
    producer.produce("large", random.randbytes(20_000), b"key", 0)
    assert producer.flush(30) == 0
    await_(lambda: sites.sealer.rows("large").get(0, {}).get("state") == "held", "the source partition held")
    try:
        yield
    finally:
        sites.world.cloud.configs(*of, "--delete-config", "max.message.bytes")


def test_throttling_and_a_held_source_partition_lose_nothing_and_do_not_keep_a_worker(
    sites: Sites, record_property: Record
) -> None:
    world = sites.world
    with throttled(world), held(sites):
        with Load(world.source, "throttled", PER_SECOND) as load:
            await_more(world.sink, "throttled", PER_SECOND)
            await_(lambda: load.count > count_of(world.sink, "throttled") + 2 * PER_SECOND, "a backlog")
            record_property("ended after, throttled and held", end(*sites.workers))
            sent = load.stop()
        for node in sites.workers:
            node.start(ready=False)
    for node in sites.workers:
        node.await_ready()
    checked(sites, "throttled", sent, record_property)
    await_count(world.sink, "large", 1)


STATES: Final = {
    "source gone, sink hanging": {"source": gone, "sink": hanging},
    "cloud gone": {"cloud": gone},
    "source hanging, sink gone": {"source": hanging, "sink": gone},
    "cloud hanging": {"cloud": hanging},
}


@pytest.mark.parametrize("state", tuple(STATES)[: 4 if WHOLE else 2])
def test_sigterm_ends_workers_within_half_a_minute(sites: Sites, state: str, record_property: Record) -> None:
    world, topic = sites.world, "ending"
    before = count_of(world.source, topic)
    with Load(world.source, topic, PER_SECOND // 3, first=before) as load:
        await_more(world.sink, topic, PER_SECOND // 3)
        with ExitStack() as outages:
            for name, outage in STATES[state].items():
                where = world.cloud_topic(topic) if name == "cloud" else topic
                outages.enter_context(outage(getattr(world, name), where, 0))
            time.sleep(NOTICING)
            took = end(*sites.workers)
        record_property(f"ended after, {state}", took)
        assert max(took.values()) < ENDS_WITHIN
        sent = load.stop()
    for node in sites.workers:
        node.start(ready=False)
    for node in sites.workers:
        node.await_ready()
    checked(sites, topic, before + sent, record_property)


@pytest.fixture
def quorum(clusters: Clusters, tmp_path: Path) -> Iterator[tuple[KafkaQuorum, Sites]]:
    """One cluster of three brokers that is source, cloud and sink; the session's cloud rests meanwhile."""
    clusters.cloud.stop()
    try:
        with KafkaQuorum("three") as three:
            world = World("three", tmp_path / "three", three, three, three)
            try:
                yield three, begin(world.found(), ("moving", "guarded"), "-there")
            finally:
                world.close()
    finally:
        clusters.cloud.start()


def test_a_broker_of_three_is_killed_and_back_and_leaders_move_meanwhile(
    quorum: tuple[KafkaQuorum, Sites], record_property: Record
) -> None:
    three, sites = quorum
    guarded = sites.world.cloud_topic("guarded")
    of = ("--alter", "--entity-type", "topics", "--entity-name", guarded)
    three.configs(*of, "--add-config", "min.insync.replicas=3")
    # Five brokers, two workers and their load share two cores: more of it, and a broker takes minutes to come back.
    rate, slow = PER_SECOND // 5, PER_SECOND // 25
    with Load(three, "moving", rate) as load, Load(three, "guarded", slow) as second:
        await_more(three, "moving-there", rate)
        await_more(three, "guarded-there", slow)
        victim = next(each for each in three.members if each.number == three.leaders(guarded)[0])
        victim.kill()
        killed = time.monotonic()
        await_(lambda: sites.sealer.said("NOT_ENOUGH_REPLICAS"), "that two brokers are not enough for one topic")
        await_more(three, "moving-there", 3 * rate)
        record_property("flows without a broker after", round(time.monotonic() - killed, 1))
        victim.start()
        await_(lambda: victim.number in three.leaders(guarded).values(), "leaders moved back")
        await_more(three, "guarded-there", slow)
        await_more(three, "moving-there", rate)
        sent = load.stop(), second.stop()
    for topic, count in zip(("moving", "guarded"), sent, strict=True):
        checked(sites, topic, count, record_property)
    record_property("said", [len(lines(node)) for node in sites.workers])
