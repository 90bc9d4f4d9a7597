"""A member's identity: an Ed25519 key, and the id that stays when the key is replaced."""

from __future__ import annotations

from dataclasses import dataclass, field

from sealwire.keys import primitives
from sealwire.keys.primitives import SEED_SIZE, Random, SigningKey


@dataclass(frozen=True)
class Identity:
    """One member of the project: its id (32 bytes, SHA-256 of its first public key) and its present signing key."""

    member_id: bytes
    signing: SigningKey = field(repr=False)
    made_at: int  # ms

    @property
    def public(self) -> bytes:
        """The identity key that credentials name, 32 bytes."""
        return self.signing.public

    @property
    def fingerprint(self) -> str:
        """What people compare: the first 16 hex digits of the member id, in fours."""
        return fingerprint(self.member_id)


def create(random: Random, now: int) -> Identity:
    """Make a new identity from 32 random bytes."""
    signing = SigningKey.from_seed(random(SEED_SIZE))
    return Identity(primitives.sha256(signing.public), signing, now)


def replace(identity: Identity, random: Random, now: int) -> Identity:
    """Make the same member's next key. It counts once the authority has signed a credential for it."""
    return Identity(identity.member_id, SigningKey.from_seed(random(SEED_SIZE)), now)


def fingerprint(member_id: bytes) -> str:
    """Write a member id (or another digest) the way people compare it, such as `1f2e-9a07-44c1-d003`."""
    text = member_id.hex()[:16]
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))
