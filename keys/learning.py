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
from sealwire.keys.events import Admitted, Claimed, Event, Granted, KeysAnnounced, Refused, Rooted, Skipped, Waits
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Floor
from sealwire.keys.trust import Given, Trust, Waiting
from sealwire.keys.wire import ENTRY_SIZE, SKEW, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.credential import Credential

CLAIMS_PER_ID: Final = 4
CLAIMS_MOST: Final = 32768
GIVEN_PER_ID: Final = 8
WAITING_MOST: Final = 1024
WAITING_BYTES: Final = 16 << 20
WAITING_PER_CAUSE: Final = 4
_MEMO_MOST: Final = 8192

_ORDER: Final = (Type.ROOT, Type.CREDENTIAL, Type.KEY_PACKAGE, Type.SESSION, Type.GRANTS)


class _Later(Exception):  # noqa: N818
    """The statement cannot be judged yet."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        after: int | None = None,
        member: bytes | None = None,
        session: bytes | None = None,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.after = after
        self.member = member
        self.session = session


def learn(trust: Trust, statements: Iterable[bytes], now: int) -> tuple[Trust, tuple[Event, ...]]:
    """Give the Trust after a batch, and what happened: see `Trust.learn`."""
    batch = _Batch(trust, now)
    for statement in statements:
        batch.sort_in(statement)
    batch.judge_all()
    return batch.result(), tuple(batch.events)


class _Batch:
    """One batch on its way: the only place where what is trusted changes. Each dict is copied once a batch."""

    def __init__(self, trust: Trust, now: int) -> None:
        self.before = trust
        self.now = now
        self.events: list[Event] = []
        self.queues: dict[Type, list[bytes]] = {kind: [] for kind in _ORDER}
        self.waiting = dict(trust.waiting)  # by digest of the statement
        self.waiting_bytes = sum(len(each.statement) for each in self.waiting.values())
        self.alike: dict[tuple[bytes | None, bytes | None], list[bytes]] | None = None  # made when it is needed
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
        self.queues[Type.ROOT].sort(key=_version)
        for kind in _ORDER:
            for statement in self._awaited(kind) + self.queues[kind]:
                try:
                    rules[kind](statement)
                except Rejected as refusal:
                    self._refuse(refusal, statement)
                except _Later as later:
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
            waiting=self.waiting,
            known_credentials=self.known_credentials,
            judged=self.judged,
        )

    # -- what was put aside

    def _awaited(self, kind: Type) -> list[bytes]:
        """Take what was put aside and may be judged now."""
        if not self.waiting:
            return []
        ready = [(digest, each) for digest, each in self.waiting.items() if each.type is kind and self._is_ready(each)]
        for digest, _ in ready:
            self._take(digest)
        return [each.statement for _, each in ready]

    def _is_ready(self, each: Waiting) -> bool:
        if each.after is not None:
            return each.after <= self.now + SKEW
        if each.member is not None:
            return each.member in self.news_of
        if each.session is not None:
            return each.session in self.news_of
        return self.root is not self.before.root

    def _put_aside(self, later: _Later, kind: Type, statement: bytes) -> None:
        digest = primitives.digest(statement)
        if digest in self.waiting:
            return
        if self.alike is None:
            self.alike = {}
            for other, each in self.waiting.items():
                self.alike.setdefault((each.member, each.session), []).append(other)
        alike = self.alike.setdefault((later.member, later.session), [])
        if (later.member or later.session) and len(alike) >= WAITING_PER_CAUSE:
            self._drop(alike[0])
        alike.append(digest)
        self.waiting[digest] = Waiting(kind, statement, later.after, later.member, later.session)
        self.waiting_bytes += len(statement)
        while len(self.waiting) > WAITING_MOST or self.waiting_bytes > WAITING_BYTES:
            self._drop(next(iter(self.waiting)))
        self.events.append(Waits(later.reason, later.detail, digest))

    def _take(self, digest: bytes) -> Waiting:
        each = self.waiting.pop(digest)
        self.waiting_bytes -= len(each.statement)
        if self.alike is not None:
            self.alike[each.member, each.session].remove(digest)
        return each

    def _drop(self, digest: bytes) -> None:
        self._take(digest)
        self.events.append(Refused(Reason.TOO_MANY, "too many statements wait", digest))

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
            raise _Later(Reason.OUTDATED, f"root {version}, while {self.root.version} is known")
        root = roots.read_next(statement, self.root)
        if root.made_at > self.now + SKEW:
            raise _Later(Reason.AHEAD, f"a root of {root.made_at}, our clock says {self.now}", after=root.made_at)
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
        self.given = {
            session_id: left
            for session_id, given in self.given.items()
            if (left := tuple(each for each in given if self._stands(each.claim.sender)))
        }
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
                raise _Later(Reason.AHEAD, refusal.detail, after=said.not_before) from None
            if refusal.reason is Reason.UNKNOWN_SIGNER:
                said = credentials.peek(statement, self.root.project_id)
                if said.root_version > self.root.version:
                    raise _Later(Reason.UNKNOWN_SIGNER, f"needs root {said.root_version}") from None
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
            raise _Later(Reason.UNKNOWN_MEMBER, f"no credential {said.serial} of {name} yet", member=said.member_id)
        try:
            package = keypackage.read(statement, self.root.project_id, credential, self.now)
        except Rejected as refusal:
            if refusal.reason is Reason.AHEAD:
                raise _Later(Reason.AHEAD, refusal.detail, after=said.made_at) from None
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
                raise _Later(Reason.AHEAD, refusal.detail, after=said.made_at) from None
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
            raise _Later(Reason.UNKNOWN_SESSION, f"session {session_id.hex()[:16]}", session=session_id)
        granter = self.credentials.get(fields.granter) if fields.granter is not None else None
        failure = Rejected(Reason.TOO_MANY, f"session {session_id.hex()[:16]} has {len(known)} grants for us already")
        for claim in claims if len(known) < GIVEN_PER_ID else ():
            try:
                grants.check(fields, frame, claim, None if granter is None else granter.identity_key)
            except Rejected as refusal:
                failure = refusal
                continue
            new = tuple(Given(grant, claim) for grant in mine if grant not in held)
            self.given[session_id] = (*known, *new[: GIVEN_PER_ID - len(known)])
            self.events.append(Granted(session_id))
            return
        raise failure


def _version(statement: bytes) -> int:
    try:
        return roots.version(statement)
    except Rejected:
        return 0
