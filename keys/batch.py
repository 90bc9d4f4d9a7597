"""A batch of statements on its way: the only place where what is trusted changes, until it gives the next Trust."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from sealwire.keys import credential as credentials
from sealwire.keys.aside import Aside, Later
from sealwire.keys.changing import Changing
from sealwire.keys.clocks import AUTHORITY, Ahead
from sealwire.keys.events import Event, Refused, Waits
from sealwire.keys.proofs import Proofs
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import SKEW, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.keys.credential import Credential
    from sealwire.keys.proofs import VerifyMany
    from sealwire.keys.trust import Trust

T = TypeVar("T")


class Batch:
    """What is trusted while a batch is judged. The Trust given stays as it is."""

    def __init__(self, trust: Trust, now: int, verify_many: VerifyMany | None = None) -> None:
        """Begin with what a Trust has."""
        self.before: Final = trust
        self.now: Final = now
        self.proofs: Final = Proofs(verify_many)
        self.events: list[Event] = []
        self.aside = Aside(trust.waiting)
        self.root = trust.root
        self.charter = trust.charter
        self.root_awaited = trust.root_awaited
        self.credentials = Changing(trust.credentials)
        self.packages = Changing(trust.packages)
        self.claims = Changing(trust.claims)
        self.given = Changing(trust.given)
        self.floors = Changing(trust.floors)
        self.ahead = Changing(trust.ahead)
        self.known_credentials = trust.known_credentials
        self.judged = trust.judged
        self.news_of: set[bytes] = set()  # members and sessions that this batch brought something of

    def result(self) -> Trust:
        """Give the Trust that the batch made."""
        return replace(
            self.before,
            root=self.root,
            charter=self.charter,
            root_awaited=self.root_awaited,
            credentials=self.credentials.result,
            packages=self.packages.result,
            claims=self.claims.result,
            given=self.given.result,
            floors=self.floors.result,
            ahead=self.ahead.result,
            waiting=self.aside.waiting,
            known_credentials=self.known_credentials,
            judged=self.judged,
        )

    def awaited(self, kind: Type) -> list[bytes]:
        """Take the statements of a type that waited and may be judged now."""
        return self.aside.take_ready(kind, self.now, self.news_of, new_root=self.root is not self.before.root)

    def put_aside(self, later: Later, kind: Type, statement: bytes) -> None:
        """Let a statement wait."""
        digest, dropped = self.aside.put(later, kind, statement)
        self.events.extend(Refused(Reason.TOO_MANY, "too many statements wait", each) for each in dropped)
        if digest is not None:
            self.events.append(Waits(later.reason, later.detail, digest))

    def refuse(self, refusal: Rejected, statement: bytes) -> None:
        """Say that a statement does not count."""
        self.events.append(Refused(refusal.reason, refusal.detail, statement))

    def read_credential(self, statement: bytes) -> Credential:
        """Read a credential, alone or inside a session statement; raises `Rejected` or `Later`."""

        def read(now: int) -> Credential:
            return self.known_credentials.read(statement, self.root, now, self.proofs)

        said = credentials.peek(statement, self.root.project_id)
        return self.of_authority(read, said.not_before, said.root_version)

    def of_authority(self, read: Callable[[int], T], date: int, root_version: int) -> T:
        """Read a statement of the authority, or raise `Rejected`; `Later` where a later clock or root may tell more."""
        try:
            try:
                return read(self.now)
            except Rejected as refusal:
                if refusal.reason is not Reason.AHEAD:
                    raise
                read(date)  # whose date is not believed is proven all the same: only then does it wait
                self.said_ahead(AUTHORITY, date)
                raise Later(Reason.AHEAD, refusal.detail, after=date) from None
        except Rejected as refusal:
            if refusal.reason is Reason.UNKNOWN_SIGNER and root_version > self.root.version:
                raise Later(Reason.UNKNOWN_SIGNER, f"needs root {root_version}") from None
            raise

    def of_member(self, read: Callable[[int], T], date: int, who: Callable[[T], bytes]) -> T:
        """Read a statement that a member signed, or raise `Rejected`; `Later` where it is ahead of our clock."""
        try:
            return read(self.now)
        except Rejected as refusal:
            if refusal.reason is not Reason.AHEAD:
                raise
            self.said_ahead(who(read(date)), date)
            raise Later(Reason.AHEAD, refusal.detail, after=date) from None

    def said_ahead(self, who: bytes, date: int) -> None:
        """Take note of somebody whose clock, by what it signed, is ahead of ours: see `Trust.clock`."""
        self.ahead[who] = Ahead(date, self.now)

    def said_now(self, who: bytes, date: int) -> None:
        """Take note of what somebody dated later than it was heard to be ahead: its clock is ahead no more."""
        if who in self.ahead and self.ahead[who].heard_at < date <= self.now + SKEW:
            del self.ahead[who]
