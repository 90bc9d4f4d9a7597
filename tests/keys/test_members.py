"""Who is a member, and who of them may read and send: the questions that are asked of what was accepted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from statement_world import (
    ANNA,
    AUTHORITY,
    BERT,
    DAY,
    MINUTE,
    NOW,
    OFFLINE,
    PROJECT,
    ROOT,
    YEAR,
    Member,
    signing,
)

from sealwire.keys import charter, credential, keypackage, root, session, trust
from sealwire.keys.charter import CharterFields, PolicyRow, Refusal
from sealwire.keys.policy import MEMBERS
from sealwire.keys.primitives import ED25519
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.root import RootFields
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable

TOPIC = "acme.orders"
SKEW = 5 * MINUTE
NOBODY = (("role", ("nobody",)),)
NEWER = signing("newer authority")
KNOWN = Trust.begin(ANNA.secrets, NOW).learn([BERT.credential_bytes, BERT.package], NOW)[0]


def reason(ask: Callable[[], object]) -> Reason | None:
    """Why something is refused; None where it is not."""
    try:
        ask()
    except Rejected as refusal:
        return refusal.reason
    return None


def under(known: Trust, *refusals: Refusal, produce: object = MEMBERS, consume: object = MEMBERS) -> Trust:
    row = PolicyRow("*", "*", 0, produce, consume, DAY)
    said = CharterFields(known.charter.version + 1, NOW, known.root.version, (row,), refusals, 1, 1, 0)
    return known.learn([charter.make(known.root, AUTHORITY, said)], NOW)[0]


def rooted(known: Trust, **changes: object) -> Trust:
    same = {name: getattr(known.root, name) for name in RootFields.__struct_fields__}
    return known.learn([root.make_next(known.root, RootFields(**{**same, **changes}), OFFLINE)], NOW)[0]


def opened_session(who: Member = BERT, **changes: object) -> session.InboundSession:
    outbound, statement = who.session()
    claim = session.read(statement, PROJECT, lambda inner: credential.read(inner, ROOT, NOW), NOW)
    return replace(session.proven(claim, outbound.secret), **changes)


# -- beginning


@pytest.mark.parametrize("lacking", ["root", "project_id"])
def test_an_identity_that_has_joined_no_project_trusts_nobody(lacking: str) -> None:
    with pytest.raises(Misuse):
        Trust.begin(replace(ANNA.secrets, **{lacking: None}), NOW)


def test_what_was_asked_before_makes_no_other_trust() -> None:
    """A worker tells by comparing whether anything is new."""
    asked, other = (Trust.begin(ANNA.secrets, NOW) for _ in range(2))
    asked.may_produce(opened_session(ANNA), TOPIC, NOW)
    assert (len(asked.judged), len(other.judged)) == (1, 0)
    assert asked == other


# -- members


def test_a_member_is_one_whose_credential_holds_now_and_whom_the_charter_does_not_refuse_now() -> None:
    assert KNOWN.member(BERT.id, NOW) == BERT.credential
    assert reason(lambda: KNOWN.member(b"x" * 32, NOW)) is Reason.UNKNOWN_MEMBER
    for now, says in ((NOW - SKEW - 1, Reason.EXPIRED), (NOW - SKEW, None), (NOW + 7 * DAY, None)):
        assert reason(lambda at=now: KNOWN.member(BERT.id, at)) is says
    assert reason(lambda: KNOWN.member(BERT.id, NOW + 7 * DAY + 1)) is Reason.EXPIRED
    refusing = under(KNOWN, Refusal(BERT.id, NOW + 1, ""))
    assert reason(lambda: refusing.member(BERT.id, NOW)) is None
    assert reason(lambda: refusing.member(BERT.id, NOW + 1)) is Reason.REFUSED_MEMBER


def test_the_charter_lets_a_member_read_and_send_apart() -> None:
    readers, senders = under(KNOWN, produce=NOBODY), under(KNOWN, consume=NOBODY)
    assert reason(lambda: readers.may_send(BERT.id, "orders", TOPIC, NOW)) is Reason.NOT_AUTHORISED
    assert reason(lambda: senders.may_read(BERT.id, "orders", TOPIC, NOW)) is Reason.NOT_AUTHORISED
    assert reason(lambda: senders.may_send(BERT.id, "orders", TOPIC, NOW)) is None
    assert readers.may_read(BERT.id, "orders", TOPIC, NOW) == (BERT.credential.admitted, DAY)
    for ask in (KNOWN.may_send, KNOWN.may_read):
        assert reason(lambda may=ask: may(b"x" * 32, "orders", TOPIC, NOW)) is Reason.UNKNOWN_MEMBER


def test_a_member_whose_receiving_keys_are_all_for_later_is_no_reader_yet() -> None:
    tomorrow = tuple(each for each in BERT.held if each.start >= NOW + DAY)
    package = keypackage.announce(BERT.identity, BERT.credential, PROJECT, tomorrow, NOW + 1)
    known = KNOWN.learn([package], NOW)[0]
    assert known.packages[BERT.id].made_at == NOW + 1
    assert known.readers("orders", TOPIC, NOW) == ()
    assert [who for who, _ in known.readers("orders", TOPIC, tomorrow[0].start)] == [BERT.id]


def test_a_reader_is_barred_by_the_charter_or_the_root_and_never_by_time() -> None:
    def barred(known: Trust, now: int = NOW) -> bool:
        return known.bars(BERT.id, "orders", TOPIC, now)

    assert not barred(KNOWN)
    assert not barred(KNOWN, NOW + YEAR)
    assert barred(under(KNOWN, consume=NOBODY))
    refusing = under(KNOWN, Refusal(BERT.id, NOW + 1, ""))
    assert [barred(refusing, now) for now in (NOW, NOW + 1)] == [False, True]
    assert KNOWN.bars(b"x" * 32, "orders", TOPIC, NOW)
    assert barred(rooted(KNOWN, distrusted=((AUTHORITY.public, 0),)))


# -- sessions that are there


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"credential_not_before": NOW + SKEW}, None),
        ({"credential_not_before": NOW + SKEW + 1}, Reason.EXPIRED),
        ({"credential_not_after": NOW}, None),
        ({"credential_not_after": NOW - 1}, Reason.EXPIRED),
        ({"made_at": NOW + SKEW}, None),
        ({"made_at": NOW + SKEW + 1}, Reason.AHEAD),
        ({"credential_signer": None}, None),  # out of a vault of a former release
        ({"credential_signer": bytes(32)}, Reason.UNKNOWN_SIGNER),
    ],
)
def test_a_session_counts_by_what_its_senders_credential_was_when_it_was_made(
    changes: dict[str, object], says: Reason | None
) -> None:
    known = replace(KNOWN, judged={})
    assert reason(lambda: known.may_produce(opened_session(**changes), TOPIC, NOW)) is says


def test_a_session_counts_for_as_long_as_the_root_trusts_the_key_that_admitted_its_sender() -> None:
    sent = opened_session()
    both = (*ROOT.authority_keys, (ED25519, NEWER.public, NOW + YEAR))
    ended = ((ED25519, AUTHORITY.public, NOW), (ED25519, NEWER.public, NOW + YEAR))
    for says, changes in (
        (None, {"authority_keys": both}),
        (None, {"authority_keys": ended}),
        (Reason.UNKNOWN_SIGNER, {"authority_keys": both[1:]}),
        (Reason.DISTRUSTED, {"authority_keys": both, "distrusted": ((AUTHORITY.public, NOW),)}),
        (None, {"authority_keys": both, "distrusted": ((AUTHORITY.public, NOW + 1),)}),
    ):
        known = rooted(KNOWN, **changes)
        assert known.root.version == 2
        assert reason(lambda under=known: under.may_produce(sent, TOPIC, NOW + DAY)) is says


def test_a_session_is_judged_once_for_each_cloud_topic_and_so_many_judgements_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert trust._MEMO_MOST == 8192
    monkeypatch.setattr(trust, "_MEMO_MOST", 2)
    known, sent = replace(KNOWN, judged={}), opened_session()
    for topic in ("a", "b", "a"):
        known.may_produce(sent, topic, NOW)
    assert list(known.judged) == [(sent.id, "a"), (sent.id, "b")]
    known.may_produce(sent, "c", NOW)
    assert list(known.judged) == [(sent.id, "c")]
