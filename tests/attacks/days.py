"""Days of traffic between real sealers and mirrors, in virtual time: keys age, sessions change, members come and go."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import simulation
from people import BEGIN, Vault
from realm import Asker, Realm, enrolled, realm
from sim_kafka import readable
from simulation import Simulation, Worker

from sealwire.agents import lanes, own_progress, resealing, rotation, senders
from sealwire.agents.single import record_batch
from sealwire.keys import keypackage, request, session, wire
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    import pytest
    from batch_made import Made

    from sealwire.keys.credential import Credential
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.session import OutboundSession
    from sealwire.keys.source import SourcePartition

MINUTE = 60 * 1000  # ms
HOUR = 60 * MINUTE
CONTROL, SESSIONS, REQUESTS = "acme.control", "acme.sessions", "acme.requests"
ENVELOPES = ("acme.orders", "acme.bills")
MADE: dict[bytes, bytes] = {}
"""The secret of every session of every run: for the count of what there is to open, and for no thief."""


def in_long_days(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is said again and again said every ten minutes: a day then costs seconds."""
    monkeypatch.setattr(own_progress, "_PROGRESS_EVERY", 600.0)
    monkeypatch.setattr(own_progress, "_NEXT_WORD_MS", 20 * MINUTE)
    monkeypatch.setattr(senders, "_LOOK_EVERY", 30.0)
    monkeypatch.setattr(lanes, "_BEAT_EVERY", 600.0)
    monkeypatch.setattr(lanes, "_TICK_EVERY", 600.0)
    monkeypatch.setattr(resealing, "_LOOK_EVERY", 120.0)
    monkeypatch.setattr(rotation, "_LOOK_EVERY", 600.0)
    monkeypatch.setattr(simulation, "people", realm)
    start = session.start

    def noted(*all_of_it: Any) -> tuple[OutboundSession, bytes]:
        outbound, statement = start(*all_of_it)
        MADE[outbound.id] = outbound.secret
        return outbound, statement

    monkeypatch.setattr(session, "start", noted)


class Days(Simulation):
    """A run of days. ``given`` of its cloud is all that anybody ever wrote there."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.realm: Realm = realm()
        self.refusals: dict[bytes, int] = {}
        self.charter_version = 0
        self.known = {
            each.member_id: each for each in (self.realm.project.read(one, BEGIN) for one in self.realm.credentials)
        }
        self.forged = 0  # records that were delivered and that nobody but a thief ever made
        self._answered = 0
        self._asked_at: dict[bytes, int] = {}
        self.deliver_only_what_was_sent()

    def tell(self, topic: str, statement: bytes, record_key: bytes) -> None:
        """Write a statement into a topic of the project."""
        self.world.cloud.store(topic, 0, bytes(record_batch(statement, self.now(), record_key)))

    def put(self, cloud_topic: str, partition: int, envelope: bytes) -> None:
        """Write an envelope into a cloud topic."""
        self.world.cloud.store(cloud_topic, partition, bytes(record_batch(envelope, self.now())))

    def packages(self) -> list[tuple[bytes, KeyPackage]]:
        """The newest key package of everybody, whoever signed it."""
        found: dict[bytes, KeyPackage] = {}
        for topic, _partition, batch in self.world.cloud.given:
            for value in readable(batch) if topic == CONTROL else ():
                if wire.type_of(value) is Type.KEY_PACKAGE:
                    package: Any = keypackage.peek(value, self.realm.project.root.project_id)
                    found[package.member_id] = package
        return list(found.items())

    def cursors(self) -> list[tuple[SourcePartition, int]]:
        """Where the mirrors stand: each source partition, and the next offset of the one that is furthest."""
        found: dict[SourcePartition, int] = {}
        for worker in self.alive("r"):
            for standing in worker.station.standings():
                cursor = standing.cursor
                found[cursor.source] = max(found.get(cursor.source, 0), cursor.next or 0)
        return list(found.items())

    def deliver_only_what_was_sent(self) -> None:
        """Count what a thief made, and believe nothing else of the sink but what the source has."""
        honest = self.model._delivered

        def delivered(part: int, record: Made) -> None:
            if (record.value or b"").startswith(b"forged/"):
                self.forged += 1
            else:
                honest(part, record)

        self.model._delivered = delivered  # type: ignore[method-assign]

    def hours(self, count: float, every: float = 20.0) -> None:
        """Let hours pass with traffic, a record about every so many minutes; the authority answers meanwhile."""
        end = self.loop.time() + count * 3600
        while self.loop.time() < end:
            self.send(self.dice.randrange(3), self.dice.randint(1, 3), 0)
            self.let(min(self.dice.uniform(0.5, 1.5) * every * 60, end - self.loop.time()))
            self.answer()

    def answer(self) -> None:
        """Be the authority: renew credentials, and put new identity keys in the place of old ones."""
        given = [batch for topic, _partition, batch in self.world.cloud.given if topic == REQUESTS]
        for batch in given[self._answered :]:
            for value in readable(batch):
                with suppress(Rejected):
                    self._renew(value)
        self._answered = len(given)

    def _renew(self, statement: bytes) -> None:
        project = self.realm.project
        asked = request.read(statement, project.root.project_id)
        known = self.known[asked.member_id]
        asked.check_member(known, self.now(), self._asked_at.get(asked.member_id, 0))
        self._asked_at[asked.member_id] = asked.made_at
        self.admit(Asker(asked.member_id, asked.identity_key), known.name, known.site)

    def admit(self, who: Asker, name: str, site: str) -> None:
        """Sign a member's next credential, and publish it."""
        self._publish(self.realm.admit(who, name, site, self.now(), self.charter_version))

    def newcomer(self, name: str, site: str) -> Worker:
        """Admit somebody new, and start its worker."""
        mine, secrets = enrolled(self.realm, name, site, self.now(), os.urandom, self.charter_version)
        self._publish(mine)
        self.vaults[name] = Vault(secrets)
        return self.begin(name)

    def _publish(self, signed: Credential) -> None:
        self.known[signed.member_id] = signed
        self.tell(CONTROL, signed.statement, b"member/" + signed.member_id.hex().encode())

    def refuse(self, member_id: bytes, since: int) -> None:
        """Sign the next charter, which refuses a member since then (ms)."""
        self.refusals[member_id] = since
        self.sign_charter()

    def sign_charter(self, max_age: int = 0) -> None:
        """Sign and publish the next charter."""
        self.charter_version += 1
        self.tell(CONTROL, self.realm.charter(self.now(), self.charter_version, self.refusals, max_age), b"charter")
