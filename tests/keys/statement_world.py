"""A small project for the tests of statements: an authority, a sender and a reader, with their own statements."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.keys import credential, identity, keypackage, root, session
from sealwire.keys.primitives import SigningKey
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity
    from sealwire.keys.keypackage import HeldKey
    from sealwire.keys.session import OutboundSession

NOW = 1_800_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY


class Draws:
    """Random bytes that are the same on every run."""

    def __init__(self, seed: str = "draws") -> None:
        self.seed, self.drawn = seed, 0

    def __call__(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(f"{self.seed}/{self.drawn}".encode()).digest(size)


def signing(name: str) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


OFFLINE = [signing(f"root {number}") for number in range(3)]
AUTHORITY = signing("authority")
ROOT_BYTES = root.make_first("acme", OFFLINE, 2, [(AUTHORITY.public, NOW + YEAR)], [], NOW)
ROOT = root.read_first(ROOT_BYTES)
PROJECT = ROOT.project_id


@dataclass(frozen=True)
class Member:
    """A member, with what it has been given and what it holds."""

    identity: Identity
    credential_bytes: bytes
    credential: Credential
    held: tuple[HeldKey, ...]
    package: bytes

    @property
    def id(self) -> bytes:
        return self.identity.member_id

    @property
    def secrets(self) -> Secrets:
        asked = Secrets.begin(self.identity).asked(PROJECT, ROOT_BYTES, b"")
        return asked.admitted(self.credential_bytes).holding(self.held)

    def session(self, channel: str = "orders", now: int = NOW, number: int = 1) -> tuple[OutboundSession, bytes]:
        draws = Draws(f"{self.credential.name} {channel} {now} {number}")
        return session.start(self.identity, self.credential_bytes, PROJECT, channel, 0, number, now, draws)


def admit(
    who: Identity, name: str, *, serial: int = 1, now: int = NOW, site: str | None = None, role: str = "member"
) -> bytes:
    return credential.make(
        ROOT,
        AUTHORITY,
        member_id=who.member_id,
        identity_key=who.public,
        name=name,
        attributes={"role": role, "site": site or name},
        serial=serial,
        now=now,
    )


def member(name: str, *, site: str | None = None, role: str = "member", now: int = NOW) -> Member:
    who = identity.create(Draws(name), now)
    credential_bytes = admit(who, name, site=site, role=role, now=now)
    mine = credential.read(credential_bytes, ROOT, now)
    held, package = keypackage.renew(who, mine, PROJECT, (), now, Draws(f"{name} keys"))
    assert package is not None
    return Member(who, credential_bytes, mine, held, package)


ANNA = member("anna", site="berlin")
BERT = member("bert", site="paris")


def flips(statement: bytes, step: int = 1) -> list[bytes]:
    """Every statement with one bit altered; with `step`, one bit in every so many bytes, each bit position in turn."""
    altered = []
    for count, at in enumerate(range(0, len(statement), step)):
        for bit in range(8) if step == 1 else (count % 8,):
            changed = bytearray(statement)
            changed[at] ^= 1 << bit
            altered.append(bytes(changed))
    return altered
