"""Trust: who is a member, who may read, who may send, as far as statements have proven it.

A frozen value: `learn` takes a batch and gives the next one, together with what happened. The rules of acceptance are
in `learning`; here are the questions that are asked of what was accepted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.keys import charter as charters
from sealwire.keys import clocks, envelope, keypackage, primitives
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import root as roots
from sealwire.keys.credential import Memo
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.secrets import Floor, Secrets
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.keys.aside import Waiting
    from sealwire.keys.charter import CharterFields
    from sealwire.keys.clocks import Ahead
    from sealwire.keys.credential import Credential
    from sealwire.keys.events import Event
    from sealwire.keys.grant import Grant
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.primitives import Buffer
    from sealwire.keys.proofs import VerifyMany
    from sealwire.keys.root import Root
    from sealwire.keys.session import Claim, InboundSession

_MEMO_MOST: Final = 8192


@dataclass(frozen=True)
class Given:
    """A grant for us whose statement's signature was checked, and the claims it did not fit (by digest).

    Whose claim of the session is true shows only in unwrapping: a false one may even name the true signing key. So a
    grant that fitted none is kept for a claim that comes later, if the session's own key signed it.
    """

    grant: Grant
    granter: bytes | None  # a member id; None where the session's own key signed
    signer: bytes  # the digest of the key that signed
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
    root_awaited: int = 0  # the newest above ours that a charter names whose key we know, else 0
    ahead: Mapping[bytes, Ahead] = field(default_factory=dict)  # whose clock is ahead of ours, by member id
    # Answers of pure functions, remembered: the same whoever asks. Both die with the root, judgements with the charter.
    known_credentials: Memo = field(default_factory=Memo, repr=False, compare=False)
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
            charter=charters.BUILT_IN
            if source.charter is None
            else charters.remembered(source.charter, source.project_id),
            opened=dict.fromkeys(source.inbound),
            floors=dict(source.floors),
        )
        if source.credential is None:
            return trust
        # It counted when it was put there: a clock that went back must not let another one come before it.
        made_at = credentials.peek(source.credential, source.project_id).not_before
        return trust.learn([source.credential], max(now, made_at))[0]

    @property
    def project_id(self) -> bytes:
        """The project's id."""
        return self.root.project_id

    def learn(
        self, statements: Iterable[Buffer], now: int, verify_many: VerifyMany | None = None
    ) -> tuple[Trust, tuple[Event, ...]]:
        """Take a batch of statements in the order read; give the next Trust and what happened.

        Never raises for what the statements hold: one that does not count is a `Refused` event. Within the batch
        roots come first, then charters, credentials, key packages, sessions and grants. One that was accepted before is
        passed over without a word and without verifying it again. Of credentials and key packages the last come first,
        so that older ones cost no signature; `verify_many` may check signatures on several threads.
        """
        from sealwire.keys import learning  # noqa: PLC0415  (it makes Trust values: a ring, broken here)

        return learning.learn(self, statements, now, verify_many)

    def readers(self, channel: str, cloud_topic: str, now: int) -> tuple[tuple[bytes, KeyPackage], ...]:
        """Give who may read there now, by member id: valid credential, consume policy, a receiving key for now.

        A key package of an earlier credential counts for no longer than that can have held.
        """
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
        return not keypackage.outlived(self.packages[member_id], self.credentials[member_id], now)

    def may_read(self, member_id: bytes, channel: str, cloud_topic: str, now: int) -> tuple[int, int]:
        """Check that a member may read what the channel carries through this cloud topic now, or raise `Rejected`.

        Gives its admission (ms), and how far before that (ms) the channel lets it read. Reasons: unknown-member,
        expired, refused-member, not-authorised.
        """
        credential = self.member(member_id, now)
        if not self.charter.may_consume(credential.attributes, channel, cloud_topic):
            raise Rejected(Reason.NOT_AUTHORISED, f"{credential.name} may not read {channel}")
        return credential.admitted, self.charter.backfill(channel, cloud_topic)

    def may_send(self, member_id: bytes, channel: str, cloud_topic: str, now: int) -> None:
        """Check that what a member seals now for the channel and this cloud topic would count, or raise `Rejected`.

        The same Reasons as `may_read`. Of a session that is there, `may_produce` decides.
        """
        credential = self.member(member_id, now)
        if not self.charter.may_produce(credential.attributes, channel, cloud_topic):
            raise Rejected(Reason.NOT_AUTHORISED, f"{credential.name} may not send to {channel}")

    def member(self, member_id: bytes, now: int) -> Credential:
        """Give the credential of who is a member now, or raise `Rejected`.

        Reasons: unknown-member, expired (the credential, or the authority key that signed it), refused-member.
        """
        credential = self.credentials.get(member_id)
        if credential is None:
            raise Rejected(Reason.UNKNOWN_MEMBER, f"no credential of {identities.fingerprint(member_id)}")
        if not credential.valid_at(now):
            raise Rejected(Reason.EXPIRED, f"{credential.name}'s credential does not hold now")
        self.root.authority(credential.signer, credential.not_before, now)  # which may have ended since it was read
        if self.refuses(member_id, now):
            raise Rejected(Reason.REFUSED_MEMBER, f"{credential.name} is refused")
        return credential

    def bars(self, member_id: bytes, channel: str, cloud_topic: str, now: int) -> bool:
        """Tell whether a member that could read there may not any more, for another cause than time.

        The charter refuses it or no longer lets it, or the root distrusts who admitted it.
        """
        known = self.credentials.get(member_id)
        if known is None or self.refuses(member_id, now):
            return True
        return not self.charter.may_consume(known.attributes, channel, cloud_topic)

    def read_credential(self, statement: bytes, now: int) -> Credential:
        """Read a credential that stands in another statement, or raise `Rejected`; each is verified once."""
        return self.known_credentials.read(statement, self.root, now)

    def may_produce(self, inbound: InboundSession, cloud_topic: str, now: int) -> None:
        """Check that the session's sender may send to its channel through this cloud topic, or raise `Rejected`.

        Reasons: other-project, ahead, unknown-signer and distrusted (the authority key that admitted it, by now),
        refused-member, expired (the credential, when the session was made), not-authorised (by policy, or a suite or
        format below the charter's least). That the site of the credential is
        the source partition's is for opening to check (`inbound.site`). Judged once per session and cloud topic.
        """
        if inbound.made_at > now + SKEW:
            raise Rejected(Reason.AHEAD, f"a session of {inbound.made_at}, while our clock says {now}")
        key = (inbound.id, cloud_topic)
        if key not in self.judged:
            if len(self.judged) >= _MEMO_MOST:
                self.judged.clear()
            self.judged[key] = self._judge_signer(inbound) or self._judge(inbound, cloud_topic)
        refusal = self.judged[key]
        if refusal is not None:
            raise Rejected(refusal.reason, refusal.detail)

    def _judge_signer(self, inbound: InboundSession) -> Rejected | None:
        signer, date = inbound.credential_signer, inbound.credential_not_before
        try:
            if signer is not None:
                self.root.authority(signer, date, date)  # that it has ended since takes nothing back
        except Rejected as refusal:
            return Rejected(refusal.reason, refusal.detail)  # without its frames: the session's secret is in them
        return None

    def _judge(self, inbound: InboundSession, cloud_topic: str) -> Rejected | None:
        if inbound.project_id != self.project_id:
            return Rejected(Reason.OTHER_PROJECT, "a session of another project")
        if self.refuses(inbound.member_id, inbound.made_at):
            return Rejected(Reason.REFUSED_MEMBER, f"{inbound.name} is refused")
        if not inbound.credential_not_before - SKEW <= inbound.made_at <= inbound.credential_not_after:
            return Rejected(Reason.EXPIRED, f"{inbound.name}'s credential did not hold at {inbound.made_at}")
        if inbound.suite < self.charter.min_suite or self.charter.min_format > envelope.FORMAT:
            return Rejected(
                Reason.NOT_AUTHORISED, f"the charter asks for a newer suite or format than {inbound.name}'s"
            )
        if not self.charter.may_produce(inbound.attributes, inbound.channel, cloud_topic):
            return Rejected(Reason.NOT_AUTHORISED, f"{inbound.name} may not send to {inbound.channel}")
        return None

    def refuses(self, member_id: bytes, made_at: int) -> bool:
        """Tell whether the charter refuses what this member made at a time (ms)."""
        since = self.charter.refused_since(member_id)
        return since is not None and since <= made_at

    def holds(self, now: int) -> Rejected | None:
        """Say why nothing may be sealed or delivered now, or give None.

        Reasons: charter-old (its key is distrusted; a newer root or charter is known to be signed, and is not here;
        it is older than its own max_age), unknown-suite, unknown-version (it asks for what this release cannot do).
        """
        charter, mine = self.charter, self.credentials.get(self.me or b"")
        if not charters.stands(charter, self.root):
            detail = f"charter {charter.version} was signed by a key that root {self.root.version} no longer trusts"
        elif self.root_awaited:
            detail = f"a charter names root {self.root_awaited}, and root {self.root.version} is the newest known here"
        elif mine is not None and mine.charter_version > charter.version:
            detail = f"our credential is of the time of charter {mine.charter_version}, {charter.version} is known here"
        elif charter.max_age and charter.as_of + charter.max_age < now:
            detail = f"charter {charter.version} is as of {charter.as_of}, {now - charter.as_of} ms before our clock"
        elif charter.min_suite > primitives.SUITE:
            return Rejected(Reason.UNKNOWN_SUITE, f"charter {charter.version} asks for suite {charter.min_suite}")
        elif charter.min_format > envelope.FORMAT:
            return Rejected(Reason.UNKNOWN_VERSION, f"charter {charter.version} asks for format {charter.min_format}")
        else:
            return None
        return Rejected(Reason.CHARTER_OLD, detail)

    def clock(self, now: int) -> Rejected | None:
        """Say that our clock is wrong (ahead), naming the clocks, or give None.

        Only the authority and at least one other member together say so, whom the charter does not refuse: each signed
        something that was dated more than five minutes after our clock when it was heard.
        """
        return clocks.judge(self.ahead, lambda who, date: who != self.me and not self.refuses(who, date), now)

    def unwrap_new(self, secrets: Secrets, now: int) -> tuple[Trust, Secrets, tuple[Event, ...]]:  # noqa: ARG002
        """Unwrap each grant for us with each claim of its session; give the secrets to save and what happened.

        Each pair is tried once. The secrets are to be saved before they are used.
        """
        from sealwire.keys import unwrapping  # noqa: PLC0415  (it makes Trust values: a ring, broken here)

        return unwrapping.unwrap_new(self, secrets)

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
