"""What a ledger tells of a source partition: runs that touch, and what was delivered again or has no place."""

from __future__ import annotations

from statement_world import Draws

from sealwire.keys.delivery import Delivered, Delivery
from sealwire.keys.history import AGAIN, LOST, NO_MORE, NOWHERE, SMALL, UNPLACED, Passed, Run, history
from sealwire.keys.order import Expected, Kind, apply, give
from sealwire.keys.reason import Reason
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor, State

SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 0)
SINK = bytes(range(16))


def told(first: int, following: int, sink_first: int, sink_next: int, topic_id: bytes = SINK) -> Delivery:
    delivered = Delivered(
        span=Span(first, following),
        sender=bytes(32),
        session_id=bytes(32),
        body_digest=bytes(32),
        sink_cluster="c",
        sink_topic_id=topic_id,
        sink_partition=0,
        sink_first=sink_first,
        sink_next=sink_next,
        sink_end=sink_next,
    )
    return Delivery(Cursor(SOURCE, following), delivered)


def runs(*deliveries: Delivery) -> list[Run]:
    return history(deliveries, SINK).runs


def lost(first: int, following: int) -> tuple[Passed, ...]:
    return (Passed(Span(first, following), LOST),)


def test_spans_that_touch_are_runs_one_after_the_other() -> None:
    assert runs(told(0, 5, 10, 15), told(5, 9, 17, 20)) == [
        Run(Span(0, 5), Span(10, 15)),
        Run(Span(5, 9), Span(17, 20)),
    ]


def test_small_ones_side_by_side_are_one_run_and_large_ones_stay_apart() -> None:
    assert runs(told(0, 5, 0, 5), told(5, 9, 5, 9), told(9, 12, 10, 13)) == [Run(Span(0, 12), Span(0, 13))]
    ledger = [told(at, at + 600, at, at + 600) for at in range(0, 3000, 600)]
    assert [len(run.sink) for run in runs(*ledger)] == [600] * 5
    assert [len(run.sink) for run in runs(*(told(at, at + 1, at, at + 1) for at in range(2500)))] == [
        SMALL,
        SMALL,
        500,
    ]


def test_what_begins_before_the_last_end_was_trimmed() -> None:
    assert runs(told(0, 5, 0, 5), told(2, 9, 7, 11))[1] == Run(Span(5, 9), Span(7, 11))


def test_what_no_record_names_between_two_is_a_run_without_records() -> None:
    assert runs(told(0, 5, 0, 5), told(7, 9, 5, 7)) == [
        Run(Span(0, 5), Span(0, 5)),
        Run(Span(5, 7), NOWHERE),
        Run(Span(7, 9), Span(5, 7)),
    ]


def test_deliveries_of_one_round_are_one_run_whatever_was_lost_between() -> None:
    assert runs(told(0, 5, 0, 12), told(5, 9, 12, 12), told(9, 12, 0, 12), told(12, 13, 14, 15)) == [
        Run(Span(0, 12), Span(0, 12), lost(5, 9)),
        Run(Span(12, 13), Span(14, 15)),
    ]


def test_what_is_told_again_was_delivered_again() -> None:
    found = history([told(0, 5, 0, 5), told(5, 9, 5, 9), told(0, 5, 9, 14), told(9, 10, 14, 15)], SINK)
    assert found.again == [Span(9, 14)]
    assert [run.span for run in found.runs] == [Span(0, 9), Span(9, 10)]


def test_a_span_without_sink_offsets_was_lost_by_its_source() -> None:
    assert runs(told(0, 5, 0, 5), told(5, 90, 0, 0), told(90, 91, 5, 6))[1] == Run(Span(5, 90), passed=lost(5, 90))


def test_one_whose_place_the_sink_forgot_is_left_out() -> None:
    found = runs(told(0, 5, 100, 105), told(5, 9, 0, 3), told(9, 10, 109, 110))
    assert [run.left for run in found] == ["", UNPLACED, ""]
    assert [run.span for run in found] == [Span(0, 5), Span(5, 9), Span(9, 10)]


def test_what_went_into_a_topic_that_is_no_more_is_left_out() -> None:
    found = runs(told(0, 5, 0, 5, bytes(16)), told(5, 9, 7, 11, bytes(16)), told(9, 10, 0, 1))
    assert [(run.span, run.left) for run in found] == [
        (Span(0, 5), NO_MORE),
        (Span(5, 9), NO_MORE),
        (Span(9, 10), ""),
    ]
    assert [run.left for run in runs(told(0, 5, 0, 5, bytes(16)))] == [NO_MORE]


def test_what_is_delivered_into_the_new_sink_topic_counts_instead() -> None:
    found = runs(told(0, 5, 0, 5, bytes(16)), told(5, 9, 5, 9, bytes(16)), told(5, 9, 0, 4), told(9, 10, 6, 7))
    assert [(run.span, run.sink) for run in found if not run.left] == [
        (Span(5, 9), Span(0, 4)),
        (Span(9, 10), Span(6, 7)),
    ]


def ordered(kind: Kind, cursor: Cursor, to: int) -> Delivery:
    order = give(kind, SOURCE, Expected.of(cursor), to, "anna", "the disk is gone", 5, Draws())
    after = apply(cursor, order)
    assert after is not None
    return Delivery(after, None, order)


def test_a_gap_that_a_person_accepted_says_so() -> None:
    waits = Cursor(SOURCE, 5, state=State.WAITING, reason=Reason.GAP, gap=Span(5, 8))
    found = runs(told(0, 5, 0, 5), ordered(Kind.ACCEPT_GAP, waits, 8), told(8, 9, 5, 6))
    assert [(run.span, run.passed) for run in found] == [
        (Span(0, 5), ()),
        (Span(5, 8), (Passed(Span(5, 8), "the gap was accepted by anna: the disk is gone"),)),
        (Span(8, 9), ()),
    ]


def test_what_a_rewind_left_behind_counts_no_more() -> None:
    back = ordered(Kind.REWIND, Cursor(SOURCE, 9), 5)
    found = history([told(0, 5, 0, 5), told(5, 9, 7, 11), back, told(5, 9, 13, 17)], SINK)
    assert [(run.span, run.sink) for run in found.runs] == [(Span(0, 5), Span(0, 5)), (Span(5, 9), Span(13, 17))]
    assert found.superseded == [Span(7, 11)]
    inside = ordered(Kind.REWIND, Cursor(SOURCE, 9), 7)
    found = history([told(0, 5, 0, 5), told(5, 9, 7, 11), inside, told(7, 9, 13, 15)], SINK)
    assert [(run.span, run.left) for run in found.runs] == [(Span(0, 5), ""), (Span(5, 7), AGAIN), (Span(7, 9), "")]
    stays = ordered(Kind.REWIND, Cursor(SOURCE, 9), 9)
    assert [run.span for run in runs(told(0, 5, 0, 5), told(5, 9, 7, 11), stays)] == [Span(0, 5), Span(5, 9)]


def test_records_that_only_wait_tell_nothing() -> None:
    assert runs(Delivery(Cursor(SOURCE, 5))) == []
