"""Progress statements are heard in whatever order the cloud serves them, from those who may send, and in bounds."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from world import YEAR

from sealwire.agents import clock, progress_words
from sealwire.agents.progress_words import ProgressWords
from sealwire.keys import credential, identity, progress, root, session, wire
from sealwire.keys.primitives import SigningKey
from sealwire.keys.progress import PartitionProgress, State, TopicProgress
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.source import SourcePartition

NOW = 1_800_000_000_000
SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 0)
AUTHORITY, OFFLINE = SigningKey.from_seed(bytes(32)), SigningKey.from_seed(bytes(31) + b"\1")
ROOT = root.read_first(root.make_first("acme", [OFFLINE], 1, [(AUTHORITY.public, NOW + YEAR)], [], NOW))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


class Sender:
    """A member with one session on the channel."""

    def __init__(self, channel: str = "orders") -> None:
        who = identity.create(os.urandom, NOW)
        attributes = {"role": "member", "site": "berlin"}
        admitted = credential.make(
            ROOT, AUTHORITY, member_id=who.member_id, identity_key=who.public, name="anna",
            attributes=attributes, serial=1, now=NOW,
        )  # fmt: skip
        self.outbound, statement = session.start(who, admitted, ROOT.project_id, channel, 0, 1, NOW, os.urandom)
        claim = session.read(statement, ROOT.project_id, lambda inner: credential.read(inner, ROOT, NOW), NOW)
        self.inbound = session.proven(claim, self.outbound.secret)

    def says(self, following: int, number: int = 1, *, at: int = NOW) -> bytes:
        topics = (TopicProgress("orders", bytes(16), 1, (PartitionProgress(0, following, following, State.LIVE),)),)
        return progress.make(self.outbound, number, at, at + 60_000, False, topics, os.urandom)


class Listener:
    """Who hears, and the little that it needs of Control."""

    def __init__(self, *known: Sender, topics: tuple[str, ...] = ("acme.orders",)) -> None:
        self.denied: set[str] = set()
        self.refused_members: set[bytes] = set()
        trust = SimpleNamespace(
            project_id=ROOT.project_id,
            may_produce=self._may_produce,
            refuses=lambda member, _made_at: member in self.refused_members,
            credential_of={each.inbound.member_id: each for each in known}.get,
        )
        self.control: Any = SimpleNamespace(
            trust=trust, sessions={each.inbound.id: each.inbound for each in known}, refused=Counter()
        )
        self.words = ProgressWords(self.control, lambda _channel: list(topics))

    def _may_produce(self, _inbound: object, cloud_topic: str, _now: int) -> None:
        if cloud_topic in self.denied:
            raise Rejected(Reason.NOT_AUTHORISED, "not here")

    def grant(self, sender: Sender) -> None:
        self.control.sessions[sender.inbound.id] = sender.inbound
        self.control.on_statements([], {sender.inbound.id})

    def hear(self, *statements: bytes) -> None:
        self.control.on_statements(list(statements), set())

    @property
    def reached(self) -> int | None:
        return self.words.outlook.reached(SOURCE, NOW)


def test_of_many_words_the_newest_is_heard_and_older_ones_after_it_are_not_even_proven(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anna = Sender()
    listener = Listener(anna)
    read, real = [], progress.read

    def counted(statement: bytes, *about: Any) -> Any:
        read.append(statement)
        return real(statement, *about)

    monkeypatch.setattr(progress, "read", counted)
    listener.hear(anna.says(10, 1), anna.says(30, 3), anna.says(20, 2))
    listener.hear(anna.says(20, 2), anna.says(30, 3))
    assert (listener.reached, len(read)) == (30, 1)
    listener.hear(anna.says(40, 4))
    assert listener.reached == 40


def test_words_of_a_session_that_is_not_granted_yet_wait_for_it() -> None:
    anna = Sender()
    listener = Listener()
    listener.hear(anna.says(20, 2), anna.says(10, 1))
    assert listener.reached is None
    listener.grant(anna)
    assert listener.reached == 20
    assert listener.words._waiting_bytes == 0


def test_a_forged_word_of_the_highest_number_hides_no_true_one() -> None:
    anna, mallory = Sender(), Sender()
    listener = Listener(anna)
    forger = replace(anna.outbound, signing=mallory.outbound.signing)
    topics = (TopicProgress("orders", bytes(16), 1, (PartitionProgress(0, 99, 99, State.LIVE),)),)
    forged = progress.make(forger, 9, NOW, NOW, False, topics, os.urandom)
    listener.hear(forged, anna.says(10, 1))
    assert listener.reached == 10
    assert listener.control.refused[str(Reason.UNKNOWN_SIGNER)] == 1


def test_what_is_ahead_of_our_clock_is_counted_and_not_believed() -> None:
    anna = Sender()
    listener = Listener(anna)
    listener.hear(anna.says(10, at=NOW + YEAR))
    assert listener.reached is None
    assert listener.control.refused[str(Reason.AHEAD)] == 1


def test_who_may_send_to_none_of_the_channel_s_topics_is_not_heard() -> None:
    anna = Sender()
    listener = Listener(anna, topics=("acme.orders", "acme.others"))
    listener.denied = {"acme.orders", "acme.others"}
    listener.hear(anna.says(10, 1))
    assert listener.reached is None
    listener.denied = {"acme.orders"}
    listener.hear(anna.says(10, 2))
    assert listener.reached == 10


def test_where_the_cloud_shows_no_topic_of_the_channel_senders_are_heard_but_refused_ones() -> None:
    anna = Sender()
    listener = Listener(anna, topics=())
    listener.refused_members = {anna.inbound.member_id}
    listener.hear(anna.says(10, 1))
    assert listener.reached is None
    listener.refused_members = set()
    listener.hear(anna.says(10, 2))
    assert listener.reached == 10


def test_what_is_no_progress_is_passed_over_and_what_is_broken_is_counted() -> None:
    anna = Sender()
    listener = Listener(anna)
    good = anna.says(10, 1)
    newer = good[:3] + b"\2" + good[4:]
    listener.hear(b"", b"SW", good[:2], newer, b"SW" + bytes((wire.Type.GRANTS, 1)), good[:60])
    assert listener.reached is None
    assert sum(listener.control.refused.values()) == 1


def test_what_waits_is_bounded_in_number_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_words, "_WAITING_SESSIONS", 3)
    senders = [Sender() for _ in range(5)]
    listener = Listener()
    for sender in senders:
        listener.hear(*(sender.says(number, number) for number in range(1, 9)))
    kept = listener.words._waiting
    assert list(kept) == [sender.inbound.id for sender in senders[2:]]
    assert {tuple(numbered) for numbered in kept.values()} == {(5, 6, 7, 8)}
    assert listener.words._waiting_bytes == sum(len(each) for numbered in kept.values() for each in numbered.values())
    monkeypatch.setattr(progress_words, "_WAITING_BYTES", 0)
    listener.hear(senders[0].says(1))
    assert (listener.words._waiting, listener.words._waiting_bytes) == ({}, 0)


def test_a_flood_under_one_session_costs_a_few_signatures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    anna, mallory = Sender(), Sender()
    listener = Listener(anna)
    forger = replace(anna.outbound, signing=mallory.outbound.signing)
    flood = [progress.make(forger, number, NOW, NOW, False, (), os.urandom) for number in range(2, 102)]
    listener.hear(anna.says(10, 1), *flood)
    assert sum(listener.control.refused.values()) == progress_words._TRIES
    listener.hear(anna.says(20, 200))
    assert listener.reached == 20


def test_words_of_a_member_whom_a_root_took_away_go_unless_it_is_admitted_anew() -> None:
    anna, thief = Sender(), Sender()
    listener = Listener(anna)
    listener.control.sessions[thief.inbound.id] = thief.inbound
    listener.hear(anna.says(20))
    listener.hear(thief.says(1 << 40))
    assert listener.reached == 1 << 40
    listener.control.on_dropped({anna.inbound.member_id, thief.inbound.member_id})
    listener.words.judge_again()
    assert listener.reached == 20
