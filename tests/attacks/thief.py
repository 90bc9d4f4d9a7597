"""A thief: has the whole cloud log, from its first day on, and whatever was stolen; opens what can be opened.

It derives by FORMAT.md: what each grant is bound to, which secret a session id commits to. It checks no signature, no
date and no policy: what no such check keeps from it is what a claim about secrecy must rest on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sim_kafka import readable

from sealwire.keys import credential, envelope, grant, primitives, session, wire
from sealwire.keys.envelope import Place
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loot import Loot

    from sealwire.keys.grant import Grant
    from sealwire.keys.primitives import ReceivingKey
    from sealwire.keys.session import SessionFields


class Seen(NamedTuple):
    """An envelope that was opened."""

    sealed_at: int  # ms, as it says itself
    session_id: bytes
    cloud_topic: str
    partition: int
    first: int
    next: int


@dataclass(frozen=True)
class Said:
    """What a session statement says, and who it says it is of."""

    fields: SessionFields
    member_id: bytes


class Opening:
    """A secret on its way into `envelope.decrypt`, which wants nothing else of a session."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret


TALLY: Counter[str] = Counter()  # what was tried, over all thefts of this process


class Thief:
    """Reads the log once; then opens what each loot lets it open."""

    def __init__(self, project_id: bytes, given: Iterable[tuple[str, int, bytes]]) -> None:
        self.project_id = project_id
        self.sessions: dict[bytes, list[Said]] = {}
        self.grants: dict[bytes, list[Grant]] = {}
        self.envelopes: list[tuple[str, int, bytes]] = []
        self._words: dict[bytes, tuple[bytes, ...]] = {}  # which sessions commit to each word that was stolen
        self._tried: dict[tuple[bytes, bytes, bytes], bytes | None] = {}  # what each key made of each grant
        self.public: set[bytes] = {project_id}  # words of 32 bytes that are no secret
        for topic, partition, batch in given:
            for value in readable(batch):
                self._read(topic, partition, value)

    def _read(self, topic: str, partition: int, value: bytes) -> None:
        try:
            kind = wire.type_of(value)
        except Rejected:
            if value[:3] == b"SW\x01":
                self.envelopes.append((topic, partition, value))
            return
        self.public.add(wire.statement_digest(value))
        if kind is Type.SESSION:
            said = session.peek(value, self.project_id)
            sender = credential.peek(said.credential, self.project_id)
            self.sessions.setdefault(said.id, []).append(Said(said, sender.member_id))
            self.public |= {said.id, said.verifying_key, sender.member_id, sender.identity_key}
        elif kind is Type.GRANTS:
            fields, _frame = grant.read(value, self.project_id)
            self.grants.setdefault(fields.session_id, []).extend(fields.grants)

    def secrets(self, loot: Loot) -> dict[bytes, bytes]:
        """Every session secret that the loot holds, or that its receiving keys unwrap from any grant."""
        found: dict[bytes, bytes] = {}
        for word in (loot.words | set(loot.sessions.values())) - self.public:
            found |= dict.fromkeys(self._committed(word), word)
        for session_id, claims in self.sessions.items():
            for said in claims if session_id not in found else ():
                for each in self._unwrapped(said, loot):
                    if commits(said, self.project_id, each):
                        found[session_id] = each
        return found

    def _committed(self, word: bytes) -> tuple[bytes, ...]:
        """Tell which sessions commit to this word as their secret."""
        if word not in self._words:
            self._words[word] = tuple(
                session_id
                for session_id, claims in self.sessions.items()
                if any(commits(said, self.project_id, word) for said in claims)
            )
        return self._words[word]

    def _unwrapped(self, said: Said, loot: Loot) -> list[bytes]:
        found = []
        for each in self.grants.get(said.fields.id, ()):
            info = bound(said, self.project_id, each)
            for receiving in loot.receiving:
                known = (receiving.seed, info, each.enc)
                if known not in self._tried:
                    self._tried[known] = unwrapped(receiving, info, each)
                secret = self._tried[known]
                found += [secret] if secret is not None else []
        return found

    def open(self, loot: Loot) -> list[Seen]:
        """Open every envelope that can be opened."""
        TALLY["thefts"] += 1
        secrets, opened = self.secrets(loot), []
        TALLY["envelopes tried"] += len(self.envelopes)
        for topic, partition, value in self.envelopes:
            secret = secrets.get(value[4:36])
            for said in self.sessions.get(value[4:36], ()) if secret is not None else ():
                context = Place(self.project_id, said.fields.channel, topic, partition).context(said.member_id)
                found: Any = Opening(secret)
                try:
                    inner, _batches = envelope.decrypt(
                        memoryview(value), context, found, memoryview(bytearray(len(value)))
                    )
                except Rejected:
                    continue
                opened.append(Seen(inner.sealed_at, said.fields.id, topic, partition, inner.first, inner.next))
        TALLY["envelopes opened"] += len(opened)
        return opened


def unwrapped(receiving: ReceivingKey, info: bytes, given: Grant) -> bytes | None:
    """Try a stolen receiving key on a grant."""
    TALLY["grants tried with a receiving key"] += 1
    try:
        return primitives.hpke_unwrap(receiving, info, given.enc, given.ciphertext)
    except Rejected:
        return None


def bound(said: Said, project_id: bytes, given: Grant) -> bytes:
    """What HPKE binds a grant to, written as FORMAT.md has it."""
    fields = (
        bytes((said.fields.suite,)),
        project_id,
        said.member_id,
        said.fields.id,
        said.fields.channel.encode(),
        given.recipient,
        given.window_start.to_bytes(8, "big"),
    )
    label = b"sealwire v1 grant"
    return bytes((len(label),)) + label + b"".join(len(each).to_bytes(2, "big") + each for each in fields)


def commits(said: Said, project_id: bytes, secret: bytes) -> bool:
    """Tell whether a session's id commits to this secret."""
    fields = said.fields
    made = session.commitment(secret, project_id, said.member_id, fields.channel, fields.made_at, fields.not_after)
    return made == fields.id
