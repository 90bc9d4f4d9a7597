"""A project with its authority, books, clock and a cloud in memory, for tests of what the authority does."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fake_log import FakeLog

from sealwire.app import project as projects
from sealwire.app.authority import Authority, Verdict
from sealwire.app.names import project_topics
from sealwire.app.office import CHARTER_KEY, Office
from sealwire.keys import charter as charters
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import ticket as tickets
from sealwire.keys.credential import Credential

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.keys.charter import CharterFields
    from sealwire.keys.identity import Identity
    from sealwire.keys.reason import Rejected
    from sealwire.keys.ticket import Ticket

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BERLIN = {"role": "member", "site": "berlin"}


@dataclass
class Desk:
    authority: Authority
    now: int
    log: FakeLog = field(default_factory=FakeLog)
    said: list[str] = field(default_factory=list)
    noted: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    @property
    def control(self) -> str:
        return project_topics("acme")[0]

    @property
    def requests(self) -> str:
        return project_topics("acme")[2]

    def note(self, event: str, **fields: object) -> None:
        self.noted.append((event, fields))

    def ticket(self, attributes: dict[str, str] | None = None, life: int = DAY) -> Ticket:
        return tickets.read(self.authority.make_ticket(attributes or BERLIN, life, "", os.urandom, self.now))

    def identity(self) -> Identity:
        return identities.create(os.urandom, self.now)

    def decide(self, request: bytes) -> Verdict:
        return self.authority.decide(request, self.now)

    def read(self, request: bytes, verdict: Verdict) -> Credential | Rejected:
        return requests.read_answer(verdict.answer, request, self.authority.project.root, self.now)

    def admit(self, name: str, attributes: dict[str, str] | None = None) -> tuple[Identity, Credential]:
        identity = self.identity()
        request = requests.ask(self.ticket(attributes), identity, name, self.now)
        credential = self.read(request, self.decide(request))
        assert isinstance(credential, Credential), credential
        return identity, credential

    def renew(self, identity: Identity, credential: Credential) -> Credential | Rejected:
        request = requests.ask_renewal(identity, credential, self.now)
        return self.read(request, self.decide(request))

    def office(self) -> Office:
        return Office(self.authority, self.log, lambda: self.now, self.said.append)

    def run_once(self) -> int:
        return self.office().run(once=True)

    def send(self, *statements: bytes) -> None:
        for statement in statements:
            self.log.publish(self.requests, b"", statement)

    def published_charter(self) -> CharterFields:
        statement = self.log.newest_by_key(self.control)[CHARTER_KEY]
        return charters.read(statement, self.authority.project.root, self.now)

    def reopened(self) -> Desk:
        """The same directory in a process of its own, on the same cloud."""
        project = projects.open_project(self.authority.project.directory)
        return Desk(Authority(project, project.books(), self.note), self.now, self.log, self.said, self.noted)


def make(directory: Path, **options: int) -> Desk:
    project = projects.create("acme", directory, **options)
    desk = Desk(Authority(project, project.books()), project.root.made_at + 1000)
    desk.authority = Authority(project, project.books(), desk.note)
    return desk
