"""What a reader believes of a statement: who must have signed it, when, and after what it knew already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from canonical import REASONS, Refused, ensure, rise, unpack
from envelopes import SKEW, Session
from statements import WANTED, WORDS, Statement, read
from suite import decrypt, hkdf, hpke_open, sha256, sized


def first_root(octets: bytes, project: bytes | None = None) -> Statement:
    """The root that makes a project, of the pinned id where one is given."""
    it = read(octets, "root", bytes(32))
    ensure(it["version"] == 1 and it["former"] is None, "malformed")
    ensure(project in {None, project_of(it)}, "other-project")
    _thresholds(it, it)
    return it


def next_root(octets: bytes, former: Statement) -> Statement:
    """The root that follows another."""
    it = read(octets, "root", project_of(former))
    ensure(it["version"] == former["version"] + 1, "outdated")
    ensure(it["former"] == former.digest, "fork")
    _thresholds(it, it, former)
    return it


def pinned_root(octets: bytes, project: bytes, digest: bytes) -> Statement:
    """The root that a ticket names: of a later one, whose former is not known, its own threshold is enough."""
    it = read(octets, "root", None)
    if it["version"] == 1:
        it = first_root(octets, project)
    else:
        ensure(it.project == project, "other-project")
        ensure(it["former"] is not None, "malformed")
        _thresholds(it, it, strangers=True)
    ensure(it.digest == digest, "fork")
    return it


def _thresholds(it: Statement, *roots: Statement, strangers: bool = False) -> None:
    keys = [{key for algorithm, key in root["root_keys"] if algorithm == 1} for root in roots]
    it.verify(set().union(*keys), strangers=strangers)
    signed = {each for each, _ in it.entries}
    for root, theirs in zip(roots, keys, strict=True):
        ensure(len(signed & set(map(sha256, theirs))) >= root["threshold"], "unknown-signer")


def project_of(root: Statement) -> bytes:
    """The id of the project: a first root makes it, a later one states it."""
    return sha256(root.label, root.signed) if root["version"] == 1 else root.project


class NeedsRoot(Refused):
    """Refused, but a root that is not known yet may name the key that signed."""


@dataclass
class Judge:
    """A reader that pinned a root, at a moment of its clock."""

    root: Statement
    project: bytes
    now: int
    patient: bool = False  # what is ahead is read all the same: it may wait

    def not_ahead(self, dated: int) -> None:
        ensure(dated <= self.now + SKEW or self.patient, "ahead")

    def by_authority(self, it: Statement, dated: int) -> None:
        """It is not ahead; one authority key signed it, and counts for this date."""
        self.not_ahead(dated)
        self.by_key(it, dated, ends=True)

    def names(self, it: Statement) -> bool:
        """Whether the authority key that signed this charter counts for its date."""
        try:
            self.by_key(it, it["as_of"], ends=False)
        except Refused:
            return False
        return True

    def by_key(self, it: Statement, dated: int, *, ends: bool) -> None:
        keys = {sha256(key): (key, until) for algorithm, key, until in self.root["authority_keys"] if algorithm == 1}
        if len(it.entries) != 1 or it.entries[0][0] not in keys:
            raise (NeedsRoot if it.fields.get("root_version", 0) > self.root["version"] else Refused)("unknown-signer")
        key, until = keys[it.entries[0][0]]
        ensure(all(other != key or dated < since for other, since in self.root["distrusted"]), "distrusted")
        ensure(max(dated, self.now if ends else dated) <= until, "expired")
        it.signed_by(key)

    def charter(self, octets: bytes) -> Statement:
        it = read(octets, "charter", self.project)
        self.by_authority(it, it["as_of"])
        return it

    def credential(self, octets: bytes) -> Statement:
        it = read(octets, "credential", self.project)
        self.by_authority(it, it["not_before"])
        return it

    def holding(self, octets: bytes, moment: int) -> Statement:
        """The credential inside another statement, which must hold at this moment."""
        it = self.credential(octets)
        ensure(it["not_before"] - SKEW <= moment <= it["not_after"], "expired")
        return it

    def request_by_ticket(
        self, octets: bytes, ticket_id: bytes, ticket_key: bytes, expiry: int, spent_by: bytes | None
    ) -> str:
        it = read(octets, "request", self.project)
        ensure(it["ticket_id"] == ticket_id, "unknown-ticket")
        it.signed_by(ticket_key, it["identity"])
        if spent_by is not None:
            ensure(spent_by == it["member"], "spent")
            return "same"
        self.not_ahead(it["made_at"])
        ensure(self.now <= expiry, "expired")
        return "accept"

    def request_of_member(self, octets: bytes, credential: Statement, asked_at: int) -> str:
        it = read(octets, "request", self.project)
        ensure(it["ticket_id"] is None, "malformed")
        ensure(it["member"] == credential["member"] and it["name"] == credential["name"], "changed-request")
        former = it["former_key"]
        ensure((former or it["identity"]) == credential["identity"], "unknown-signer")
        it.signed_by(*filter(None, (former, it["identity"])))
        self.not_ahead(it["made_at"])
        ensure(it["made_at"] > asked_at, "outdated")
        return "accept"

    def answer(self, octets: bytes, request: Statement) -> str:
        it = read(octets, "answer", self.project)
        ensure(it["request"] == request.digest, "spliced")
        self.by_authority(it, it["made_at"])
        if it["reason"] is not None:
            return f"refused {it['reason'] if it['reason'] in REASONS else 'not-authorised'}"
        credential = self.credential(it["credential"])
        ensure(credential["member"] == request["member"] and credential["identity"] == request["identity"], "spliced")
        return "accept"

    def key_package(self, octets: bytes, credential: Statement) -> Statement:
        it = read(octets, "key package", self.project)
        ensure(it["member"] == credential["member"], "spliced")
        self.not_ahead(it["made_at"])
        it.signed_by(credential["identity"])
        return it

    def session(self, octets: bytes) -> tuple[Statement, Statement]:
        """A claim, and the credential inside it."""
        it = read(octets, "session", self.project)
        self.not_ahead(it["made_at"])
        credential = self.holding(it["credential"], it["made_at"])
        it.signed_by(credential["identity"])
        return it, credential

    def grants(self, octets: bytes, claim: Statement, granter: Statement | None) -> Statement:
        it = read(octets, "grants", self.project)
        ensure(it["session"] == claim["session"], "spliced")
        if it["granter"] is None:
            it.signed_by(claim["signing_key"])
        else:
            ensure(granter is not None, "unknown-member")
            it.signed_by(granter["identity"])  # type: ignore[index]
        return it

    def progress(self, octets: bytes, session: Session) -> list[Any]:
        it = read(octets, "progress", self.project)
        ensure(it["session"] == session.id, "spliced")
        self.not_ahead(it["as_of"])
        it.signed_by(session.signing_key)
        words = WORDS(unpack(opened(it, session.secret, session.sender)))
        rise(row[:2] for row in words)
        for _, _, count, partitions in words:
            rise(row[0] for row in partitions)
            ensure(all(partition[0] < count for partition in partitions), "malformed")
        return words

    def reseal(self, octets: bytes, secret: bytes) -> list[Any]:
        it = read(octets, "reseal", self.project)
        self.not_ahead(it["made_at"])
        ensure(self.now <= it["expires"] + SKEW, "expired")
        credential = self.holding(it["credential"], it["made_at"])
        it.signed_by(credential["identity"])
        wanted = WANTED(unpack(opened(it, secret, credential["member"])))
        ensure(wanted[1] < wanted[2], "malformed")
        return wanted


def opened(it: Statement, secret: bytes, member: bytes) -> bytes:
    """The plaintext of a progress or reseal statement, bound to every byte before its ciphertext."""
    key = hkdf(secret, it["salt"], f"sealwire v1 {it.name}", it["session"], member)
    ad = it.signed[: len(it.signed) - len(it["ciphertext"])]
    return decrypt(key, it["ciphertext"], ad)


def session_id(secret: bytes, project: bytes, sender: bytes, claim: Statement) -> bytes:
    """The id that commits to the secret."""
    times = (claim[each].to_bytes(8, "big") for each in ("made_at", "not_after"))
    return hkdf(secret, b"", "sealwire v1 session id", project, sender, claim["channel"].encode(), *times)


def unwrap(it: Statement, claim: Statement, sender: bytes, recipient: bytes, keys: list[tuple[int, bytes]]) -> bytes:
    """The session secret, out of a member's own grants, with its receiving keys (window start, seed)."""
    reason = "no-grant"
    for row in it["grants"]:
        if row[:2] == [1, recipient]:
            try:
                return unwrap_one(row, claim, sender, [seed for start, seed in keys if start == row[2]])
            except Refused as refused:
                reason = str(refused)
    raise Refused(reason)


def unwrap_one(row: list[Any], claim: Statement, sender: bytes, seeds: list[bytes]) -> bytes:
    """The session secret of one grant."""
    _, recipient, start, enc, ciphertext = row
    ensure(len(enc) == 1120 and len(ciphertext) == 48, "malformed")
    label, channel, window = b"sealwire v1 grant", claim["channel"].encode(), start.to_bytes(8, "big")
    bound = (bytes([claim["suite"]]), claim.project, sender, claim["session"], channel, recipient, window)
    info = bytes([len(label)]) + label + b"".join(map(sized, bound))
    reason = "no-grant"
    for seed in seeds:
        try:
            secret = hpke_open(seed, enc, info, ciphertext)
        except Refused as refused:
            reason = str(refused)
        else:
            ensure(session_id(secret, claim.project, sender, claim) == claim["session"], "bad-commitment")
            return secret
    raise Refused(reason)


def satisfies(attributes: dict[str, str], table: list[Any]) -> bool:
    """Every attribute named, with one of its values; an empty table denies."""
    return bool(table) and all(attributes.get(name) in values for name, values in table)


def covers(pattern: str, name: str) -> bool:
    """A name, or the beginning of names followed by a star."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def may_produce(
    charter: Statement | None, session: Session, attributes: dict[str, str], ends: int | None, topic: str, now: int
) -> None:
    """Check the sender of a session, whose credential ends then (None: late enough). No charter is charter 0."""
    ensure(session.made_at <= now + SKEW, "ahead")
    refusals = {} if charter is None else {member: since for member, since, _ in charter["refusals"]}
    ensure(session.made_at < refusals.get(session.sender, session.made_at + 1), "refused-member")
    ensure(ends is None or session.made_at <= ends, "expired")
    if charter is None:
        ensure(attributes.get("role") == "member", "not-authorised")
        return
    ensure(charter["min_suite"] <= session.suite and charter["min_format"] <= 1, "not-authorised")
    for channel, cloud_topic, language, produce, _, _ in charter["policies"]:
        if covers(channel, session.channel) and covers(cloud_topic, topic):
            ensure(language == 0 and satisfies(attributes, produce), "not-authorised")
            return
    raise Refused("not-authorised")
