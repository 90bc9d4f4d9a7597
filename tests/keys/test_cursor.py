"""The cursor: a column of facts, and what is written down about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import vector_world as world
from hypothesis import given
from hypothesis import strategies as st
from vector_world import NOW, inner, lost, seeded

from sealwire.keys import delivery
from sealwire.keys.cursor import (
    END_ALLOWANCE,
    FLOOR_ALLOWANCE,
    TABLE,
    CloudPlace,
    Cursor,
    Decision,
    Deliver,
    Duplicate,
    Gap,
    Hold,
    Rules,
    Sight,
    State,
    Step,
    Trim,
    advance,
    look,
)
from sealwire.keys.delivery import Delivered, Delivery, Position
from sealwire.keys.inner import LOG_START, RESEAL, Inner
from sealwire.keys.opening import Opened
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span

SESSION = world.inbound(world.outbound(made_at=NOW))
SOURCE = inner().source("orders")
AT_100 = Cursor(SOURCE, next=100, session_floor=NOW - 1, sealed_at=NOW - 1 - END_ALLOWANCE)
NONE = Cursor(SOURCE)
HERE, LATER = CloudPlace(bytes(16), 7), CloudPlace(bytes(16), 9)


def seen(first: int, after: int, *, made_at: int = NOW, **said: object) -> Opened:
    fields: dict[str, Any] = {
        "record_count": 1,
        "batch_count": 1,
        "uncompressed_size": 61,
        "last_stable": 10_000,
        **said,
    }
    header = inner(first=first, next=after, **fields)
    return Opened(header, replace(SESSION, made_at=made_at), SOURCE, memoryview(b""), bytes(32))


def seen_lost(first: int, after: int, flags: int = 0) -> Opened:
    header = lost(first=first, next=after, last_stable=2**40, flags=flags)
    return Opened(header, SESSION, SOURCE, memoryview(b""), bytes(32))


OLD = NOW - 1 - FLOOR_ALLOWANCE - 1
HELD = replace(AT_100, state=State.HELD, reason=Reason.REGRESSED, gap=Span(1, 2), place=HERE)

FACTS: list[tuple[Cursor | None, Opened, Decision, int | None, State]] = [
    # cursor, envelope, decision, next, state
    (AT_100, seen(100, 110), Deliver(), 110, State.FLOWING),
    (AT_100, seen(90, 110), Trim(100), 110, State.FLOWING),
    (AT_100, seen(90, 100), Duplicate(), 100, State.FLOWING),
    (AT_100, seen(99, 101), Trim(100), 101, State.FLOWING),
    (AT_100, seen(101, 110), Gap(Span(100, 101), Reason.GAP), 100, State.WAITING),
    (AT_100, seen_lost(100, 120), Deliver(), 120, State.FLOWING),
    (AT_100, seen_lost(90, 120), Trim(100), 120, State.FLOWING),
    (AT_100, seen_lost(100, 100 + 2**20), Deliver(), 100 + 2**20, State.FLOWING),
    (AT_100, seen_lost(100, 101 + 2**20), Hold(Reason.LOST_SPAN), 100, State.HELD),
    (AT_100, seen_lost(99, 101 + 2**20), Hold(Reason.LOST_SPAN), 100, State.HELD),
    # what lacks before a large loss may still come: it is asked for first
    (AT_100, seen_lost(101, 102 + 2**20), Gap(Span(100, 101), Reason.GAP), 100, State.WAITING),
    # what the source no longer has when a mirror asks again: never in silence, and not before what comes first
    (AT_100, seen_lost(100, 101, flags=RESEAL), Hold(Reason.LOST_SPAN), 100, State.HELD),
    (AT_100, seen_lost(90, 101, flags=RESEAL), Hold(Reason.LOST_SPAN), 100, State.HELD),
    (AT_100, seen_lost(90, 100, flags=RESEAL), Duplicate(), 100, State.FLOWING),
    (AT_100, seen_lost(101, 120, flags=RESEAL), Gap(Span(100, 101), Reason.GAP), 100, State.WAITING),
    (AT_100, seen_lost(101, 102 + 2**20, flags=RESEAL), Gap(Span(100, 101), Reason.GAP), 100, State.WAITING),
    (None, seen_lost(0, 10, flags=RESEAL), Hold(Reason.LOST_SPAN), None, State.HELD),
    (None, seen_lost(5, 10, flags=RESEAL), Gap(Span(0, 5), Reason.NO_START), None, State.WAITING),
    (None, seen_lost(1, 10, flags=RESEAL), Gap(Span(0, 1), Reason.NO_START), None, State.WAITING),
    # where nothing was delivered yet, a large loss is asked about wherever it begins
    (None, seen_lost(5, 6 + 2**20), Hold(Reason.LOST_SPAN), None, State.HELD),
    (None, seen_lost(0, 2**20), Deliver(), 2**20, State.FLOWING),
    # a source partition met for the first time
    (None, seen(0, 10), Deliver(), 10, State.FLOWING),
    (None, seen(50, 60, flags=LOG_START), Deliver(), 60, State.FLOWING),
    (None, seen(50, 60, flags=LOG_START | RESEAL), Deliver(), 60, State.FLOWING),
    (None, seen(50, 60), Gap(Span(0, 50), Reason.NO_START), None, State.WAITING),
    (NONE, seen(50, 60), Gap(Span(0, 50), Reason.NO_START), None, State.WAITING),
    # the flag counts only where there is no cursor
    (AT_100, seen(500, 510, flags=LOG_START), Gap(Span(100, 500), Reason.GAP), 100, State.WAITING),
    # plausible spans: at most max_hole offsets before each record and behind the last
    (AT_100, seen(100, 101 + 2 * 2**20, last_stable=2**40), Deliver(), 101 + 2 * 2**20, State.FLOWING),
    (AT_100, seen(100, 102 + 2 * 2**20, last_stable=2**40), Hold(Reason.IMPLAUSIBLE), 100, State.HELD),
    (AT_100, seen(100, 110, last_stable=110), Deliver(), 110, State.FLOWING),
    (AT_100, seen(100, 110, last_stable=109), Hold(Reason.IMPLAUSIBLE), 100, State.HELD),
    (None, seen(0, 2**40, last_stable=2**41), Hold(Reason.IMPLAUSIBLE), None, State.HELD),
    # the source's end went back behind what was delivered
    (AT_100, seen(10, 20, last_stable=99), Hold(Reason.REGRESSED), 100, State.HELD),
    (AT_100, seen(10, 20, last_stable=100), Duplicate(), 100, State.FLOWING),
    (AT_100, seen(10, 20, last_stable=99, made_at=NOW - 1), Duplicate(), 100, State.FLOWING),
    # of two sealers that overlap, one may not have seen yet what the other sealed already
    (AT_100, seen(10, 20, last_stable=99, sealed_at=NOW - 1), Duplicate(), 100, State.FLOWING),
    (AT_100, seen(10, 20, last_stable=99, flags=RESEAL), Duplicate(), 100, State.FLOWING),
    # the session floor
    (AT_100, seen(100, 110, made_at=OLD + 1), Deliver(), 110, State.FLOWING),
    (AT_100, seen(100, 110, made_at=OLD), Gap(Span(100, 110), Reason.BELOW_FLOOR), 100, State.WAITING),
    (AT_100, seen(90, 100, made_at=OLD), Duplicate(), 100, State.FLOWING),
    # held: nothing moves, and what lies behind is still a duplicate
    (HELD, seen(100, 110), Hold(Reason.REGRESSED), 100, State.HELD),
    (HELD, seen(500, 510), Hold(Reason.REGRESSED), 100, State.HELD),
    (HELD, seen(90, 100), Duplicate(), 100, State.HELD),
    (HELD, seen(10, 20, last_stable=99), Duplicate(), 100, State.HELD),
]


@pytest.mark.parametrize(("cursor", "opened", "decision", "after", "state"), FACTS)
def test_what_an_envelope_does_to_a_cursor(
    cursor: Cursor | None, opened: Opened, decision: Decision, after: int | None, state: State
) -> None:
    moved, decided = advance(cursor, opened, Rules(), HERE)
    assert decided == decision
    assert (moved.next, moved.state) == (after, state)
    assert (moved.reason is None) == (state is State.FLOWING)
    assert (moved.place is None) == (state is State.FLOWING)


def test_every_state_and_sight_has_its_row() -> None:
    assert set(TABLE) == {(state, sight) for state in State for sight in Sight}


WAITING = replace(AT_100, state=State.WAITING, reason=Reason.NO_START, gap=Span(100, 105), place=HERE)
NEW_WAITING = replace(NONE, state=State.WAITING, reason=Reason.BELOW_FLOOR, gap=Span(0, 5), place=HERE)
NEW_HELD = replace(NONE, state=State.HELD, reason=Reason.IMPLAUSIBLE, gap=Span(0, 5), place=HERE)
BEGUN = {State.FLOWING: AT_100, State.WAITING: WAITING, State.HELD: HELD}
FRESH = {State.FLOWING: NONE, State.WAITING: NEW_WAITING, State.HELD: NEW_HELD}
SHOWN: dict[Sight, Opened] = {
    Sight.REGRESSED: seen(10, 20, last_stable=99),
    Sight.BEHIND: seen(90, 100),
    Sight.TOO_OLD: seen(100, 110, made_at=OLD),
    Sight.ODD_SPAN: seen(100, 110, last_stable=109),
    Sight.ODD_LOSS: seen_lost(100, 101 + 2**20),
    Sight.START: seen(0, 10),
    Sight.NO_START: seen(50, 60),
    Sight.NEXT: seen(100, 110),
    Sight.OVER: seen(90, 110),
    Sight.BEYOND: seen(110, 120),
}


@pytest.mark.parametrize(("state", "sight"), TABLE, ids=str)
def test_each_row_of_the_table_is_what_an_envelope_does(state: State, sight: Sight) -> None:
    before = (FRESH if sight in {Sight.START, Sight.NO_START} else BEGUN)[state]
    opened = SHOWN[sight]
    assert look(before, opened, Rules()) is sight
    after, decision = advance(before, opened, Rules(), LATER)
    step, reason = TABLE[state, sight]
    here = before.next or 0
    if step in {Step.DELIVER, Step.TRIM}:
        assert decision == (Deliver() if step is Step.DELIVER else Trim(here))
        assert (after.next, after.state, after.reason, after.gap) == (opened.span.next, State.FLOWING, None, None)
        assert after.place == before.place  # what was passed over is read again
    elif step is Step.WAIT:
        assert reason is not None
        missing = Span(here, opened.span.next if reason is Reason.BELOW_FLOOR else opened.span.first)
        assert decision == Gap(missing, reason)
        first = (before.reason, before.gap, HERE) if state is State.WAITING else (reason, missing, LATER)
        assert (after.next, after.state) == (before.next, State.WAITING)
        assert (after.reason, after.gap, after.place) == first
    elif step is Step.HOLD:
        assert decision == Hold(reason)
        held = replace(before, state=State.HELD, reason=reason, gap=opened.span, place=before.place or LATER)
        assert after == held
    else:
        assert decision == (Duplicate() if step is Step.DROP else Hold(before.reason))
        assert after == before


def test_a_cursor_moves_only_forward_and_only_by_deliver_or_trim() -> None:
    for cursor, opened, decision, after, _ in FACTS:
        before = None if cursor is None else cursor.next
        if isinstance(decision, Deliver | Trim):
            assert after == opened.span.next
            assert before is None or after > before
        else:
            assert after == before


def test_what_is_held_begins_where_the_cursor_stands() -> None:
    lost, _ = advance(AT_100, seen_lost(90, 120, flags=RESEAL), Rules(), HERE)
    assert lost.gap == Span(100, 120)
    regressed, _ = advance(AT_100, seen(10, 20, last_stable=99), Rules(), HERE)
    assert regressed.gap == Span(10, 20)
    touching, _ = advance(AT_100, seen(90, 100, last_stable=99), Rules(), HERE)
    assert touching.gap == Span(90, 100)
    new, _ = advance(None, seen_lost(0, 10, flags=RESEAL), Rules(), HERE)
    assert (new.gap, new.session_floor) == (Span(0, 10), 0)


def test_a_gap_keeps_its_first_place_until_what_lies_behind_was_read_again() -> None:
    waiting, _ = advance(AT_100, seen(110, 120), Rules(), HERE)
    waiting, decision = advance(waiting, seen(120, 130), Rules(), LATER)
    assert decision == Gap(Span(100, 120), Reason.GAP)
    assert (waiting.gap, waiting.place) == (Span(100, 110), HERE)
    filled, _ = advance(waiting, seen(100, 110, flags=RESEAL), Rules(), LATER)
    assert (filled.state, filled.gap, filled.reason, filled.place) == (State.FLOWING, None, None, HERE)
    assert filled.caught_up().place is None
    with pytest.raises(Misuse):
        waiting.caught_up()


def test_the_first_place_that_is_not_read_yet_stays_whatever_comes_and_a_place_is_taken_where_there_was_none() -> None:
    for opened in (seen(110, 120), seen(100, 110, last_stable=109)):
        assert advance(replace(AT_100, place=HERE), opened, Rules(), LATER)[0].place == HERE
        assert advance(AT_100, opened, Rules(), LATER)[0].place == LATER
    waiting, _ = advance(AT_100, seen(110, 120), Rules())
    assert waiting.place is None
    assert advance(waiting, seen(110, 120), Rules(), LATER)[0].place == LATER


def test_a_cursor_keeps_when_the_newest_of_its_envelopes_was_sealed() -> None:
    later, _ = advance(AT_100, seen(100, 110), Rules())
    assert later.sealed_at == NOW
    older, _ = advance(later, seen(110, 120, sealed_at=NOW - 5), Rules())
    assert older.sealed_at == NOW


def test_what_is_held_for_no_reason_that_is_known_is_not_believed() -> None:
    assert advance(replace(HELD, reason=None), seen(100, 110), Rules())[1] == Hold(Reason.IMPLAUSIBLE)


def test_clocks_and_lives_of_sessions_are_allowed_for_as_the_format_says() -> None:
    assert FLOOR_ALLOWANCE == 65 * 60_000
    assert END_ALLOWANCE == 5 * 60_000 + 10_000


def test_a_gap_that_is_filled_in_part_still_waits() -> None:
    waiting, _ = advance(AT_100, seen(110, 120), Rules(), HERE)
    partly, decision = advance(waiting, seen(100, 105), Rules())
    assert decision == Deliver()
    assert (partly.next, partly.state, partly.gap) == (105, State.WAITING, Span(105, 110))


def test_a_late_reader_may_begin_anywhere_once_a_person_says_so() -> None:
    moved, decision = advance(None, seen(50, 60), Rules(begin_anywhere=True))
    assert (decision, moved.next) == (Deliver(), 60)


def test_a_resealed_envelope_never_lifts_the_session_floor() -> None:
    assert advance(AT_100, seen(100, 110, flags=RESEAL), Rules())[0].session_floor == NOW - 1
    assert advance(AT_100, seen(100, 110), Rules())[0].session_floor == NOW
    assert advance(AT_100, seen(100, 110, made_at=NOW - 2), Rules())[0].session_floor == NOW - 1


def test_a_source_partition_met_first_takes_the_floor_of_its_site() -> None:
    old = seen(0, 10, made_at=NOW - FLOOR_ALLOWANCE - 1)
    moved, decision = advance(None, old, Rules(site_floor=NOW))
    assert decision == Gap(Span(0, 10), Reason.BELOW_FLOOR)
    assert (moved.next, moved.session_floor) == (None, NOW)
    assert advance(NONE, old, Rules(site_floor=NOW)) == (moved, decision), "an empty cursor is as good as none"
    assert advance(None, old, Rules())[1] == Deliver()
    assert advance(moved, seen(0, 10), Rules(site_floor=NOW + 1))[0].session_floor == NOW, "only where it is met first"


def test_progress_lifts_the_floor_only_where_it_names_the_cursor() -> None:
    assert AT_100.confirmed(100, NOW + 5).session_floor == NOW + 5
    assert AT_100.confirmed(101, NOW + 5) == AT_100
    assert AT_100.confirmed(100, NOW - 10) == AT_100


def test_where_nothing_was_delivered_a_cursor_has_no_floor_and_flows() -> None:
    assert Cursor(SOURCE) == Cursor(SOURCE, None, 0, 0, State.FLOWING, None, None, None, None)


def test_an_envelope_never_moves_another_source_partitions_cursor() -> None:
    with pytest.raises(Misuse):
        advance(replace(AT_100, source=replace(SOURCE, topic_id=bytes(16))), seen(100, 110), Rules())


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=40),
    st.randoms(use_true_random=False),
)
def test_whatever_is_repeated_or_reordered_each_offset_is_delivered_once_and_in_order(
    extra: list[tuple[int, int]], shuffler: object
) -> None:
    spans = [(at, at + 5) for at in range(0, 60, 5)] + [(first, min(first + size, 60)) for first, size in extra]
    spans = [span for span in spans if span[0] < span[1]]
    shuffler.shuffle(spans)  # type: ignore[attr-defined]
    cursor: Cursor | None = None
    delivered: list[int] = []
    for first, after in spans * 13:  # what waits is read again, as a cloud that keeps its records allows
        flags = LOG_START if first == 0 else 0
        cursor, decision = advance(cursor, seen(first, after, flags=flags), Rules())
        if isinstance(decision, Deliver):
            delivered += range(first, after)
        elif isinstance(decision, Trim):
            delivered += range(decision.from_offset, after)
    assert delivered == list(range(60))


DELIVERED = Delivered(
    Span(100, 110), seeded("sender"), seeded("session"), seeded("digest"), "cluster", seeded("t", 16), 2, 40, 50, 50
)


@pytest.mark.parametrize("cursor", [NONE, AT_100, HELD, replace(AT_100, place=LATER, order=bytes(16))], ids=str)
@pytest.mark.parametrize("delivered", [None, DELIVERED], ids=["nothing", "something"])
def test_what_is_written_is_read_back(cursor: Cursor, delivered: Delivered | None) -> None:
    assert Cursor.decode(cursor.encode()) == cursor
    record = Delivery(cursor, delivered)
    assert Delivery.decode(record.encode()) == record


def test_a_position_and_a_record_key_are_read_back() -> None:
    position = Position(seeded("topic", 16), 2**40)
    assert Position.decode(position.encode()) == position
    assert delivery.read_record_key(delivery.record_key("invoices", SOURCE)) == ("invoices", SOURCE)
    assert SourcePartition.decode(SOURCE.encode()) == SOURCE


@pytest.mark.parametrize("read", [Cursor.decode, Delivery.decode, Position.decode])
def test_a_local_record_of_a_newer_release_is_told_from_a_damaged_one(read: object) -> None:
    for data, reason in ((b"", Reason.MALFORMED), (b"\3\x90", Reason.UNKNOWN_VERSION), (b"\1\x90", Reason.MALFORMED)):
        with pytest.raises(Rejected) as refused:
            read(data)  # type: ignore[operator]
        assert refused.value.reason is reason


def test_an_inner_header_names_its_source_partition() -> None:
    said: Inner = inner()
    assert str(said.source("orders")) == "orders/berlin/orders.eu/2"
