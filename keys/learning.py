"""The rules of acceptance: what a batch of statements changes in what is trusted.

Every rule in its place: a statement that was accepted before costs a comparison; an outdated one is refused before its
signature is looked at; a signature is verified once. What rests on something not known yet is put aside (bounded) and
judged again when that comes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealwire.keys import credential as credentials
from sealwire.keys import grant as grants
from sealwire.keys import keypackage, primitives, wire
from sealwire.keys import root as roots
from sealwire.keys import session as sessions
from sealwire.keys.aside import Aside, Later
from sealwire.keys.events import Admitted, Claimed, Event, Granted, KeysAnnounced, Refused, Rooted, Skipped, Waits
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Floor
from sealwire.keys.trust import Given, Trust
from sealwire.keys.wire import ENTRY_SIZE, SKEW, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.keys.credential import Credential
    from sealwire.keys.grant import GrantsFields
    from sealwire.keys.primitives import Buffer
    from sealwire.keys.session import Claim
    from sealwire.keys.wire import Frame

CLAIMS_PER_ID: Final = 4
CLAIMS_MOST: Final = 32768
GIVEN_PER_ID: Final = 8
_MEMO_MOST: Final = 8192

_ORDER: Final = (Type.ROOT, Type.CREDENTIAL, Type.KEY_PACKAGE, Type.SESSION, Type.GRANTS)


def learn(trust: Trust, statements: Iterable[Buffer], now: int) -> tuple[Trust, tuple[Event, ...]]:
    """Give the Trust after a batch, and what happened: see `Trust.learn`."""
    batch = _Batch(trust, now)
    for statement in statements:
        batch.sort_in(bytes(statement))  # no copy where it is bytes already
    batch.judge_all()
    return batch.result(), tuple(batch.events)


class _Batch:
    """One batch on its way: the only place where what is trusted changes. Each dict is copied once a batch."""

    def __init__(self, trust: Trust, now: int) -> None:
        self.before = trust
        self.now = now
        self.events: list[Event] = []
        self.queues: dict[Type, list[bytes]] = {kind: [] for kind in _ORDER}
        self.aside = Aside(trust.waiting)
        self.root = trust.root
        self.credentials = dict(trust.credentials)
        self.packages = dict(trust.packages)
        self.claims = dict(trust.claims)
        self.given = dict(trust.given)
        self.floors = dict(trust.floors)
        self.known_credentials = trust.known_credentials
        self.judged = trust.judged
        self.news_of: set[bytes] = set()  # members and sessions that this batch brought something of

    def sort_in(self, statement: bytes) -> None:
        """Put a statement with its like; refuse at once what is no statement."""
        try:
            kind = wire.type_of(statement)
        except Rejected as refusal:
            if refusal.reason is Reason.UNKNOWN_TYPE:
                self.events.append(Skipped(str(statement[2])))
            else:
                self._refuse(refusal, statement)
            return
        if kind not in self.queues:
            self.events.append(Skipped(kind.name.lower()))
        elif statement[3] != wire.VERSION:
            self.events.append(Skipped(f"{kind.name.lower()} version {statement[3]}"))
        else:
            self.queues[kind].append(statement)

    def judge_all(self) -> None:
        """Judge type by type, each after those that it rests on."""
        rules = {
            Type.ROOT: self._root,
            Type.CREDENTIAL: self._credential,
            Type.KEY_PACKAGE: self._package,
            Type.SESSION: self._session,
            Type.GRANTS: self._grants,
        }
        for kind in _ORDER:
            statements = self._awaited(kind) + self.queues[kind]
            while statements:
                if kind is Type.ROOT:
                    statements.sort(key=_version)
                known = self.root
                for statement in statements:
                    self._judge(rules[kind], kind, statement)
                statements = self._awaited(kind) if self.root is not known else []

    def _judge(self, rule: Callable[[bytes], None], kind: Type, statement: bytes) -> None:
        try:
            rule(statement)
        except Rejected as refusal:
            self._refuse(refusal, statement)
        except Later as later:
            self._put_aside(later, kind, statement)

    def result(self) -> Trust:
        """Give the Trust that the batch made."""
        return replace(
            self.before,
            root=self.root,
            credentials=self.credentials,
            packages=self.packages,
            claims=self.claims,
            given=self.given,
            floors=self.floors,
            waiting=self.aside.waiting,
            known_credentials=self.known_credentials,
            judged=self.judged,
        )

    def _awaited(self, kind: Type) -> list[bytes]:
        return self.aside.take_ready(kind, self.now, self.news_of, new_root=self.root is not self.before.root)

    def _put_aside(self, later: Later, kind: Type, statement: bytes) -> None:
        digest, dropped = self.aside.put(later, kind, statement)
        self.events.extend(Refused(Reason.TOO_MANY, "too many statements wait", each) for each in dropped)
        if digest is not None:
            self.events.append(Waits(later.reason, later.detail, digest))

    def _refuse(self, refusal: Rejected, statement: bytes) -> None:
        self.events.append(Refused(refusal.reason, refusal.detail, primitives.digest(statement)))

    # -- the rules, type by type

    def _root(self, statement: bytes) -> None:
        version = roots.version(statement)
        if version < self.root.version or statement == self.root.statement:
            return  # the descent of what counts now: checked when it was new
        if version == self.root.version:
            raise Rejected(Reason.FORK, f"another root {version}")
        if version > self.root.version + 1:
            raise Later(Reason.OUTDATED, f"root {version}, while {self.root.version} is known")
        root = roots.read_next(statement, self.root)
        if root.made_at > self.now + SKEW:
            raise Later(Reason.AHEAD, f"a root of {root.made_at}, our clock says {self.now}", after=root.made_at)
        self.root = root
        self.known_credentials, self.judged = {}, {}
        dropped = [each for each in self.credentials.values() if not self._stands(each)]
        for each in dropped:
            del self.credentials[each.member_id]
            self.packages.pop(each.member_id, None)
        self.claims = {
            session_id: kept
            for session_id, claims in self.claims.items()
            if (kept := tuple(claim for claim in claims if self._stands(claim.sender)))
        }
        self.given = {session_id: given for session_id, given in self.given.items() if session_id in self.claims}
        self.events.append(Rooted(root.version, statement, tuple(each.member_id for each in dropped)))

    def _stands(self, credential: Credential) -> bool:
        try:
            self.root.authority(credential.signer, credential.not_before, self.now)
        except Rejected:
            return False
        return True

    def _read_credential(self, statement: bytes) -> Credential:
        """Read a credential, alone or inside a session statement; verify each once."""
        digest = primitives.digest(statement)
        known = self.known_credentials.get(digest)
        if known is not None:
            self.root.authority(known.signer, known.not_before, self.now)
            return known
        try:
            known = credentials.read(statement, self.root, self.now)
        except Rejected as refusal:
            if refusal.reason is Reason.AHEAD:
                said = credentials.peek(statement, self.root.project_id)
                raise Later(Reason.AHEAD, refusal.detail, after=said.not_before) from None
            if refusal.reason is Reason.UNKNOWN_SIGNER:
                said = credentials.peek(statement, self.root.project_id)
                if said.root_version > self.root.version:
                    raise Later(Reason.UNKNOWN_SIGNER, f"needs root {said.root_version}") from None
            raise
        if len(self.known_credentials) >= _MEMO_MOST:
            self.known_credentials.clear()
        self.known_credentials[digest] = known
        return known

    def _credential(self, statement: bytes) -> None:
        said = credentials.peek(statement, self.root.project_id)
        known = self.credentials.get(said.member_id)
        if known is not None and known.statement == statement:
            return
        floor = self.floors.get(said.member_id, Floor())
        if said.serial < floor.credential_serial:
            raise Rejected(Reason.OUTDATED, f"credential {said.serial} of {said.name}, after {floor.credential_serial}")
        credential = self._read_credential(statement)
        if known is not None and known.serial == credential.serial:
            raise Rejected(Reason.FORK, f"another credential {said.serial} of {said.name}")
        self.credentials[said.member_id] = credential
        self.floors[said.member_id] = floor._replace(credential_serial=credential.serial)
        self.news_of.add(said.member_id)
        self.events.append(Admitted(credential, known is None))

    def _package(self, statement: bytes) -> None:
        said = keypackage.peek(statement, self.root.project_id)
        name = said.member_id.hex()[:16]
        known = self.packages.get(said.member_id)
        age = (said.serial, said.made_at)
        if known is not None and (known.serial, known.made_at) == age and known.entry == statement[-ENTRY_SIZE:]:
            if known.digest == wire.statement_digest(statement):
                return
            raise Rejected(Reason.BAD_SIGNATURE, "a known signature under other content")
        floor = self.floors.get(said.member_id, Floor())
        if age < (floor.package_serial, floor.package_made_at):
            raise Rejected(Reason.OUTDATED, f"a key package of {name}, older than the one known")
        credential = self.credentials.get(said.member_id)
        if credential is None or said.serial > credential.serial:
            raise Later(Reason.UNKNOWN_MEMBER, f"no credential {said.serial} of {name} yet", member=said.member_id)
        try:
            package = keypackage.read(statement, self.root.project_id, credential, self.now)
        except Rejected as refusal:
            if refusal.reason is Reason.AHEAD:
                raise Later(Reason.AHEAD, refusal.detail, after=said.made_at) from None
            raise
        if known is not None and (known.serial, known.made_at) == age:
            raise Rejected(Reason.FORK, f"another key package of {name} of the same time")
        self.packages[said.member_id] = package
        self.floors[said.member_id] = floor._replace(package_serial=package.serial, package_made_at=package.made_at)
        self.events.append(KeysAnnounced(said.member_id, known is None))

    def _session(self, statement: bytes) -> None:
        said = sessions.peek(statement, self.root.project_id)
        if said.id in self.before.opened:
            return  # proven already: no other claim can be
        claims = self.claims.get(said.id, ())
        if any(
            claim.entry == statement[-ENTRY_SIZE:] and claim.digest == wire.statement_digest(statement)
            for claim in claims
        ):
            return
        if len(claims) >= CLAIMS_PER_ID:
            raise Rejected(Reason.TOO_MANY, f"session {said.id.hex()[:16]} is claimed {len(claims)} times already")
        try:
            claim = sessions.read(statement, self.root.project_id, self._read_credential, self.now)
        except Rejected as refusal:
            if refusal.reason is Reason.AHEAD:
                raise Later(Reason.AHEAD, refusal.detail, after=said.made_at) from None
            raise
        if not claims and len(self.claims) >= CLAIMS_MOST:
            oldest = next(iter(self.claims))
            del self.claims[oldest]
            self.given.pop(oldest, None)
        self.claims[said.id] = (*claims, claim)
        self.news_of.add(said.id)
        self.events.append(Claimed(said.id, claim.sender.member_id, said.channel, said.made_at, claim.digest))

    def _grants(self, statement: bytes) -> None:
        fields, frame = grants.read(statement, self.root.project_id)
        mine = fields.addressed_to(self.before.me) if self.before.me is not None else ()
        session_id = fields.session_id
        if not mine or session_id in self.before.opened:
            return
        claims = self.claims.get(session_id, ())
        known = self.given.get(session_id, ())
        held = {each.grant for each in known}
        if all(grant in held for grant in mine):
            return
        if not claims:
            raise Later(Reason.UNKNOWN_SESSION, f"session {session_id.hex()[:16]}", session=session_id)
        by_session = fields.granter is None
        if sum(each.by_session == by_session for each in known) >= GIVEN_PER_ID:
            raise Rejected(Reason.TOO_MANY, f"session {session_id.hex()[:16]} has {len(known)} grants for us already")
        self._check_grants(fields, frame, claims)
        self.given[session_id] = (*known, *(Given(grant, by_session) for grant in mine if grant not in held))
        self.events.append(Granted(session_id))

    def _check_grants(self, fields: GrantsFields, frame: Frame, claims: tuple[Claim, ...]) -> None:
        """Check that a claim's session key signed, or a granter of our own site. It only stops floods."""
        session = fields.session_id.hex()[:16]
        if fields.granter is not None:
            granter, we = self.credentials.get(fields.granter), self.credentials.get(self.before.me or b"")
            if granter is not None and we is not None and granter.site != we.site:
                raise Rejected(Reason.NOT_AUTHORISED, f"{granter.name} grants session {session} to another site")
            grants.check(fields, frame, claims[0], None if granter is None else granter.identity_key)
            return
        keys = {claim.verifying_key: claim for claim in claims}
        for claim in keys.values():
            try:
                grants.check(fields, frame, claim)
            except Rejected as refusal:
                if refusal.reason is not Reason.UNKNOWN_SIGNER:
                    raise
            else:
                return
        # The true claim may be the one that has not come yet: the cloud chooses the order.
        raise Later(
            Reason.UNKNOWN_SIGNER, f"not signed in session {session} as it is claimed", session=fields.session_id
        )


def _version(statement: bytes) -> int:
    try:
        return roots.version(statement)
    except Rejected:
        return 0
