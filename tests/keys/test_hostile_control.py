"""A hostile control log: whatever the cloud serves, in whatever order, nothing wrong is granted, nothing wrong counts.

EXAMPLES=20000 for a long search (`make hostile`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

import hostile_statements as world
import pytest
from hostile_statements import (
    BERT,
    CLEO,
    DAY_AS_IT_WAS,
    EVE,
    MALLORY,
    POOL,
    PUBLICS,
    SESSIONS,
    THEFT,
    TOPIC,
    TRUE_BYTES,
    TRUE_DIGESTS,
    Said,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_world import ANNA, AUTHORITY, DAY, HOUR, MINUTE, NOW, PROJECT, ROOT_BYTES, Draws

from sealwire.keys import charter, grant, keypackage, primitives, request, ticket
from sealwire.keys.charter import Charter
from sealwire.keys.events import Admitted, Chartered, Claimed, Granted, KeysAnnounced, Opened, Refused, Rooted, Waits
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Floor, Secrets
from sealwire.keys.trust import Trust
from sealwire.keys.wire import Type

EXAMPLES = int(os.environ.get("EXAMPLES", "250"))
AT_ONCE = 250
PARTS = max(EXAMPLES // AT_ONCE, 1)  # one after the other or on two processes, each with examples of its own
HOW = settings(max_examples=min(EXAMPLES, AT_ONCE))
NAMED = (Type.CHARTER, Type.CREDENTIAL, Type.KEY_PACKAGE)  # a lie of these is never passed over without a word
SECRETS = Secrets.begin(BERT.identity).asked(PROJECT, ROOT_BYTES, b"").admitted(BERT.credential_bytes)
BEGUN = SECRETS.holding(world.BERT_LAST.held).followed_by(world.BERT_NEW.identity)
STOLEN_KEY = primitives.sha256(AUTHORITY.public)

Row = dict[bytes, int]


@dataclass
class Reader:
    """A worker under attack, and what an auditor beside it has seen it believe."""

    trust: Trust = field(default_factory=lambda: Trust.begin(BEGUN, NOW))
    secrets: Secrets = BEGUN
    refused: Row = field(default_factory=dict)  # member id -> the earliest since of all charters that counted
    charters: dict[int, Charter] = field(default_factory=dict)  # the one that counted, by version
    serials: dict[tuple[bytes, int], bytes] = field(default_factory=dict)  # (member, serial) -> its credential
    floors: dict[bytes, Floor] = field(default_factory=dict)

    def hear(self, served: list[Said], now: int) -> None:
        before = self.trust
        self.trust, events = before.learn([said.statement for said in served], now)
        secrets, gone = self.secrets, set[bytes]()
        for event in events:
            match event:
                case Rooted(version=version, statement=statement, unproven=unproven):
                    secrets = secrets.rooted(statement, unproven)
                    assert version == 3 or not unproven
                    gone |= {*unproven}
                case Chartered(statement=statement):
                    secrets = secrets.chartered(statement)
                case Admitted(credential) if credential.member_id == BERT.id:
                    secrets = secrets.admitted(credential.statement)
        secrets = secrets.raised(self.trust.floors)
        self.trust, self.secrets, opened = self.trust.unwrap_new(secrets, now)
        self.look_at_lies(served, [*events, *opened])
        self.look_at_what_counts(before, gone)
        self.look_at_readers(now)

    def restart(self, now: int) -> None:
        self.secrets = Secrets.decode(self.secrets.encode())
        self.trust = Trust.begin(self.secrets, now)
        self.look_at_readers(now)

    # -- the auditor

    def look_at_lies(self, served: list[Said], events: list[object]) -> None:
        """Each lie has its name, and none of them is among what is said to count."""
        named = {event.digest for event in events if isinstance(event, Refused | Waits)}
        for said in served:
            if said.lie and said.statement[2:3] in map(_byte, NAMED) and said.statement[3:4] == b"\x01":
                assert world.digest_of(said.statement) in named or said.statement in self.waiting, said.name
        for event in events:
            match event:
                case Rooted(statement=statement) | Chartered(statement=statement):
                    assert statement in TRUE_BYTES
                case Admitted(credential):
                    assert credential.statement in TRUE_BYTES
                case Claimed(digest=digest):
                    assert digest in TRUE_DIGESTS
                case Opened(session):
                    true = SESSIONS[session.id]
                    assert (session.secret, session.member_id) == (true.secret, true.member_id)
                    assert session.verifying_key == true.signing.public
                case KeysAnnounced() | Granted() | Refused() | Waits():
                    pass

    @property
    def waiting(self) -> set[bytes]:
        return {each.statement for each in self.trust.waiting.values()}

    def look_at_what_counts(self, before: Trust, gone: set[bytes]) -> None:
        trust = self.trust
        assert trust.root.version >= before.root.version
        assert trust.root.statement in TRUE_BYTES | {ROOT_BYTES}
        for member_id, floor in before.floors.items():
            assert member_id in gone or trust.floors[member_id] >= floor
            assert trust.floors.get(member_id, Floor()) == self.secrets.floors.get(member_id, Floor())
        for member_id, credential in trust.credentials.items():
            assert credential.statement in TRUE_BYTES
            assert self.serials.setdefault((member_id, credential.serial), credential.statement) == credential.statement
            if trust.root.version == 3:
                assert credential.signer != STOLEN_KEY or credential.not_before < THEFT
        for package in trust.packages.values():
            assert package.digest in TRUE_DIGESTS
        for claims in trust.claims.values():
            assert all(claim.digest in TRUE_DIGESTS for claim in claims)
        self.look_at_the_charter(before)

    def look_at_the_charter(self, before: Trust) -> None:
        now_counts, counted = self.trust.charter, before.charter
        if not charter.stands(counted, self.trust.root) and now_counts != counted:
            self.refused, self.charters = {}, {}  # begun anew, under the root that took the thief's key away
        elif (now_counts.version, now_counts.as_of) != (counted.version, counted.as_of):
            assert (now_counts.version, now_counts.as_of) > (counted.version, counted.as_of)
        if isinstance(now_counts, Charter):
            assert now_counts.statement in TRUE_BYTES
            assert now_counts.says_as(self.charters.setdefault(now_counts.version, now_counts))
        for row in now_counts.refusals:
            self.refused[row.member_id] = min(row.since, self.refused.get(row.member_id, row.since))
        for member_id, since in self.refused.items():
            assert self.trust.refuses(member_id, since)

    def look_at_readers(self, now: int) -> None:
        """A session secret would be wrapped only for who may read by all that ever counted, under its own keys."""
        trust = self.trust
        for member_id, package in trust.readers("orders", TOPIC, now):
            credential = trust.credentials[member_id]
            assert credential.not_before - 5 * MINUTE <= now <= credential.not_after
            assert now < self.refused.get(member_id, now + 1)
            assert trust.charter.may_consume(credential.attributes, "orders", TOPIC)
            assert keypackage.pick(package, now)[1] in PUBLICS[member_id]
            assert (package.serial, package.made_at) >= trust.floors[member_id][1:]
        for session in self.secrets.inbound.values():
            since = self.refused.get(session.member_id)
            if since is not None and since <= session.made_at:
                with pytest.raises(Rejected):
                    trust.may_produce(session, TOPIC, now)


def _byte(kind: Type) -> bytes:
    return bytes((kind,))


def altered(said: Said, at: int) -> Said:
    """The statement with one bit altered, by a number that chooses it; 0 leaves it."""
    if not at:
        return said
    where = at % (len(said.statement) * 8)
    changed = bytearray(said.statement)
    changed[where // 8] ^= 1 << where % 8
    return Said(f"{said.name}, bit {where}", bytes(changed), lie=True)


SERVED = st.lists(
    st.builds(altered, st.sampled_from(POOL), st.one_of(st.just(0), st.just(0), st.integers(1, 1 << 20))),
    min_size=1,
    max_size=8,
)
TIMES = st.integers(-1, 9).map(lambda hours: NOW + hours * HOUR) | st.sampled_from([NOW + 8 * DAY, NOW + 301 * DAY])
STEPS = st.lists(st.tuples(TIMES, SERVED | st.none()), min_size=1, max_size=8)
DAYS = st.integers(0, len(DAY_AS_IT_WAS))


@pytest.mark.parametrize("part", range(PARTS))
@settings(HOW)
@given(DAYS, st.sets(st.integers(0, len(DAY_AS_IT_WAS) - 1), max_size=4), STEPS)
def test_whatever_the_cloud_serves_nothing_wrong_is_granted_and_nothing_wrong_counts(
    part: int, until: int, withheld: set[int], steps: list[tuple[int, list[Said] | None]]
) -> None:
    reader = Reader()
    reader.hear([said for at, said in enumerate(DAY_AS_IT_WAS[:until]) if at not in withheld], NOW + 7 * HOUR)
    for now, served in steps:
        if served is None:
            reader.restart(now)
        else:
            reader.hear(served, now)
    readers = reader.trust.readers("orders", TOPIC, NOW + 7 * HOUR)
    wrapped = grant.wrap(world.FIRST, readers, 1, NOW + 7 * HOUR, os.urandom)
    for statement in wrapped:
        fields, _ = grant.read(statement, PROJECT)
        for each in fields.grants:
            assert each.recipient not in {who for who, since in reader.refused.items() if since <= NOW + 7 * HOUR}
            assert each.recipient in {BERT.id, CLEO.id, EVE.id, MALLORY.id}


def test_the_day_as_it_was_is_believed_whole_and_the_world_is_one_that_can_lie() -> None:
    reader = Reader()
    for said in DAY_AS_IT_WAS:
        reader.hear([said], NOW + 7 * HOUR)
    assert (reader.trust.root.version, reader.trust.charter.version) == (3, 5)
    assert set(reader.secrets.inbound) == set(SESSIONS)
    assert {who for who, _ in reader.trust.readers("orders", TOPIC, NOW + 7 * HOUR)} == {BERT.id, CLEO.id}
    assert reader.secrets.identity == world.BERT_NEW.identity
    assert reader.trust.refuses(EVE.id, 0)
    assert reader.trust.holds(NOW + 7 * HOUR) is None
    lies = Reader()
    lies.hear([said for said in POOL if said.lie], NOW + 7 * HOUR)
    assert lies.trust.charter.version == 0
    assert set(lies.trust.credentials) == {BERT.id}
    stolen = Reader()
    stolen.hear([*DAY_AS_IT_WAS[:26], *world.STOLEN], NOW + 5 * HOUR)
    assert MALLORY.id in dict(stolen.trust.readers("orders", TOPIC, NOW + 5 * HOUR))
    assert stolen.trust.refuses(ANNA.id, 0)
    stolen.hear(DAY_AS_IT_WAS[26:], NOW + 7 * HOUR)
    assert MALLORY.id not in stolen.trust.credentials
    assert not stolen.trust.refuses(ANNA.id, 0)
    assert stolen.trust.charter.version == 5


REASONS = {
    "charter 2 with another policy": Reason.FORK,
    "charter 3 with eve": Reason.FORK,
    "charter 4 with eve": Reason.PARDONED,
    "a rival identity of bert": Reason.FORK,
    "credential of anna": Reason.OUTDATED,
    "package of bert": Reason.OUTDATED,
    "package of cleo": Reason.OUTDATED,
    "charter 1": Reason.OUTDATED,
    "charter 3, without eve": Reason.OUTDATED,
    "charter of root 9": Reason.OUTDATED,
    "charter far ahead": Reason.AHEAD,
    "eve grants anna's session": Reason.REFUSED_MEMBER,
    "forged: charter 1": Reason.OUTDATED,
    "forged: eve signs a package of bert": Reason.UNKNOWN_SIGNER,
    "forged: a root key signs a charter": Reason.UNKNOWN_SIGNER,
    "forged: one root key signs a root": Reason.FORK,
    "forged: two sign a charter": Reason.UNKNOWN_SIGNER,
    "forged: charter 1 as of later": Reason.OUTDATED,
    "forged: credential of a higher serial": Reason.BAD_SIGNATURE,
    "forged: a stranger grants it": Reason.UNKNOWN_SIGNER,
}
AFTER = {
    "charter 2 with another policy": 16,
    "forged: eve signs a package of bert": 20,
    "charter of root 9": 27,
    "charter far ahead": 27,
}


@pytest.mark.parametrize("name", sorted(REASONS))
def test_each_lie_has_its_name(name: str) -> None:
    reader = Reader()
    heard = DAY_AS_IT_WAS[: AFTER.get(name, 27)]
    reader.hear(
        [said for said in heard if "grants" not in said.name and said.name != "the same, by cleo"], NOW + 5 * HOUR
    )
    (said,) = (each for each in POOL if each.name == name)
    _, (event,) = reader.trust.learn([said.statement], NOW + 5 * HOUR)
    assert isinstance(event, Refused | Waits)
    assert event.reason is REASONS[name]


def test_what_a_thief_of_the_authoritys_key_signed_is_distrusted_once_the_root_says_so() -> None:
    reader = Reader()
    reader.hear([*DAY_AS_IT_WAS], NOW + 7 * HOUR)
    for said in world.STOLEN:
        if said.name in {"charter 2^40, without anna", "credential of mallory", "charter of root 9"}:
            _, (event,) = reader.trust.learn([said.statement], NOW + 7 * HOUR)
            assert isinstance(event, Refused)
            assert event.reason is Reason.DISTRUSTED


# -- the authority's side: a ticket's request, replayed, copied, altered

TICKET, _ = ticket.make(ROOT_BYTES, {"role": "member"}, NOW + HOUR, "", Draws("ticket"))
ENTRY = ticket.TicketEntry(PROJECT, TICKET.ticket_id, TICKET.signing.public, TICKET.expiry)
ASKED = [
    request.ask(TICKET, who.identity, who.credential.name, at)
    for who in (CLEO, MALLORY)
    for at in (NOW, NOW + MINUTE, NOW + DAY)
]
REQUESTS = st.tuples(st.sampled_from(ASKED), st.one_of(st.just(0), st.integers(1, 1 << 20)), st.integers(0, 90))


@pytest.mark.parametrize("part", range(PARTS))
@settings(HOW)
@given(st.lists(REQUESTS, max_size=10))
def test_a_ticket_admits_one_identity_however_its_requests_are_replayed_copied_and_altered(
    part: int,
    asked: list[tuple[bytes, int, int]],
) -> None:
    book, winners = ENTRY, set()
    for statement, at, minutes in asked:
        told = altered(Said("a request", statement), at)
        match ticket.judge(told.statement, book, NOW + minutes * MINUTE):
            case ticket.Admit(said):
                assert not told.lie
                assert book.spent_by is None
                assert NOW + minutes * MINUTE <= TICKET.expiry
                winners.add(said.member_id)
                book = replace(book, spent_by=said.member_id)
            case ticket.Same(said):
                assert not told.lie
                assert winners == {said.member_id}
            case ticket.Refuse(reason, _, winner):
                assert isinstance(reason, Reason)
                assert told.lie or reason in {Reason.SPENT, Reason.AHEAD, Reason.EXPIRED}
                assert winner is None or winners == {winner}
    assert len(winners) <= 1
