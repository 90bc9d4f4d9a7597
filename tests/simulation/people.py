"""Who there is, made once: their keys are dear. A run begins with what they remember then."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from hand import Foreign
from world import Project, Store

from sealwire.keys import envelope, grant, identity, keypackage, session
from sealwire.keys.inner import LOG_START, Compression, Inner, Kind, Layout
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from sealwire.keys.identity import Identity

BEGIN = 1_800_000_000_000  # ms: when every run begins
DAY = 24 * 3600 * 1000


class Vault(Store):
    """Secrets at rest, as values: nothing of them changes, so nothing has to be written and read back."""

    def load(self) -> Secrets:
        return self.secrets


@dataclass(frozen=True)
class People:
    """A project, its members by name with their site, their credentials, and a stranger's bytes."""

    project: Project
    members: dict[str, tuple[str, Secrets]]
    credentials: list[bytes]
    foreign: Foreign

    def vault(self, name: str) -> Vault:
        """What a member remembers in the beginning."""
        return Vault(self.members[name][1])


def _enrolled(project: Project, name: str, site: str) -> tuple[Identity, bytes, Secrets]:
    who = identity.create(os.urandom, BEGIN - DAY)
    statement = project.admit(who, name, site, BEGIN - DAY // 24)
    secrets = Secrets.begin(who).asked(project.root.project_id, project.root_bytes, b"").admitted(statement)
    if site == "paris":
        credential = project.read(statement, BEGIN)
        held, _package = keypackage.renew(who, credential, project.root.project_id, (), BEGIN, os.urandom)
        secrets = secrets.holding(held)
    return who, statement, secrets


@cache
def people() -> People:
    """Two sealers in Berlin, two mirrors in Paris, and another project that shares the cloud."""
    project = Project.make(BEGIN - DAY)
    members, credentials = {}, []
    for name, site in (("s1", "berlin"), ("s2", "berlin"), ("r1", "paris"), ("r2", "paris")):
        _who, statement, secrets = _enrolled(project, name, site)
        members[name] = (site, secrets)
        credentials.append(statement)
    return People(project, members, credentials, _foreign())


def _foreign() -> Foreign:
    """Another project with the same names everywhere."""
    project = Project.make(BEGIN - DAY)
    sender, sent, _ = _enrolled(project, "s1", "berlin")
    reader, received, secrets = _enrolled(project, "r1", "paris")
    credential = project.read(received, BEGIN)
    package = keypackage.announce(reader, credential, project.root.project_id, secrets.held, BEGIN)
    read = keypackage.read(package, project.root.project_id, credential, BEGIN)
    outbound, statement = session.start(sender, sent, project.root.project_id, "orders", 0, 1, BEGIN, os.urandom)
    grants = grant.wrap(outbound, ((reader.member_id, read),), 1, BEGIN, os.urandom, used={})
    envelopes = []
    for partition in range(2):
        inner = Inner(
            kind=Kind.RECORDS,
            layout=Layout.BATCH,
            compression=Compression.NONE,
            flags=LOG_START,
            site="berlin",
            topic="orders",
            topic_id=bytes(16),
            partition=partition,
            first=0,
            next=1,
            last_stable=1,
            leader_epoch=0,
            sealed_at=BEGIN,
            record_count=0,
            batch_count=0,
            uncompressed_size=0,
        )
        place = envelope.Place(project.root.project_id, "orders", "acme.orders", partition)
        out = bytearray(envelope.sealed_size(inner, 0))
        envelope.seal(outbound, place, inner, [], os.urandom, memoryview(out))
        envelopes.append(bytes(out))
    return Foreign(envelopes, [project.root_bytes, sent, received, package, statement, *grants])
