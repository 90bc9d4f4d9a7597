from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, AUTHORITY, BERT, DAY, HOUR, MINUTE, NOW, PROJECT, ROOT, flips, signing

from sealwire.keys import charter, policy, wire
from sealwire.keys.charter import CharterFields, PolicyRow, Refusal
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Type

MEMBER = (("role", "member"), ("site", "berlin"))
SENDERS = policy.table({"role": ["member"], "site": ["berlin", "paris"]})
FIRST = CharterFields(
    version=1,
    as_of=NOW,
    root_version=1,
    policies=(
        PolicyRow("orders", "*", policy.ATTRIBUTES, SENDERS, policy.MEMBERS, DAY),
        PolicyRow("erp.*", "acme.erp.*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, 0),
        PolicyRow("cel", "*", 1, policy.MEMBERS, policy.MEMBERS, 0),
    ),
    refusals=tuple(
        sorted((Refusal(ANNA.id, 0, "laptop lost"), Refusal(BERT.id, NOW, "")), key=lambda row: row.member_id)
    ),
    min_suite=1,
    min_format=1,
    max_age=HOUR,
)
STATEMENT = charter.make(ROOT, AUTHORITY, FIRST)


def refusal(statement: bytes, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as caught:
        charter.read(statement, ROOT, now)
    return caught.value.reason


def test_charter_0_lets_members_produce_and_consume_everywhere_and_others_nowhere() -> None:
    everywhere = PolicyRow("*", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, 0)
    assert CharterFields(0, 0, 1, (everywhere,), (), 1, 1, 0) == charter.BUILT_IN
    for may in (charter.BUILT_IN.may_produce, charter.BUILT_IN.may_consume):
        assert may(MEMBER, "orders", "acme.orders")
        assert not may((("role", "guest"), ("site", "berlin")), "orders", "acme.orders")
        assert not may((("site", "berlin"),), "orders", "acme.orders")


def test_a_charter_is_read_as_it_was_signed() -> None:
    read = charter.read(STATEMENT, ROOT, NOW)
    assert read.says_as(FIRST)
    assert (read.as_of, read.statement) == (FIRST.as_of, STATEMENT)


def test_the_first_policy_that_covers_channel_and_topic_decides_and_where_none_does_nobody_may() -> None:
    assert FIRST.may_produce(MEMBER, "orders", "acme.orders")
    assert not FIRST.may_produce((("role", "member"), ("site", "rome")), "orders", "acme.orders")
    assert FIRST.may_consume((("role", "member"), ("site", "rome")), "orders", "acme.orders")
    assert FIRST.may_produce(MEMBER, "erp.a", "acme.erp.a")
    assert not FIRST.may_produce(MEMBER, "erp.a", "acme.other")
    assert not FIRST.may_produce(MEMBER, "invoices", "acme.invoices")
    assert not FIRST.may_consume(MEMBER, "cel", "acme.cel")
    assert not FIRST.may_consume(MEMBER, "invoices", "acme.invoices")


def test_a_charter_refuses_those_it_names_and_nobody_beside_them() -> None:
    first, second = FIRST.refusals
    assert FIRST.refused_since(first.member_id) == first.since
    assert FIRST.refused_since(second.member_id) == second.since
    for other in (bytes(32), first.member_id[:-1] + bytes((first.member_id[-1] ^ 1,)), b"\xff" * 32):
        assert FIRST.refused_since(other) is None


def test_how_far_back_a_member_reads_is_for_the_row_that_covers_channel_and_topic() -> None:
    assert FIRST.backfill("orders", "acme.orders") == DAY
    assert FIRST.backfill("erp.a", "acme.erp.a") == 0
    assert FIRST.backfill("invoices", "acme.invoices") == 0
    rows = tuple(
        PolicyRow("erp.*", topic, 0, policy.MEMBERS, policy.MEMBERS, back)
        for topic, back in (("a", 1), ("*", 3), ("c", 2))
    )
    several = msgspec.structs.replace(FIRST, policies=(*FIRST.policies, *rows))
    assert (several.longest_backfill("erp.x"), several.longest_backfill("orders")) == (3, DAY)
    assert several.longest_backfill("invoices") == 0


def test_an_altered_bit_anywhere_in_a_charter_is_rejected() -> None:
    for altered in flips(STATEMENT):
        refusal(altered)


def test_only_the_authority_signs_charters() -> None:
    assert refusal(wire.write(Type.CHARTER, PROJECT, FIRST, [signing("stranger")])) is Reason.UNKNOWN_SIGNER
    assert refusal(STATEMENT, NOW - 5 * MINUTE - 1) is Reason.AHEAD


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"refusals": tuple(reversed(FIRST.refusals))},
        {"refusals": FIRST.refusals[:1] * 2},
        {"policies": (PolicyRow("a*b", "*", 0, policy.MEMBERS, policy.MEMBERS, 0),)},
        {"policies": (PolicyRow("", "*", 0, policy.MEMBERS, policy.MEMBERS, 0),)},
        {"policies": (PolicyRow("a", "*", 0, (("a", ("y", "x")),), policy.MEMBERS, 0),)},
        {"policies": (*FIRST.policies, PolicyRow("a", "*", 0, policy.MEMBERS, (("a", ("x", "x")),), 0))},
    ],
)
def test_a_charter_that_contradicts_itself_is_neither_made_nor_read_nor_remembered(changes: dict[str, object]) -> None:
    wrong = msgspec.structs.replace(FIRST, **changes)
    with pytest.raises(Misuse):
        charter.make(ROOT, AUTHORITY, wrong)
    statement = wire.write(Type.CHARTER, PROJECT, wrong, [AUTHORITY])
    assert refusal(statement) is Reason.MALFORMED
    with pytest.raises(Rejected):
        charter.remembered(statement, PROJECT)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_charter_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.CHARTER, wire.head(Type.CHARTER, PROJECT, noise), [AUTHORITY])
    for statement in (noise, STATEMENT[:41] + noise, framed):
        refusal(statement)
