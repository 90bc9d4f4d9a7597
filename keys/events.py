"""What learning a batch of statements brought: values for logs, counters and the next steps of a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.keys import primitives

if TYPE_CHECKING:
    from sealwire.keys.charter import Refusal
    from sealwire.keys.credential import Credential
    from sealwire.keys.reason import Reason
    from sealwire.keys.session import InboundSession


@dataclass(frozen=True)
class Refused:
    """A statement that does not count, or a grant for us that nothing unwraps: `content` is all of its bytes."""

    reason: Reason
    detail: str
    content: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """H over its bytes. Made when asked for: old key packages are refused by the ten thousand, and few are told."""
        return primitives.digest(self.content)


@dataclass(frozen=True)
class Waits:
    """A statement that cannot be judged yet: dated ahead, or what it rests on is not known. Judged again by itself."""

    reason: Reason
    detail: str
    digest: bytes


@dataclass(frozen=True)
class Skipped:
    """A statement that is for somebody else to read: its type's name, or the number of one that is not known."""

    type: str


@dataclass(frozen=True)
class Rooted:
    """A newer root counts. `dropped` members are no longer known under it: their authority key is distrusted.

    `unproven` are the members whose floors were given up: see `acceptance.root`.
    """

    version: int
    statement: bytes = field(repr=False)
    dropped: tuple[bytes, ...] = ()
    unproven: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Chartered:
    """A newer charter counts. Without `changed` it says what the one before said, as of a later time.

    `refused` are the rows that refuse somebody, or from an earlier time on, whom the one before did not.
    """

    version: int
    as_of: int  # ms
    changed: bool
    refused: tuple[Refusal, ...]
    statement: bytes = field(repr=False)


@dataclass(frozen=True)
class Admitted:
    """A newer credential counts: of a new member, or one renewed. `replaced`: it names another identity key."""

    credential: Credential
    new: bool
    replaced: bool = False


@dataclass(frozen=True)
class KeysAnnounced:
    """A newer key package counts. `new` where none was known of this member.

    `anew` where it has another receiving key for a window that was announced before: the member replaced its receiving
    keys or has lost its vault, and with that the sessions that were granted to it.
    """

    member_id: bytes
    new: bool
    anew: bool = False


@dataclass(frozen=True)
class Claimed:
    """A session statement stands; its secret is not proven yet. `digest` is the statement's."""

    session_id: bytes
    member_id: bytes
    channel: str
    made_at: int
    digest: bytes


@dataclass(frozen=True)
class Granted:
    """A grant addressed to us stands, of a session that is claimed: `Trust.unwrap_new` opens it."""

    session_id: bytes


@dataclass(frozen=True)
class Opened:
    """A session was granted to us and proven; it is in the secrets that came with this."""

    session: InboundSession


Event = Refused | Waits | Skipped | Rooted | Chartered | Admitted | KeysAnnounced | Claimed | Granted | Opened
