"""A project whose administrators are at hand: three root keys of which two sign, an authority, an escrow key."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from people import BEGIN, DAY, Vault
from world import YEAR, Project

from sealwire.keys import charter, identity, keypackage, primitives, root
from sealwire.keys.charter import BUILT_IN, CharterFields, Refusal
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from sealwire.keys.identity import Identity


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


def enrolled(project: Project, name: str, site: str, now: int) -> tuple[Identity, bytes, Secrets]:
    """Admit somebody who was not there before."""
    who = identity.create(os.urandom, now)
    statement = project.admit(who, name, site, now, now)
    secrets = Secrets.begin(who).asked(project.root.project_id, project.root_bytes, b"").admitted(statement)
    if site == "paris":
        mine = project.read(statement, now)
        held, _package = keypackage.renew(who, mine, project.root.project_id, (), now, os.urandom)
        secrets = secrets.holding(held)
    return who, statement, secrets


@cache
def realm() -> Realm:
    """Two sealers in Berlin, two mirrors in Paris: made once, as keys are dear."""
    offline = [SigningKey.from_seed(os.urandom(32)) for _ in range(3)]
    authority, escrow = SigningKey.from_seed(os.urandom(32)), ReceivingKey.create(os.urandom)
    statement = root.make_first(
        "acme", offline, 2, [(authority.public, BEGIN + YEAR)], [("safe", escrow.public)], BEGIN - DAY
    )
    made = Realm(Project(authority, statement, root.read_first(statement)), offline, escrow)
    for name, site in (("s1", "berlin"), ("s2", "berlin"), ("r1", "paris"), ("r2", "paris")):
        _who, credential, secrets = enrolled(made.project, name, site, BEGIN)
        made.members[name] = (site, secrets)
        made.credentials.append(credential)
    return made
