"""Trust: who is a member, who may read, who may send, as far as statements have proven it.

A frozen value: `learn` takes a batch and gives the next one, together with what happened. The rules of acceptance are
in `learning`; here are the questions that are asked of what was accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import grant as grants
from sealwire.keys import identity as identities
from sealwire.keys import keypackage, primitives
from sealwire.keys import root as roots
from sealwire.keys.events import Event, Opened, Refused
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.secrets import Floor, Secrets
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.keys.aside import Waiting
    from sealwire.keys.charter import CharterFields
    from sealwire.keys.credential import Credential
    from sealwire.keys.grant import Grant
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.primitives import Buffer
    from sealwire.keys.root import Root
    from sealwire.keys.session import Claim, InboundSession

_MEMO_MOST: Final = 8192
_OPENED_MOST: Final = 1 << 17


@dataclass(frozen=True)
class Given:
    """A grant for us whose statement's signature was checked, and the claims it did not fit (by digest).

    Whose claim of the session is true shows only in unwrapping: a false one may even name the true signing key. So a
    grant that fitted none is kept for a claim that comes later, if the session's own key signed it.
    """

    grant: Grant
    by_session: bool
    tried: frozenset[bytes] = frozenset()


@dataclass(frozen=True)
class Trust:
    """What has been proven. Mappings are never changed once they are here."""

    root: Root
    me: bytes | None = None  # our member id; grants for others are not kept
    charter: CharterFields = charters.BUILT_IN
    credentials: Mapping[bytes, Credential] = field(default_factory=dict)  # by member id, the highest serial
    packages: Mapping[bytes, KeyPackage] = field(default_factory=dict)  # by member id, the highest (serial, made_at)
    claims: Mapping[bytes, tuple[Claim, ...]] = field(default_factory=dict)  # by session id
    given: Mapping[bytes, tuple[Given, ...]] = field(default_factory=dict)  # by session id, not unwrapped yet
    opened: Mapping[bytes, None] = field(default_factory=dict)  # session ids, oldest first
    floors: Mapping[bytes, Floor] = field(default_factory=dict)
    waiting: Mapping[bytes, Waiting] = field(default_factory=dict)  # by digest of the statement
    # Answers of pure functions, remembered: the same whoever asks. Both die with the root or the charter.
    known_credentials: dict[bytes, Credential] = field(default_factory=dict, repr=False, compare=False)
    judged: dict[tuple[bytes, str], Rejected | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def begin(cls, source: Secrets | bytes, now: int) -> Trust:
        """Begin with what a worker remembers, or with a root that is trusted already (our own, or a pinned one).

        Raises `Rejected` where a remembered statement does not pass; secrets without a root are `Misuse`.
        """
        if not isinstance(source, Secrets):
            return cls(roots.trusted(bytes(source)))
        if source.root is None or source.project_id is None:
            raise Misuse("an identity that has joined no project trusts nobody")
        trust = cls(
            roots.read_pinned(source.root, source.project_id),
            me=source.identity.member_id,
            opened=dict.fromkeys(source.inbound),
            floors=dict(source.floors),
        )
        return trust.learn([source.credential], now)[0] if source.credential is not None else trust

    @property
    def project_id(self) -> bytes:
        """The project's id."""
        return self.root.project_id

    def learn(self, statements: Iterable[Buffer], now: int) -> tuple[Trust, tuple[Event, ...]]:
        """Take a batch of statements in the order read; give the next Trust and what happened.

        Never raises for what the statements hold: one that does not count is a `Refused` event. Within the batch
        roots come first, then credentials, key packages, sessions and grants. One that was accepted before is passed
        over without a word and without verifying it again.
        """
        from sealwire.keys import learning  # noqa: PLC0415  (it makes Trust values: a ring, broken here)

        return learning.learn(self, statements, now)

    def readers(self, channel: str, cloud_topic: str, now: int) -> tuple[tuple[bytes, KeyPackage], ...]:
        """Give who may read there now, by member id: valid credential, consume policy, a receiving key for now."""
        return tuple(
            (member_id, self.packages[member_id])
            for member_id in sorted(self.packages)
            if self._may_read(member_id, channel, cloud_topic, now)
        )

    def _may_read(self, member_id: bytes, channel: str, cloud_topic: str, now: int) -> bool:
        try:
            self.may_read(member_id, channel, cloud_topic, now)
            keypackage.pick(self.packages[member_id], now)
        except Rejected:
            return False
        return True

    def may_read(self, member_id: bytes, channel: str, cloud_topic: str, now: int) -> tuple[int, int]:
        """Check that a member may read what the channel carries through this cloud topic now, or raise `Rejected`.

        Gives its admission (ms), and how far before that (ms) the channel lets it read. Reasons: unknown-member,
        expired, refused-member, not-authorised.
        """
        credential = self.credentials.get(member_id)
        if credential is None:
            raise Rejected(Reason.UNKNOWN_MEMBER, f"no credential of {identities.fingerprint(member_id)}")
        if not credential.valid_at(now):
            raise Rejected(Reason.EXPIRED, f"{credential.name}'s credential does not hold now")
        if self.refuses(member_id, now):
            raise Rejected(Reason.REFUSED_MEMBER, f"{credential.name} is refused")
        if not self.charter.may_consume(credential.attributes, channel, cloud_topic):
            raise Rejected(Reason.NOT_AUTHORISED, f"{credential.name} may not read {channel}")
        return credential.admitted, self.charter.backfill(channel, cloud_topic)

    def read_credential(self, statement: bytes, now: int) -> Credential:
        """Read a credential that stands in another statement, or raise `Rejected`; each is verified once."""
        digest = primitives.digest(statement)
        known = self.known_credentials.get(digest)
        if known is not None:
            self.root.authority(known.signer, known.not_before, now)
            return known
        known = credentials.read(statement, self.root, now)
        if len(self.known_credentials) >= _MEMO_MOST:
            self.known_credentials.clear()
        self.known_credentials[digest] = known
        return known

    def may_produce(self, inbound: InboundSession, cloud_topic: str, now: int) -> None:
        """Check that the session's sender may send to its channel through this cloud topic, or raise `Rejected`.

        Reasons: other-project, ahead, refused-member, expired (the credential, when the session was made),
        not-authorised. That the site of the credential is the source partition's is for opening to check
        (`inbound.site`). Judged once per session and cloud topic.
        """
        if inbound.made_at > now + SKEW:
            raise Rejected(Reason.AHEAD, f"a session of {inbound.made_at}, while our clock says {now}")
        key = (inbound.id, cloud_topic)
        if key not in self.judged:
            if len(self.judged) >= _MEMO_MOST:
                self.judged.clear()
            self.judged[key] = self._judge(inbound, cloud_topic)
        refusal = self.judged[key]
        if refusal is not None:
            raise Rejected(refusal.reason, refusal.detail)

    def _judge(self, inbound: InboundSession, cloud_topic: str) -> Rejected | None:
        if inbound.project_id != self.project_id:
            return Rejected(Reason.OTHER_PROJECT, "a session of another project")
        if self.refuses(inbound.member_id, inbound.made_at):
            return Rejected(Reason.REFUSED_MEMBER, f"{inbound.name} is refused")
        if not inbound.credential_not_before - SKEW <= inbound.made_at <= inbound.credential_not_after:
            return Rejected(Reason.EXPIRED, f"{inbound.name}'s credential did not hold at {inbound.made_at}")
        if not self.charter.may_produce(inbound.attributes, inbound.channel, cloud_topic):
            return Rejected(Reason.NOT_AUTHORISED, f"{inbound.name} may not send to {inbound.channel}")
        return None

    def refuses(self, member_id: bytes, made_at: int) -> bool:
        """Tell whether the charter refuses what this member made at a time (ms)."""
        return any(row.member_id == member_id and made_at >= row.since for row in self.charter.refusals)

    def unwrap_new(self, secrets: Secrets, now: int) -> tuple[Trust, Secrets, tuple[Event, ...]]:  # noqa: ARG002
        """Unwrap each grant for us with each claim of its session; give the secrets to save and what happened.

        Each pair is tried once. The secrets are to be saved before they are used.
        """
        events: list[Event] = []
        proven: dict[bytes, InboundSession] = {}
        left: dict[bytes, tuple[Given, ...]] = {}
        for session_id, given in self.given.items():
            if session_id in secrets.inbound:
                continue
            kept = []
            for each in given:
                session = self._try(each, session_id, secrets, events)
                if session is not None:
                    proven[session_id] = session
                    events.append(Opened(session))
                    break
                if each.by_session:
                    tried = frozenset(claim.digest for claim in self.claims_of(session_id))
                    kept.append(each if tried <= each.tried else replace(each, tried=each.tried | tried))
            if kept and session_id not in proven:
                left[session_id] = tuple(kept)
        if not proven and left == self.given:
            return self, secrets, tuple(events)
        opened = {**self.opened, **dict.fromkeys(proven)}
        for oldest in list(opened)[: max(0, len(opened) - _OPENED_MOST)]:
            del opened[oldest]
        claims = {session_id: claim for session_id, claim in self.claims.items() if session_id not in opened}
        after = replace(self, opened=opened, claims=claims, given=left)
        return after, secrets.remember(*proven.values()), tuple(events)

    def _try(self, given: Given, session_id: bytes, secrets: Secrets, events: list[Event]) -> InboundSession | None:
        refusal = None
        for claim in self.claims_of(session_id):
            if claim.digest in given.tried:
                continue
            try:
                return grants.unwrap(given.grant, claim, secrets.held)
            except Rejected as caught:
                refusal = caught
        if refusal is not None:
            digest = primitives.digest(given.grant.enc, given.grant.ciphertext)
            events.append(Refused(refusal.reason, refusal.detail, digest))
        return None

    def claims_of(self, session_id: bytes) -> tuple[Claim, ...]:
        """Give the claims of a session that is not opened: it is known, but not granted to us (yet)."""
        return self.claims.get(session_id, ())

    def credential_of(self, member_id: bytes) -> Credential | None:
        """Give a member's newest credential."""
        return self.credentials.get(member_id)

    def name_of(self, member_id: bytes) -> str:
        """Give a member's name, or the fingerprint of one that is not known."""
        credential = self.credentials.get(member_id)
        return identities.fingerprint(member_id) if credential is None else credential.name
