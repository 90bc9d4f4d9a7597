"""A project of two sites around a cloud, all in memory: the real agents, with real keys, on a fake Kafka.

A Station is a worker without Faust and sockets: Control, Sealing or Opening, and Lanes are the product's own.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka.structs import TopicPartition

sys.path.insert(0, str(Path(__file__).parent.parent / "keys"))  # for what forges envelopes there

from batch_made import NOW, Made, build, unbuild
from fake_kafka import FakeAdmin, FakeCluster, FakePositions, FakeReader, FakeWriter, Partition
from in_loop import until
from vector_world import Forge, inner_bytes

from sealwire.agents import (
    backfill,
    clock,
    control,
    exactly_once,
    following,
    healer,
    lane_sink,
    lanes,
    lookout,
    mirror,
    neighbours,
    orders,
    own_progress,
    renewal,
    resealing,
    room,
    rotation,
    sealing,
    senders,
    sink,
    topics,
    twins,
)
from sealwire.agents.budget import Budget
from sealwire.agents.control import Control
from sealwire.agents.lanes import Lanes
from sealwire.agents.opening_side import Opening
from sealwire.agents.routes import route as route_over
from sealwire.agents.sealing import Sealing
from sealwire.agents.settings import Cluster, OpenRoute, SealRoute, Settings
from sealwire.keys import credential, identity, root
from sealwire.keys.envelope import Compression, Inner, Kind, Layout, Place
from sealwire.keys.landmark import BEGUN_KEY, Begun
from sealwire.keys.primitives import SigningKey
from sealwire.keys.root import RootFields
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import pytest

    from sealwire.agents.mirror import OpenWork
    from sealwire.agents.positions import Position
    from sealwire.agents.source_seat import SourceSeat
    from sealwire.agents.standings import Standing
    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity

YEAR = 365 * 24 * 3600 * 1000
BEFORE = NOW - 3600 * 1000  # ms: who was admitted then was there before the records that some() makes
LANES = 2
CLOUD = Cluster("cloud:1")
ORDERS = SealRoute("orders", "orders", "acme.orders")
OPEN_ORDERS = OpenRoute("orders", "acme.orders", "orders")


class Clock:
    """The real time, and how far a test moved it (ms)."""

    def __init__(self) -> None:
        self.ahead = 0
        self._real = clock.now

    def now(self) -> int:
        return self._real() + self.ahead


@dataclass
class Store:
    """Secrets at rest. ``saved`` counts; what was saved survives a kill."""

    secrets: Secrets
    saved: int = 0
    behind: int = 0

    def load(self) -> Secrets:
        return Secrets.decode(self.secrets.encode())

    def save(self, secrets: Secrets) -> None:
        self.secrets, self.saved = secrets, self.saved + 1


@dataclass
class Project:
    """An authority with its first root."""

    authority: SigningKey
    root_bytes: bytes
    root: root.Root
    serials: dict[bytes, int] = field(default_factory=dict)
    offline: SigningKey | None = None  # the root key, where one alone holds the root

    @classmethod
    def make(cls, now: int, name: str = "acme") -> Project:
        authority, offline = SigningKey.from_seed(os.urandom(32)), SigningKey.from_seed(os.urandom(32))
        statement = root.make_first(name, [offline], 1, [(authority.public, now + YEAR)], [], now)
        return cls(authority, statement, root.read_first(statement), offline=offline)

    def follow(self, now: int, **changes: Any) -> bytes:
        """Sign the next root."""
        assert self.offline is not None
        fields = RootFields(*(getattr(self.root, name) for name in RootFields.__struct_fields__))
        said = msgspec.structs.replace(fields, made_at=now, **changes)
        self.root_bytes = root.make_next(self.root, said, [self.offline])
        self.root = root.read_next(self.root_bytes, self.root)
        return self.root_bytes

    def admit(self, who: Identity, name: str, site: str, now: int, admitted: int = BEFORE, charter: int = 0) -> bytes:
        """Sign a credential."""
        serial = self.serials[who.member_id] = self.serials.get(who.member_id, 0) + 1
        return credential.make(
            self.root,
            self.authority,
            member_id=who.member_id,
            identity_key=who.public,
            name=name,
            attributes={"role": "member", "site": site},
            serial=serial,
            now=now,
            admitted=min(admitted, now),
            charter_version=charter,
        )

    def read(self, statement: bytes, now: int) -> Credential:
        return credential.read(statement, self.root, now)


class Watch:
    """What both clusters say of their topics, at once."""

    troubles: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, settings: Settings, local: FakeCluster, cloud: FakeCluster) -> None:
        self.settings, self._local, self._cloud = settings, local, cloud
        self._last: topics.Facts | None = None

    @property
    def facts(self) -> topics.Facts:
        local, cloud = self._local.facts(), self._cloud.facts()
        if self._last is not None and (self._last.local, self._last.cloud) == (local, cloud):
            return self._last
        routing = route_over(self.settings, local if self.settings.direction == "seal" else cloud)
        self._last = topics.Facts(local, cloud, "local-cluster", routing.routes, routing.troubles)
        return self._last

    async def look(self) -> topics.Facts:
        return self.facts

    @staticmethod
    def forbidden(_cluster: str, _topic: str) -> str:
        return ""


class Agent:
    """Stands for Faust: hands a lane's events to Lanes.follow, and loses them when told to."""

    rebalancing = False
    consumer_generation_id = 1

    def __init__(self) -> None:
        self.consumer = self
        self.queue: asyncio.Queue[Any] = asyncio.Queue(64)
        self.lose = 0
        self.pass_on = asyncio.Event()
        self.pass_on.set()

    async def callback(self, message: Any) -> None:
        if self.lose and message.value.load is not None:
            self.lose -= 1
            return
        await self.queue.put(message)

    async def events(self) -> AsyncIterator[Any]:
        while True:
            message = await self.queue.get()
            await self.pass_on.wait()
            yield SimpleNamespace(value=message.value)


class Station:
    """One worker."""

    side: Sealing | Opening

    def __init__(self, world: World, site: Site, settings: Settings, store: Store) -> None:
        self.world, self.site, self.settings, self.store = world, site, settings, store
        sealing_side = settings.direction == "seal"
        budget = Budget(settings.in_flight_bytes)
        cloud = world.cloud_for(store)
        self.local = world.reader(site.kafka, budget if sealing_side else None)
        self.cloud = world.reader(cloud, None if sealing_side else budget)
        self.cloud_writer, self.local_writer = world.writer(cloud), world.writer(site.kafka)
        watch: Any = Watch(settings, site.kafka, cloud)
        self.watch = watch
        self.control = Control(settings, store, self.cloud, self.cloud_writer)
        if sealing_side:
            self.side = Sealing(settings, self.control, watch, self.local, self.cloud_writer)
            self.side.positions = FakePositions(site.committed)  # type: ignore[assignment]
        else:
            self.side = Opening(settings, self.control, watch, self.cloud, self.local, self.local_writer)
        self.agent: Any = Agent()
        self.lanes = Lanes(self.agent, settings.lane_topic, self.side.make, watch)
        self.side.lanes = self.lanes
        self.table: dict[bytes, bytes] = {}
        self.table_has_room = True
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.errors.append(task.exception())  # type: ignore[arg-type]

    async def start(self) -> None:
        """Do what Worker.run does, and what Faust does around it."""
        self.assign()
        self.spawn(self.lanes.follow(self.agent, self.table.update, lambda: self.table_has_room))
        self.spawn(self.lanes.keep_ticking())
        self.spawn(self._run())

    async def _run(self) -> None:
        for task in self.side.early():
            self.spawn(task)
        await self.control.begin()
        self.spawn(self.control.keep())
        for task in self.side.tasks():
            self.spawn(task)
        self.lanes.begin()
        self.spawn(self.lanes.keep_dealing())

    def assign(self) -> None:
        """Be Faust, that gives this worker every lane."""
        self.lanes.on_assigned({TopicPartition(self.settings.lane_topic, number) for number in range(LANES)})

    async def stop(self) -> None:
        """End in order, as a worker that is asked to."""
        await self.lanes.on_revoked()
        await self.side.commit()
        await self._end()
        await self.side.close()

    async def kill(self) -> None:
        """End at once: nothing more is read or written."""
        self.cloud_writer.dead = self.local_writer.dead = True
        for lane in self.lanes.open.values():
            lane.open = False
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.local.stop()
        await self.cloud.stop()

    # What tests look at

    @property
    def works(self) -> list[Any]:
        return [lane.work for lane in self.lanes.open.values()]

    def seat(self, partition: int = 0) -> SourceSeat:
        """The source partition of a sealer."""
        (found,) = (seat for work in self.works for seat in work.seats.values() if seat.partition == partition)
        return found  # type: ignore[no-any-return]

    def seated(self, partition: int = 0) -> bool:
        return any(
            seat.partition == partition and seat.seat is not None for work in self.works for seat in work.seats.values()
        )

    def standings(self) -> list[Standing]:
        """The source partitions of a mirror."""
        return [standing for work in self.works for standing in work.standings]

    def standing(self, partition: int = 0) -> Standing | None:
        found = [each for each in self.standings() if each.cursor.source.partition == partition]
        return found[0] if found else None

    def state(self, partition: int = 0) -> str:
        standing = self.standing(partition)
        return "" if standing is None else str(standing.cursor.state)

    def work(self, partition: int = 0) -> OpenWork:
        (found,) = (each for each in self.works for where in each.seats if where[1] == partition)
        return found  # type: ignore[no-any-return]

    @property
    def refused(self) -> dict[str, int]:
        assert isinstance(self.side, Opening)
        return dict(self.side.refused)


@dataclass
class Site:
    """A local Kafka and what its workers keep."""

    name: str
    kafka: FakeCluster = field(default_factory=FakeCluster)
    committed: dict[tuple[str, int], Position] = field(default_factory=dict)

    def send(self, made: Sequence[Made], *, topic: str = "orders", partition: int = 0, codec: int = 0) -> None:
        """Store one batch of an application's."""
        self.kafka.at(topic, partition).append(build(list(made), codec=codec))

    def got(self, topic: str = "orders", partition: int = 0) -> list[Made]:
        """What an application reads."""
        if topic not in self.kafka.topics:
            return []
        return unbuild(self.kafka.at(topic, partition).committed())


def begin_site(kafka: FakeCluster, site: str = "paris") -> None:
    """Do what `sealwire site init` does for lanes that open."""
    kafka.make(f"_sealwire.acme.{site}.ledger", LANES)
    kafka.make(f"_sealwire.acme.{site}.cursors", LANES)
    for number in range(LANES):
        kafka.at(f"_sealwire.acme.{site}.cursors", number).inject(Begun(LANES, 1).encode(), BEGUN_KEY)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is done every few seconds done every few milliseconds."""
    for module, name, value in (
        (lanes, "_LOOK_EVERY", 0.03),
        (lanes, "_TICK_EVERY", 0.03),
        (lanes, "_AGAIN_AFTER", 0.02),
        (lanes, "_TABLE_EVERY", 0.02),
        (lanes, "_NOT_OURS_FOR", 1.0),
        (senders, "_LOOK_EVERY", 0.05),
        (senders, "_TRY_AGAIN", 0.05),
        (own_progress, "_PROGRESS_EVERY", 0.1),
        (own_progress, "_NAMED_AFTER", 0.02),
        (lookout, "_LOOK_EVERY", 0.03),
        (sealing, "_COMMIT_EVERY", 0.02),
        (resealing, "_LOOK_EVERY", 0.1),
        (resealing, "_AGAIN", 0.05),
        (healer, "_LOOK_EVERY", 0.03),
        (healer, "_AFTER", 60.0),  # a gap is asked for where a test wants it to be
        (sink, "_TRY_AGAIN", 0.05),
        (control, "_JUDGE_AGAIN_EVERY", 0.05),
        (control, "_AGAIN", 0.05),
        (control, "_LATE_EVERY", 0.05),
        (neighbours, "_AGAIN", 0.05),
        (backfill, "_LOOK_EVERY", 0.05),
        (renewal, "_LOOK_EVERY", 0.05),
        (following, "_AGAIN", 0.05),
        (exactly_once, "_OPEN_FOR", 0.01),
        (lane_sink, "_LOOK_AGAIN", 0.02),
        (lane_sink, "_BEGIN_AGAIN", 0.2),
        (mirror, "_CLOSE_WITHIN", 1.0),
        (mirror, "_READ_AGAIN", 0.05),
        (orders, "_TRY_EVERY", 0.03),
        (orders, "_AGAIN", 0.05),
        (rotation, "_LOOK_EVERY", 0.05),
        (twins, "_AGAIN", 0.05),
    ):
        monkeypatch.setattr(module, name, value)


def with_fake_admins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the questions of administrators answered from memory."""
    monkeypatch.setattr(following, "Admin", FakeAdmin)
    monkeypatch.setattr(sink, "Admin", FakeAdmin)
    monkeypatch.setattr(room, "Admin", FakeAdmin)
    monkeypatch.setattr(FakeAdmin, "may_ask", True)


class World:
    """Berlin seals, Paris opens, the cloud lies between."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp: Path) -> None:
        self.clock = Clock()
        monkeypatch.setattr(clock, "now", self.clock.now)
        hurry(monkeypatch)
        with_fake_admins(monkeypatch)
        self.begin(tmp, Project.make(self.clock.now()), FakeCluster)

    def begin(self, tmp: Path, project: Project, make_cluster: Callable[[], FakeCluster]) -> None:
        """Have three clusters, and a cloud with the topics of the project."""
        self._tmp, self.project = tmp, project
        self.cloud = make_cluster()
        self.berlin, self.paris = Site("berlin", make_cluster()), Site("paris", make_cluster())
        FakeAdmin.clusters = {"cloud:1": self.cloud, "berlin:1": self.berlin.kafka, "paris:1": self.paris.kafka}
        self.stations: list[Station] = []
        self._count = itertools.count(1)
        for topic in ("acme.control", "acme.sessions", "acme.requests"):
            self.cloud.make(topic)

    # What another world makes otherwise

    def cloud_for(self, store: Store) -> FakeCluster:  # noqa: ARG002
        """The cloud as one member sees it."""
        return self.cloud

    def reader(self, cluster: FakeCluster, budget: Budget | None) -> FakeReader:
        """A reader of one worker."""
        return FakeReader(cluster, budget)

    def writer(self, cluster: FakeCluster) -> FakeWriter:
        """A writer of one worker."""
        return FakeWriter(cluster)

    # Who there is

    def member(self, name: str, site: str, *, known: bool = True, admitted: int = BEFORE, charter: int = 0) -> Store:
        """A member that is enrolled; ``known`` puts its credential into the control topic."""
        now = self.clock.now()
        who = identity.create(os.urandom, now)
        statement = self.project.admit(who, name, site, now, admitted, charter)
        if known:
            self.tell(statement)
        asked = Secrets.begin(who).asked(self.project.root.project_id, self.project.root_bytes, b"")
        return Store(asked.admitted(statement))

    def tell(self, statement: bytes, topic: str = "acme.control") -> None:
        """Put a statement into a project topic."""
        self.cloud.at(topic).inject(statement, os.urandom(8))

    def renew(self, store: Store, name: str, site: str) -> None:
        """Let the authority sign the next credential."""
        self.tell(self.project.admit(store.secrets.identity, name, site, self.clock.now()))

    def make_topics(self, partitions: int = 1) -> None:
        """Make the topics of the one mapping."""
        self.berlin.kafka.make("orders", partitions)
        self.cloud.make("acme.orders", partitions)
        self.paris.kafka.make("orders", partitions)
        begin_site(self.paris.kafka)
        self.paris.kafka.make("_sealwire.acme.paris.orders")
        self.paris.kafka.make("_sealwire.acme.paris.quarantine")

    # Workers

    def sealer(
        self, store: Store | None = None, *, route: SealRoute = ORDERS, by_name: bool = True, **changes: Any
    ) -> Station:
        """A sealing worker in Berlin, not started."""
        settings = self._settings("seal", self.berlin, **changes)
        return self._station(
            self.berlin,
            replace(settings, seal=(route,) if by_name else ()),
            store or self.member(self._name("s"), "berlin"),
        )

    def mirror(self, store: Store | None = None, *, route: OpenRoute = OPEN_ORDERS, **changes: Any) -> Station:
        """An opening worker in Paris, not started."""
        settings = self._settings("open", self.paris, **changes)
        return self._station(
            self.paris, replace(settings, open=(route,)), store or self.member(self._name("r"), "paris")
        )

    def _name(self, kind: str) -> str:
        return f"{kind}{next(self._count)}"

    def _settings(self, direction: Any, site: Site, **changes: Any) -> Settings:
        local = Cluster(f"{site.name}:1")
        return replace(Settings("acme", site.name, "w", direction, self._tmp, local, CLOUD, lanes=LANES), **changes)

    def _station(self, site: Site, settings: Settings, store: Store) -> Station:
        station = Station(self, site, settings, store)
        self.stations.append(station)
        return station

    async def flow(self) -> tuple[Station, Station]:
        """A sealer and a mirror that run, with a session between them."""
        sealer, opener = self.sealer(), self.mirror()
        await opener.start()
        await sealer.start()
        await until(lambda: sealer.side.senders.current("orders") and sealer.seated() and opener.seated())  # type: ignore[union-attr]
        return sealer, opener

    def spawn_later(self, call: Callable[[], object]) -> None:
        """Call when everybody else had a few turns: an answer of a cluster that comes late."""

        def turn(left: int) -> None:
            if left:
                asyncio.get_running_loop().call_soon(turn, left - 1)
            else:
                call()

        turn(50)

    async def close(self) -> None:
        """End every worker that still runs; none of their lasting tasks may have failed."""
        for station in self.stations:
            await station.kill()
        for station in self.stations:
            for error in station.errors:
                raise error

    def inner(self, **changes: Any) -> Inner:
        """What an honest envelope of the one source partition says, or something else."""
        fields = Inner(
            kind=Kind.RECORDS,
            layout=Layout.BATCH,
            compression=Compression.NONE,
            flags=0,
            site="berlin",
            topic="orders",
            topic_id=self.berlin.kafka.topics["orders"][0],
            partition=0,
            first=0,
            next=1,
            last_stable=1 << 40,
            leader_epoch=0,
            sealed_at=self.clock.now(),
            record_count=0,
            batch_count=0,
            uncompressed_size=0,
        )
        return replace(fields, **changes)

    def forge(self, sealer: Station, inner: Inner, rest: bytes = b"", *, partition: int = 0) -> bytes:
        """Seal anything at all under a sealer's own session."""
        assert isinstance(sealer.side, Sealing)
        sending = sealer.side.senders.current("orders")
        assert sending is not None
        place = Place(self.project.root.project_id, "orders", "acme.orders", partition)
        return Forge(sending.outbound, place, member_id=sending.outbound.member_id).build(inner_bytes(inner), rest)

    @property
    def envelopes(self) -> Partition:
        """The cloud's one partition of the mapping."""
        return self.cloud.at("acme.orders")


@asynccontextmanager
async def a_world(monkeypatch: pytest.MonkeyPatch, tmp: Path, partitions: int = 1) -> AsyncIterator[World]:
    """A world with its topics, ended in the end."""
    world = World(monkeypatch, tmp)
    world.make_topics(partitions)
    try:
        yield world
    finally:
        with suppress(asyncio.CancelledError):
            await world.close()


def in_world(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an async test that takes a world, in a loop of its own, with an end to it."""

    def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        async def whole() -> None:
            async with asyncio.timeout(40), a_world(monkeypatch, tmp_path) as world:
                await test(world)

        asyncio.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
