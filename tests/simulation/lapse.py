"""A long time in a short one: six members, three channels, months of virtual time, and what must hold all along.

What repeats itself every few seconds does so every few minutes here; every age, window and rule is the product's own.
Workers are killed and stay away, the authority is away for two days; the cloud serves all of it, and forgets what is
older than its retention.
"""

from __future__ import annotations

import gc
import os
import types
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import model
import simulation
from aiokafka.structs import TopicPartition
from people import Vault, _enrolled, people
from sim_kafka import readable, span
from simulation import Simulation, Worker
from world import LANES

from sealwire.agents import (
    control,
    forgetting,
    healer,
    lanes,
    lookout,
    opening_side,
    orders,
    own_progress,
    progress_words,
    records,
    renewal,
    resealing,
    rotation,
    sealing,
    senders,
)
from sealwire.agents.settings import Lifetimes, OpenRoute, SealRoute
from sealwire.agents.single import record_batch
from sealwire.keys import charter as charters
from sealwire.keys import request, session, wire
from sealwire.keys.charter import BUILT_IN
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from sealwire.keys.session import OutboundSession

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600  # seconds
CHANNELS = (("orders", 2), ("bills", 1), ("notes", 1))
PARTS = (("orders", 0), ("orders", 1), ("bills", 0), ("notes", 0))
MEMBERS = ("s1", "s2", "r1", "r2", "r3", "r4")
DAYS = int(os.environ.get("DAYS", "8"))  # 90 for the measure
LIVES = Lifetimes(hold_secrets=2 * DAY * 1000, identity=max(DAYS // 3, 4) * DAY * 1000)
RETENTION = 3 * DAY  # of sealed data and sessions: longer than any absence
SLACK = 40 * MINUTE  # what is looked at every few minutes here may be late by that
UNHURRIED = (
    (lanes, "_LOOK_EVERY", HOUR),
    (lanes, "_TICK_EVERY", HOUR),
    (lanes, "_BEAT_EVERY", 10 * MINUTE),
    (sealing, "_COMMIT_EVERY", 60.0),
    (sealing, "_HELD_EVERY", HOUR),
    (senders, "_LOOK_EVERY", 2 * MINUTE),
    (own_progress, "_PROGRESS_EVERY", 55 * MINUTE),
    (own_progress, "_NEXT_WORD_MS", HOUR * 1000),
    (healer, "_LOOK_EVERY", 5 * MINUTE),
    (lookout, "_LOOK_EVERY", 10 * MINUTE),
    (orders, "_TRY_EVERY", HOUR),
    (control, "_JUDGE_AGAIN_EVERY", 25 * MINUTE),
    (renewal, "_LOOK_EVERY", 25 * MINUTE),
    (renewal, "_RENEW_EVERY", 10 * MINUTE),
    (forgetting, "_LOOK_EVERY", 10 * MINUTE),
    (rotation, "_LOOK_EVERY", HOUR),
    (progress_words, "_FORGET_EVERY", 10 * MINUTE),
    (resealing, "_LOOK_EVERY", 10 * MINUTE),
    (opening_side, "_AHEAD_EVERY", 10 * MINUTE),
    (opening_side, "_HELD_EVERY", HOUR),
)


@dataclass
class Made:
    """A session secret, from the moment it was drawn, and what is known of its end."""

    outbound: OutboundSession
    by: str
    last: dict[tuple[str, int], int] | None = None  # what its last word named, and up to where
    over_at: float | None = None  # since when (loop's seconds) all of that is at the sink


@dataclass
class Register:
    """Every secret that was ever made, and what breaks the rules."""

    sessions: dict[bytes, Made] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    longest: dict[str, float] = field(default_factory=dict)

    def saw(self, what: str, seconds: float) -> None:
        """Remember the longest of a kind."""
        self.longest[what] = max(self.longest.get(what, 0.0), seconds)


@contextmanager
def three_channels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the simulation carry one channel more, without hurry."""
    for module in (model, simulation):
        monkeypatch.setattr(module, "PARTS", PARTS)
    seals = tuple(SealRoute(name, name, f"acme.{name}") for name, _ in CHANNELS)
    opens = tuple(OpenRoute(name, f"acme.{name}", name) for name, _ in CHANNELS)
    monkeypatch.setattr(simulation, "SEALS", seals)
    monkeypatch.setattr(simulation, "OPENS", opens)
    for module, name, value in UNHURRIED:
        monkeypatch.setattr(module, name, value)
    yield


class Lapse(Simulation):
    """The run. ``register`` has what was made; ``away`` tells until when (seconds) a member is."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(seed)
        self.register = Register()
        self.away: dict[str, float] = {}
        self.answering = True
        self.charter = BUILT_IN
        self._asked = self._heard = 0
        self._said: dict[bytes, tuple[Made, dict[tuple[str, int], int]]] = {}  # last words that are on their way
        self._listen(monkeypatch)
        for name in ("r3", "r4"):
            _who, statement, secrets = _enrolled(people().project, name, "paris")
            self.vaults[name] = Vault(secrets)
            self.publish(statement, b"member/" + name.encode())
        for name in MEMBERS:
            self.start(name)
        self.loop.run_for(30.0)

    def _make_topics(self) -> None:
        super()._make_topics()
        world = self.world
        world.berlin.kafka.make("notes", 1)
        world.cloud.make("acme.notes", 1)
        world.paris.kafka.make("notes", 1)
        world.own_topics = (*world.own_topics, "notes")
        world.broker.once = world.own_topics

    def _listen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have every session noted when it is made, and its last word when it is said."""
        start, made = session.start, self.register.sessions

        def noting(*args: Any) -> Any:
            outbound, statement = start(*args)
            made[outbound.secret] = Made(outbound, args[0].fingerprint)
            self.register.counts["sessions"] += 1
            return outbound, statement

        make = own_progress.progress.make

        def saying(outbound: OutboundSession, *args: Any) -> bytes:
            statement, final, topics = make(outbound, *args), args[3], args[4]
            if final:
                named = {(topic.topic, each.partition): each.next for topic in topics for each in topic.partitions}
                self._said[statement] = made[outbound.secret], named
            return statement

        monkeypatch.setattr(senders.session, "start", noting)
        monkeypatch.setattr(own_progress.progress, "make", saying)

    # Machines, and the one who assigns lanes

    def start(self, name: str) -> Worker:
        """Start a worker; lanes are given by ``assign`` alone."""
        worker = self.begin(name)
        station = worker.station
        station.assign = lambda: None  # type: ignore[method-assign]
        station.settings = replace(station.settings, lifetimes=LIVES)
        for part in (station.control, station.control.renewal, station.side, getattr(station.side, "senders", None)):
            if part is not None and hasattr(part, "_settings"):
                part._settings = station.settings
        station.side.settings = station.settings
        if hasattr(station.side, "forgetting"):
            station.side.forgetting._settings = station.settings
        self.loop.run_for(2.0)
        self.assign(name[0])
        return worker

    def kill(self, name: str) -> None:
        """Kill a worker, and give its lanes to the others of its kind, as a group does after a while."""
        for worker in [each for each in self.workers if each.alive and each.name == name]:
            worker.kill(lose=bool(self.dice.getrandbits(1)))
            self.workers.remove(worker)
            self.world.stations.remove(worker.station)
        self.loop.run_for(12.0)
        self.assign(name[0])

    def assign(self, kind: str) -> None:
        """Deal the lanes of a direction to those that run."""
        workers = sorted(self.alive(kind), key=lambda each: each.name)
        for worker in workers:
            task = worker.spawn(worker.station.lanes.on_revoked())
            self.loop.run_until(task.done, 20.0)
        for at, worker in enumerate(workers):
            numbers = [lane for lane in range(LANES) if lane % len(workers) == at]
            found = {TopicPartition(worker.station.settings.lane_topic, lane) for lane in numbers}
            worker.do(worker.station.lanes.on_assigned, found)

    # The authority, and the cloud's retention

    def publish(self, statement: bytes, record_key: bytes) -> None:
        """Put a statement into the control topic, whose compaction keeps the last of each record key."""
        self.world.cloud.store("acme.control", 0, bytes(record_batch(statement, self.now(), record_key)))

    def office(self) -> None:
        """Answer what was asked, and date the charter anew; unless the authority is away."""
        if not self.answering:
            return
        log, project = self.world.cloud.at("acme.requests"), people().project
        for batch in log.batches:
            offset = span(batch)[0]
            if offset < self._asked:
                continue
            self._asked = offset + 1
            statement = log.value(offset)
            if wire.type_of(statement) is Type.REQUEST:
                asked = request.read(statement, project.root.project_id)
                who: Any = types.SimpleNamespace(member_id=asked.member_id, public=asked.identity_key)
                site = "berlin" if asked.name.startswith("s") else "paris"
                self.publish(project.admit(who, asked.name, site, self.now()), b"member/" + asked.name.encode())
                self.register.counts[asked.form.name.lower()] += 1
        version = self.charter.version or 1
        self.charter = charters.msgspec.structs.replace(self.charter, version=version, as_of=self.now())
        self.publish(charters.make(project.root, project.authority, self.charter), b"charter")

    def retain(self) -> None:
        """Compact control; leave out what is older than the retention everywhere else in the cloud."""
        log = self.world.cloud.at("acme.control")
        last = {next(iter(records.read(memoryview(batch)))).record_key: batch for batch in log.batches}
        keep = {id(batch) for batch in last.values()}
        log.batches = [batch for batch in log.batches if id(batch) in keep]
        oldest = self.now() - RETENTION * 1000
        for topic, (_id, logs) in self.world.cloud.topics.items():
            for each in logs:
                if topic == "acme.control":
                    continue
                young = [b for b in each.batches if next(iter(records.read(memoryview(b)))).timestamp >= oldest]
                if young and len(young) < len(each.batches):
                    each.truncate(span(young[0])[0])
        self.world.cloud.given.clear()

    # What must hold

    def look(self, *, secrets: bool = True) -> None:
        """Check deliveries and rotations of now, and what of ``secrets`` is there. Raises AssertionError."""
        self.model.check()
        self.errors()
        self._hear()
        now, real = self.loop.time(), self.now()
        for made in self.register.sessions.values():
            if made.over_at is None and made.last is not None and self._delivered(made.last):
                made.over_at = now
        for worker in self.alive():
            if worker.station.control.over:
                raise AssertionError(f"{worker.name}: {worker.station.control.over}")
            if now - worker.begun > SLACK:
                self._look_at_rotations(worker, real)
                if secrets:
                    self._look_at_secrets(worker, now, real)
        dead = [
            s for s, made in self.register.sessions.items() if real > made.outbound.not_after + LIVES.hold_secrets * 2
        ]
        for secret in dead:
            del self.register.sessions[secret]

    def _hear(self) -> None:
        """Take note of the last words that the cloud has: a sender may be killed before its own is stored."""
        log = self.world.cloud.at("acme.sessions")
        for batch in reversed(log.batches):
            if span(batch)[0] < self._heard:
                break
            for value in readable(batch):
                if value in self._said:
                    made, named = self._said.pop(value)
                    made.last = named
        self._heard = log.end

    def _delivered(self, last: dict[tuple[str, int], int]) -> bool:
        return all(self.model.got[PARTS.index(where)] >= following for where, following in last.items())

    def _look_at_secrets(self, worker: Worker, now: float, real: int) -> None:
        """No live object of a worker, and not a byte of its vault, holds a secret that is over."""
        encoded = worker.vault.secrets.encode()
        live = reachable_bytes(worker)
        for secret, made in self.register.sessions.items():
            why = self._over(worker, made, now, real)
            if not why:
                continue
            for where, held in (("memory", secret in live), ("the vault", secret in encoded)):
                if held:
                    name = f"session {made.outbound.number} of {made.outbound.channel} by {made.by}"
                    raise AssertionError(f"{worker.name}: {where} holds the secret of {name}: {why}")
        for key in worker.vault.secrets.held:
            self.register.saw("receiving key after its window", (real - key.end) / 1000)
            if real > key.end + LIVES.receive_grace + SLACK * 1000:
                raise AssertionError(f"{worker.name}: a receiving key of a window that ended at {key.end}")

    def _over(self, worker: Worker, made: Made, now: float, real: int) -> str:
        outbound = made.outbound
        if worker.seals:
            past = real - outbound.not_after - wire.SKEW
            return f"ended {past // 1000} s ago" if past > SLACK * 1000 else ""
        if real > outbound.not_after + LIVES.hold_secrets + SLACK * 1000:
            return "longer than hold_secrets after its end"
        since = made.over_at
        if since is not None and now - max(since, worker.begun) > SLACK:
            return f"all of it is delivered since {now - since:.0f} s"
        return ""

    def _look_at_rotations(self, worker: Worker, real: int) -> None:
        station, vault = worker.station, worker.vault.secrets
        side: Any = station.side
        credential = station.control.credential
        if credential is None or not credential.valid_at(real):
            raise AssertionError(f"{worker.name}: its credential has ended")
        age = (real - credential.not_before) / 1000
        self.register.saw("credential", age)
        self.register.saw("identity key", (real - vault.identity.made_at) / 1000)
        if self.answering and real - vault.identity.made_at > LIVES.identity + 5 * DAY * 1000:
            raise AssertionError(f"{worker.name}: its identity key is of {vault.identity.made_at}")
        if worker.seals:
            for channel, _ in CHANNELS:
                sending = side.senders.current(channel)
                if sending is None:
                    raise AssertionError(f"{worker.name}: {channel}: {side.senders.waits_for(channel)}")
                self.register.saw("session in use", (real - sending.outbound.made_at) / 1000)
        else:
            package = station.control.trust.packages[vault.identity.member_id]
            if not any(window.start <= real < window.end for window in package.windows):
                raise AssertionError(f"{worker.name}: no receiving key of it is for now")


def reachable_bytes(worker: Worker) -> set[bytes]:
    """Every bytes object of 32 bytes that is reachable from what a worker keeps, and not from the world around it."""
    station = worker.station
    around = (station.world, worker.run, worker, station.site, station.local, station.cloud, station.watch)
    seen = {id(each) for each in around} | {id(station), id(worker.run.loop)}
    skipped = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType, type)
    found: set[bytes] = set()
    todo: list[Any] = [station.control, station.side, station.store]
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, skipped):
            continue
        seen.add(id(each))
        if isinstance(each, bytes):
            if len(each) == 32:  # noqa: PLR2004
                found.add(each)
            continue
        todo.extend(gc.get_referents(each))
    return found
