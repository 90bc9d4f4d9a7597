"""Orders: what a person decides passes exactly what it names, goes back, and is applied once."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from vector_world import NOW, inner, seeded

from sealwire.keys.delivery import Delivery
from sealwire.keys.order import WORDS_CAP, Expected, Kind, Order, apply, give, possible
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import CloudPlace, Cursor, State

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = inner().source("orders")
HERE = CloudPlace(bytes(16), 7)
FLOWS = Cursor(SOURCE, next=100, session_floor=NOW, sealed_at=NOW)


def stuck(reason: Reason, first: int, after: int, at: int | None = 100, state: State = State.WAITING) -> Cursor:
    return replace(FLOWS, next=at, state=state, reason=reason, gap=Span(first, after), place=HERE)


GAP = stuck(Reason.GAP, 100, 120)
NO_START = stuck(Reason.NO_START, 0, 50, at=None)
BELOW_FLOOR = stuck(Reason.BELOW_FLOOR, 100, 110)
LOST_SPAN = stuck(Reason.LOST_SPAN, 100, 2**22, state=State.HELD)
SINK_REFUSED = stuck(Reason.SINK_REFUSED, 90, 130, state=State.HELD)
REGRESSED = stuck(Reason.REGRESSED, 40, 60, state=State.HELD)
FAR = stuck(Reason.IMPLAUSIBLE, 500, 2**50, state=State.HELD)
CHANGED = replace(FLOWS, state=State.HELD, reason=Reason.SINK_CHANGED)


def order(cursor: Cursor, kind: Kind, to: int | None, *, again: bool = True) -> Order:
    return give(kind, cursor.source, Expected.of(cursor), to, "ops@host", "gone for good", NOW, os.urandom, again=again)


def accept(cursor: Cursor, to: int) -> Order:
    return order(cursor, Kind.ACCEPT_GAP, to)


def rewind(cursor: Cursor, to: int | None, *, again: bool = True) -> Order:
    return order(cursor, Kind.REWIND, to, again=again)


@pytest.mark.parametrize(
    ("cursor", "to"),
    [(GAP, 120), (GAP, 101), (NO_START, 50), (BELOW_FLOOR, 110), (LOST_SPAN, 2**22), (SINK_REFUSED, 130)],
    ids=str,
)
def test_a_gap_that_is_accepted_is_passed_exactly(cursor: Cursor, to: int) -> None:
    given_order = accept(cursor, to)
    assert given_order.span == Span(cursor.next or 0, to)
    after = apply(cursor, given_order)
    assert after == replace(FLOWS, next=to, place=HERE, order=given_order.id)


@pytest.mark.parametrize(
    ("cursor", "to"),
    [
        (GAP, 100),  # nothing
        (GAP, 99),  # back
        (GAP, 121),  # more than is missing
        (FLOWS, 110),
        (REGRESSED, 60),  # behind the cursor: nothing is missing
        (REGRESSED, 130),
        (FAR, 2**50),  # what lacks before it may still come
        (CHANGED, 110),
        (replace(GAP, gap=None), 110),
        (replace(CHANGED, gap=Span(100, 110)), 110),
        (NO_START, 0),
        (NO_START, 51),
    ],
    ids=str,
)
def test_nothing_is_passed_that_a_gap_does_not_name(cursor: Cursor, to: int) -> None:
    assert not possible(Kind.ACCEPT_GAP, Expected.of(cursor), to)
    with pytest.raises(Misuse):
        accept(cursor, to)
    forced = replace(rewind(cursor, cursor.next), kind=Kind.ACCEPT_GAP, to=to)
    assert apply(cursor, forced) is None


@pytest.mark.parametrize("cursor", [FLOWS, GAP, LOST_SPAN, SINK_REFUSED, REGRESSED, FAR, CHANGED], ids=str)
@pytest.mark.parametrize("to", [0, 40, 100])
def test_a_rewind_goes_back_and_keeps_the_session_floor(cursor: Cursor, to: int) -> None:
    given_order = rewind(cursor, to)
    assert given_order.span == Span(to, 100)
    after = apply(cursor, given_order)
    assert after == replace(FLOWS, next=to, place=cursor.place, order=given_order.id)


def test_a_rewind_never_goes_forward_and_moves_nothing_where_nothing_was_delivered() -> None:
    for cursor, to in ((FLOWS, 101), (replace(FLOWS, next=0), 1), (GAP, None), (NO_START, 0)):
        with pytest.raises(Misuse):
            rewind(cursor, to)
    begun = apply(replace(NO_START, state=State.HELD, reason=Reason.IMPLAUSIBLE), rewind(replace(NO_START), None))
    assert begun is None
    tried = apply(NO_START, rewind(NO_START, None))
    assert tried is not None
    assert (tried.next, tried.state) == (None, State.FLOWING)


def test_a_rewind_may_leave_what_the_cloud_holds_to_a_reseal() -> None:
    after = apply(FAR, rewind(FAR, 100, again=False))
    assert after is not None
    assert (after.next, after.place, after.state) == (100, None, State.FLOWING)


def test_what_flows_may_move_on_before_its_rewind_arrives() -> None:
    given_order = rewind(FLOWS, 40)
    after = apply(replace(FLOWS, next=5000), given_order)
    assert after is not None
    assert after.next == 40
    assert apply(replace(FLOWS, next=99), given_order) is None


def test_an_order_counts_once_even_where_all_comes_to_stand_as_it_stood() -> None:
    first = accept(GAP, 120)
    passed = apply(GAP, first)
    assert passed is not None
    back = rewind(passed, 100)
    again = apply(passed, back)
    assert again is not None
    waits = replace(GAP, order=again.order)
    assert apply(waits, first) is None
    assert apply(waits, accept(waits, 120)) is not None


SPANS = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda ends: Span(min(ends), max(ends)))
CURSORS = st.builds(
    Cursor,
    st.builds(lambda number: replace(SOURCE, partition=number), st.integers(0, 1)),
    next=st.none() | st.integers(0, 200),
    session_floor=st.integers(0, 10),
    state=st.sampled_from(State),
    reason=st.none() | st.sampled_from([Reason.GAP, Reason.NO_START, Reason.IMPLAUSIBLE, Reason.SINK_CHANGED]),
    gap=st.none() | SPANS,
    place=st.none() | st.just(HERE),
    order=st.none() | st.sampled_from([bytes(16), bytes([1] * 16)]),
)


@st.composite
def orders(draw: st.DrawFn) -> tuple[Cursor, Order]:
    """Draw a cursor and an order that may be given for it."""
    cursor = draw(CURSORS)
    kind, here = Kind.REWIND, cursor.next or 0
    to = None if cursor.next is None else draw(st.integers(0, here))
    if (
        cursor.gap is not None
        and possible(Kind.ACCEPT_GAP, Expected.of(cursor), cursor.gap.next)
        and draw(st.booleans())
    ):
        kind, to = Kind.ACCEPT_GAP, draw(st.integers(here + 1, cursor.gap.next))
    return cursor, order(cursor, kind, to, again=draw(st.booleans()))


@given(orders())
def test_to_apply_an_order_twice_is_to_apply_it_once(case: tuple[Cursor, Order]) -> None:
    cursor, given_order = case
    after = apply(cursor, given_order)
    assert after is not None
    assert apply(after, given_order) is None


@given(orders())
def test_an_order_changes_where_a_source_partition_stands_and_never_what_is_believed(
    case: tuple[Cursor, Order],
) -> None:
    cursor, given_order = case
    after = apply(cursor, given_order)
    assert after is not None
    assert after.source == cursor.source
    assert (after.session_floor, after.sealed_at) == (cursor.session_floor, cursor.sealed_at)
    assert after.next == given_order.to
    if given_order.kind is Kind.ACCEPT_GAP:
        assert cursor.gap is not None
        assert given_order.span.first == (cursor.next or 0)
        assert given_order.span.next <= cursor.gap.next
    else:
        assert (after.next or 0) <= (cursor.next or 0)


@given(orders(), CURSORS)
def test_an_order_for_another_state_changes_nothing(case: tuple[Cursor, Order], other: Cursor) -> None:
    cursor, given_order = case
    same = (other.source, other.state, other.reason, other.gap, other.order) == (
        (cursor.source, cursor.state, cursor.reason, cursor.gap, cursor.order)
    )
    moved_on = cursor.state is State.FLOWING and (other.next or 0) >= (cursor.next or 0) and cursor.next is not None
    assume(not (same and (other.next == cursor.next or moved_on)))
    assert apply(other, given_order) is None


@given(orders())
def test_what_is_written_is_read_back(case: tuple[Cursor, Order]) -> None:
    cursor, given_order = case
    assert Order.decode(given_order.encode()) == given_order
    after = apply(cursor, given_order)
    assert after is not None
    for record in (Delivery(after, None, given_order), Delivery(after)):
        assert Delivery.decode(record.encode()) == record
    assert Cursor.decode(after.encode()) == after


def test_a_cursor_without_an_order_is_written_as_ever() -> None:
    assert FLOWS.encode()[0] == Delivery(FLOWS).encode()[0] == 1
    assert Delivery(GAP, None, accept(GAP, 120)).order is not None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _data: b"",
        lambda data: b"\2" + data[1:],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data.replace(b"rewind", b"remind"),
        lambda data: data.replace(b"held", b"hurt"),
    ],
)
def test_an_order_that_is_damaged_or_of_a_newer_release_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Rejected) as refused:
        Order.decode(spoil(rewind(REGRESSED, 40).encode()))
    assert refused.value.reason in {Reason.MALFORMED, Reason.UNKNOWN_VERSION}


def test_an_order_says_who_and_why_in_words_that_have_an_end() -> None:
    for who, why in (("", "why"), ("who", ""), ("who", "w" * (WORDS_CAP + 1))):
        with pytest.raises(Misuse):
            give(Kind.REWIND, SOURCE, Expected.of(FLOWS), 40, who, why, NOW, os.urandom)


def test_an_order_for_another_source_partition_changes_nothing() -> None:
    other = SourcePartition("orders", "berlin", SOURCE.topic, seeded("made anew", 16), SOURCE.partition)
    assert apply(replace(GAP, source=other), accept(GAP, 120)) is None


def test_what_flows_from_offset_0_is_not_what_was_never_delivered() -> None:
    begun, never = replace(FLOWS, next=0), replace(FLOWS, next=None)
    assert not Expected.of(begun).fits(never)
    assert not Expected.of(never).fits(begun)
    assert not Expected.of(never).fits(FLOWS)
    assert not Expected.of(replace(FLOWS, next=101)).fits(FLOWS), "it moves on, and never back by itself"
    moved = replace(GAP, next=101)
    assert not Expected.of(GAP).fits(moved), "what waits must stand exactly so"


def test_the_span_of_an_order_where_nothing_was_delivered_begins_at_offset_0() -> None:
    assert rewind(NO_START, None).span == Span(0, 0)
    assert accept(NO_START, 1).span == Span(0, 1)


def test_what_is_held_for_what_no_span_would_mend_is_never_passed() -> None:
    for reason in (Reason.REGRESSED, Reason.SINK_CHANGED, Reason.CHARTER_OLD, Reason.CURSORS_LOST):
        assert not possible(Kind.ACCEPT_GAP, Expected.of(stuck(reason, 100, 120, state=State.HELD)), 120)
    assert not possible(Kind.ACCEPT_GAP, Expected.of(GAP), None)
    assert not possible(Kind.ACCEPT_GAP, replace(Expected.of(GAP), state=State.FLOWING), 120)


def test_words_of_an_order_have_at_most_a_thousand_characters_and_at_least_one() -> None:
    def said(who: str, why: str) -> Order:
        return give(Kind.REWIND, SOURCE, Expected.of(FLOWS), 40, who, why, NOW, os.urandom)

    assert said("w" * 1000, "y" * 1000).again, "the cloud is read again where nothing else is said"
    for who, why in (("w" * 1001, "y"), ("w", "y" * 1001), ("", "y"), ("w", "")):
        with pytest.raises(Misuse):
            said(who, why)
