"""One run: sealers in Berlin, mirrors in Paris, the hostile cloud between, all in one loop of virtual time."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fake_kafka import FakeAdmin
from hand import FAULTS, Hand
from hostile_cloud import HostileCloud
from model import PARTS, Lied, Model
from people import BEGIN, Vault, people
from sim_broker import Broker, Produce
from sim_kafka import Cluster, Reader, View, Writer
from sim_link import Link, LocalWriter
from virtual_loop import NOBODY, RUNS, Process, VirtualLoop
from world import CLOUD, LANES, Station, World, begin_site

from sealwire.agents import clock, control, healer, lanes, lookout, mirror, orders, records, renewal, sealing, writer
from sealwire.agents.record_opening import open_record
from sealwire.agents.settings import Cluster as Address
from sealwire.agents.settings import OpenRoute, SealRoute, Settings
from sealwire.agents.single import record_batch
from sealwire.keys import charter as charters

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest
    from world import Site, Store

    from sealwire.agents.budget import Budget
    from sealwire.agents.settings import How

SEALS = (SealRoute("orders", "orders", "acme.orders"), SealRoute("bills", "bills", "acme.bills", padding=True))
OPENS = (OpenRoute("orders", "acme.orders", "orders"), OpenRoute("bills", "acme.bills", "bills"))
OFTEN = (
    (lanes, "_LOOK_EVERY"),
    (lanes, "_TICK_EVERY"),
    (sealing, "_COMMIT_EVERY"),
    (healer, "_LOOK_EVERY"),
    (lookout, "_LOOK_EVERY"),
    (orders, "_TRY_EVERY"),
    (control, "_JUDGE_AGAIN_EVERY"),
    (renewal, "_LOOK_EVERY"),
)
OPENED_CAP = 1024 * 1024  # bytes that one batch may open to: a sixty-fourth, as nothing here is large but bombs
running: list[Simulation] = []
_real_now, _real_random = clock.now, os.urandom


def _now() -> int:
    return running[-1].now() if running else _real_now()


def _random(size: int) -> bytes:
    return running[-1].draws.randbytes(size) if running else _real_random(size)


def _opened_by_members(side: Any, seat: Any, record: Any) -> Any:
    """Open a record as the product does; what a member made whom the vault's charter refuses is never opened."""
    found = open_record(side, seat, record)
    charter, project = side.control.secrets.charter, side.project_id
    if found is not None and charter is not None:
        session = found.opened.session
        since = charters.remembered(charter, project).refused_since(session.member_id)
        if since is not None and since <= session.made_at:
            raise Lied(f"an envelope of {session.name} was opened, who is refused since {since}")
    return found


def in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all clocks and dice of the product be those of the run that is on."""
    monkeypatch.setattr(clock, "now", _now)
    monkeypatch.setattr(os, "urandom", _random)
    monkeypatch.setattr(lanes, "_TICK_EVERY", 4.0)
    monkeypatch.setattr(lanes, "_BEAT_EVERY", 2.0)
    monkeypatch.setattr(writer, "ProduceBatches", Produce)
    monkeypatch.setattr(mirror, "open_record", _opened_by_members)
    monkeypatch.setattr(records.read, "__defaults__", (OPENED_CAP,))


@contextmanager
def unhurried(seconds: float) -> Iterator[None]:
    """Have what only repeats itself done at most a few dozen times."""
    before = [(module, name, getattr(module, name)) for module, name in OFTEN]
    for module, name, every in before:
        setattr(module, name, max(every, seconds / 30))
    try:
        yield
    finally:
        for module, name, every in before:
            setattr(module, name, every)


OWN = tuple(f"_sealwire.acme.paris.{each}" for each in ("cursors", "ledger"))


class SimWorld(World):
    """The world of the agents' tests, around a cloud that is hostile, with readers that answer in virtual time."""

    def __init__(self, run: Simulation) -> None:
        self._run = run
        self._locals: dict[int, View] = {}
        self._name = ""
        self.own_topics = (*OWN, "orders", "bills")
        self.begin(Path("nowhere"), people().project, Cluster)
        self.cloud: HostileCloud

    def begin(self, tmp: Path, project: Any, make_cluster: Any) -> None:
        super().begin(tmp, project, make_cluster)
        self.cloud = FakeAdmin.clusters["cloud:1"] = HostileCloud()  # type: ignore[assignment]
        for topic in ("acme.control", "acme.sessions", "acme.requests"):
            self.cloud.make(topic)
        self.broker = Broker(self.paris.kafka, self._run.loop, self._run.dice, self._run.reach)  # type: ignore[arg-type]

    def cloud_for(self, store: Store) -> Any:
        self._name = store.name  # type: ignore[attr-defined]
        return self.cloud.view(self._name)

    def reader(self, cluster: Any, budget: Budget | None) -> Any:
        view, mirrors = (
            self.view_of(cluster),
            cluster is self.paris.kafka or (isinstance(cluster, View) and budget is not None),
        )
        return Reader(self._run.loop, view, budget, self._run.dice, self._run.reach if mirrors else None)

    def writer(self, cluster: Any) -> Any:
        if cluster is self.paris.kafka:
            return LocalWriter(Address("paris:1"), Link(self.broker, self._name))
        return Writer(self.view_of(cluster), self._run.dice)

    def view_of(self, cluster: Any) -> View:
        """How the members of a cluster see it."""
        if isinstance(cluster, View):
            return cluster
        if id(cluster) not in self._locals:
            self._locals[id(cluster)] = View("local", cluster)
        return self._locals[id(cluster)]


class Worker:
    """A worker as a process that can be killed, stopped and continued."""

    def __init__(self, run: Simulation, name: str, vault: Vault, ahead: int = 0) -> None:
        self.run, self.name, self.vault = run, name, vault
        self.process = Process(name, ahead)
        self.seals = name.startswith("s")
        world = run.world
        site = world.berlin if self.seals else world.paris
        self.station: Station = self.process.context.run(self._make, world, site)
        self.station.control.on_over = lambda _why: run.loop.call_soon(self._end_for_good, context=NOBODY)
        self.begun = run.loop.time()
        run.loop.create_task(self._start(), context=self.process.context)

    def _make(self, world: SimWorld, site: Site) -> Station:
        settings = Settings(
            "acme", site.name, self.name, "seal" if self.seals else "open", Path("nowhere"),
            Address(f"{site.name}:1"), CLOUD, lanes=LANES, delivery=self.run.delivery,
        )  # fmt: skip
        settings = replace(settings, seal=SEALS) if self.seals else replace(settings, open=OPENS)
        return world._station(site, settings, self.vault)

    async def _start(self) -> None:
        if not self.seals:
            await self.station.local_writer.start()  # type: ignore[attr-defined]
        await self.station.start()

    @property
    def alive(self) -> bool:
        return not self.process.dead

    @property
    def link(self) -> Link:
        """How a mirror speaks to its sink."""
        return self.station.local_writer.link  # type: ignore[attr-defined, no-any-return]

    def kill(self, *, lose: bool) -> None:
        """End it between two steps; with ``lose`` what it had sent and nobody stored is lost on the way."""
        if not self.seals:
            self._count_what_it_leaves()
        self.process.dead = True
        self.run.graves.update(asyncio.all_tasks(self.run.loop))  # else Python would end them, and say so
        if lose:
            self.station.cloud_writer.lose()  # type: ignore[attr-defined]
            self.station.local_writer.lose()  # type: ignore[attr-defined]

    def _end_for_good(self) -> None:
        """Do what a process does that is refused, or whose identity is used twice."""
        if self.alive:
            self.run.model.twice = "a worker ended for good"
            self.run.reach("ended_for_good")
            self.kill(lose=False)

    def _count_what_it_leaves(self) -> None:
        if any(each.open and each.holder is self.link for each in self.run.world.broker.held.values()):
            self.run.reach("crash_in_transaction")
        for deed in set(self.link.asked.values()):
            self.run.reach(f"crash_at_{deed}")

    def do(self, call: Any, *args: Any) -> None:
        """Call as the worker itself, in a step of its own."""
        self.run.loop.call_soon(call, *args, context=self.process.context)
        self.run.loop.run_for(0.0)

    def spawn(self, work: Any) -> Any:
        """Begin a task as the worker itself."""
        return self.run.loop.create_task(work, context=self.process.context)


class Simulation:
    """A run from its seed on."""

    def __init__(self, seed: int, reached: Counter[str] | None = None, delivery: How = "exactly-once") -> None:
        self.delivery: How = delivery
        self.loop = VirtualLoop()
        self.dice, self.draws = random.Random(seed), random.Random(seed + 1)
        self.reached: Counter[str] = Counter() if reached is None else reached
        running.append(self)
        self.world = SimWorld(self)
        self.workers: list[Worker] = []
        self.vaults: dict[str, Vault] = {}
        self.twins: dict[str, list[Vault]] = {}  # of machines that were resumed from a snapshot
        self.graves: set[asyncio.Task[Any]] = set()
        self.model = Model(self.world, once=delivery == "exactly-once")
        self.world.broker.once = self.world.own_topics if self.model.once else ()
        self._make_topics()

    def _make_topics(self) -> None:
        world = self.world
        for topic, cloud, count in (("orders", "acme.orders", 2), ("bills", "acme.bills", 1)):
            world.berlin.kafka.make(topic, count)
            world.cloud.make(cloud, count)
            world.paris.kafka.make(topic, count)
        begin_site(world.paris.kafka)
        world.paris.kafka.make("_sealwire.acme.paris.orders")
        world.paris.kafka.make("_sealwire.acme.paris.quarantine")
        for statement in people().credentials:
            world.cloud.store("acme.control", 0, bytes(record_batch(statement, BEGIN, statement[-8:])))

    def now(self) -> int:
        runs = RUNS.get()
        return BEGIN + round(self.loop.time() * 1000) + (runs.ahead if runs is not None else 0)

    def reach(self, fault: str) -> None:
        self.reached[fault] += 1

    def begin(self, name: str, *, ahead: int = 0, vault: Vault | None = None) -> Worker:
        """Start a worker with what its machine keeps."""
        if vault is None:
            vault = self.vaults.get(name) or people().vault(name)
            self.vaults[name] = vault
        vault.name = name  # type: ignore[attr-defined]
        worker = Worker(self, name, vault, ahead)
        self.workers.append(worker)
        return worker

    def alive(self, kind: str = "") -> list[Worker]:
        """Those that run, of sealers "s" or mirrors "r"."""
        return [each for each in self.workers if each.alive and each.name.startswith(kind)]

    def send(self, part: int, count: int, codec: int) -> None:
        """Let an application write records at the source."""
        topic, partition = PARTS[part]
        self.world.berlin.send(self.model.more(part, count), topic=topic, partition=partition, codec=codec)

    def do(self, fault: str, number: int) -> None:
        """Let the cloud do something."""
        FAULTS[fault](Hand(self, random.Random(number), people().foreign))

    def let(self, seconds: float) -> None:
        """Let time pass; when it is long, with fewer looks at what does not change."""
        with unhurried(seconds):
            self.loop.run_for(seconds)
        self.model.check()
        self.errors()

    def errors(self) -> None:
        """No task of any worker may have failed."""
        for worker in self.workers:
            for error in worker.station.errors:
                raise error
        for what in self.loop.errors:
            raise what.get("exception") or AssertionError(what["message"])

    def close(self) -> None:
        """Leave nothing behind."""
        for worker in self.workers:
            worker.station.cloud_writer.dead = True
        with suppress(Exception):
            self.loop.end()
        running.remove(self)
