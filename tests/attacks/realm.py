"""A project whose administrators are at hand: three root keys of which two sign, an authority, an escrow key."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from people import BEGIN, DAY, Vault
from world import BEFORE, YEAR, Project

from sealwire.keys import charter, credential, identity, keypackage, primitives, root
from sealwire.keys.charter import BUILT_IN, CharterFields, Refusal
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.root import RootFields
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential
    from sealwire.keys.primitives import Random as Draws


class Asker(NamedTuple):
    """Whom a credential is for."""

    member_id: bytes
    public: bytes


@dataclass
class Realm:
    """What `people.People` gives the simulation, and the hands that sign."""

    project: Project
    offline: list[SigningKey]
    escrow: ReceivingKey
    members: dict[str, tuple[str, Secrets]] = field(default_factory=dict)
    credentials: list[bytes] = field(default_factory=list)
    foreign: None = None

    def vault(self, name: str) -> Vault:
        """What a member remembers in the beginning."""
        return Vault(self.members[name][1])

    def admit(self, who: Asker, name: str, site: str, now: int, charter_version: int) -> Credential:
        """Sign a member's next credential."""
        project = self.project
        serial = project.serials[who.member_id] = project.serials.get(who.member_id, 0) + 1
        statement = credential.make(
            project.root,
            project.authority,
            member_id=who.member_id,
            identity_key=who.public,
            name=name,
            attributes={"role": "member", "site": site},
            serial=serial,
            now=now,
            admitted=BEFORE,  # before the records that the simulation makes, or none of them is sealed again
            charter_version=charter_version,
        )
        return project.read(statement, now)

    def root_without_escrow(self, now: int) -> bytes:
        """Sign the next root, which names nobody in escrow."""
        known = self.project.root
        fields = RootFields(*(getattr(known, name) for name in RootFields.__struct_fields__))
        return root.make_next(known, msgspec.structs.replace(fields, escrow=(), made_at=now), self.offline[:2])

    def charter(self, now: int, version: int, refusals: dict[bytes, int], max_age: int = 0) -> bytes:
        """Sign a charter that refuses these members since then (ms)."""
        fields = CharterFields(
            version=version,
            as_of=now,
            root_version=self.project.root.version,
            policies=BUILT_IN.policies,
            refusals=tuple(Refusal(member_id, since, "stolen") for member_id, since in sorted(refusals.items())),
            min_suite=primitives.SUITE,
            min_format=1,
            max_age=max_age,
        )
        return charter.make(self.project.root, self.project.authority, fields)


def enrolled(
    made: Realm, name: str, site: str, now: int, random: Draws, charter_version: int = 0
) -> tuple[Credential, Secrets]:
    """Admit somebody who was not there before."""
    who, project = identity.create(random, now), made.project
    mine = made.admit(Asker(who.member_id, who.public), name, site, now, charter_version)
    secrets = Secrets.begin(who).asked(project.root.project_id, project.root_bytes, b"").admitted(mine.statement)
    if site == "paris":
        held, _package = keypackage.renew(who, mine, project.root.project_id, (), now, random)
        secrets = secrets.holding(held)
    return mine, secrets


@cache
def realm() -> Realm:
    """Two sealers in Berlin, two mirrors in Paris: made once, as keys are dear.

    Their dice are no run's: one of the same seed would draw what is a receiving key here for a session secret there.
    """
    draw = Random(f"{os.environ['SEED']} realm").randbytes
    offline = [SigningKey.from_seed(draw(32)) for _ in range(3)]
    authority, escrow = SigningKey.from_seed(draw(32)), ReceivingKey.create(draw)
    statement = root.make_first(
        "acme", offline, 2, [(authority.public, BEGIN + YEAR)], [("safe", escrow.public)], BEGIN - DAY
    )
    made = Realm(Project(authority, statement, root.read_first(statement)), offline, escrow)
    for name, site in (("s1", "berlin"), ("s2", "berlin"), ("r1", "paris"), ("r2", "paris")):
        mine, secrets = enrolled(made, name, site, BEGIN, draw)
        made.members[name] = (site, secrets)
        made.credentials.append(mine.statement)
    return made
