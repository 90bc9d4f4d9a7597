"""Where a cloud partition stands: nothing before its position is ever needed again."""

from __future__ import annotations

import pytest
from world import OPEN_ORDERS

from sealwire.agents import clock
from sealwire.agents.cloud_seat import PARKED_FOR_MS, PARKED_MOST, CloudSeat


def a_seat(done_to: int = 0) -> CloudSeat:
    return CloudSeat(OPEN_ORDERS, 0, bytes(16), done_to, done_to)


def test_done_to_never_passes_an_answer_with_deliveries_outstanding() -> None:
    seat = a_seat()
    first, second = seat.took(10), seat.took(20)
    first[1] += 1
    assert not seat.settle(second)
    assert not seat.settle(first)
    assert seat.done_to == 0
    assert seat.settle(first)
    assert seat.done_to == 20


def test_going_back_waits_for_what_is_outstanding_and_for_what_is_read_again() -> None:
    seat = a_seat()
    outstanding = seat.took(10)
    seat.go_back(5)
    again = seat.took(12)
    seat.settle(again)
    assert seat.done_to == 0
    seat.settle(outstanding)
    assert seat.done_to == 12


def test_what_is_settled_late_moves_nothing_beyond_where_reading_went_back_to() -> None:
    seat = a_seat()
    outstanding = seat.took(10)
    seat.go_back(5)
    assert seat.settle(outstanding)
    assert seat.done_to == 5


def test_the_position_stays_before_the_first_parked_envelope() -> None:
    seat = a_seat(100)
    assert seat.park(b"a", 40)
    assert not seat.park(b"a", 30), "its first place is remembered already"
    assert seat.park(b"b", 60)
    assert seat.position == 40
    del seat.parked[b"a"]
    assert seat.position == 60


def test_parked_sessions_are_bounded_and_the_oldest_give_way() -> None:
    seat = a_seat(10_000)
    for number in range(PARKED_MOST + 5):
        assert seat.park(number.to_bytes(32, "big"), number)
    assert len(seat.parked) == PARKED_MOST
    assert seat.position == 5


def test_how_many_sessions_are_waited_for_and_since_when_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seat, now = a_seat(), clock.now()
    for number in range(3):
        monkeypatch.setattr(clock, "now", lambda number=number: now + number)
        seat.park(bytes([number]), number)
    assert seat.parked_row() == {"topic": "acme.orders", "partition": 0, "sessions": 3, "since_ms": now}
    del seat.parked[bytes([0])]
    assert seat.parked_row()["since_ms"] == now + 1


def test_a_parked_session_expires_and_no_longer_pins_the_position(monkeypatch: pytest.MonkeyPatch) -> None:
    seat, now = a_seat(10_000), clock.now()
    seat.park(b"s", 3)
    seat.expire()
    assert seat.position == 3
    monkeypatch.setattr(clock, "now", lambda: now + PARKED_FOR_MS + 60_000)
    seat.expire()
    assert seat.position == 10_000


@pytest.mark.parametrize("offsets", [(7, 3, 9), (3, 7, 9)])
def test_of_several_places_to_look_at_again_the_earliest_counts(offsets: tuple[int, ...]) -> None:
    seat = a_seat(10)
    for offset in offsets:
        seat.look_again(offset)
    assert seat.again == 3
    seat.go_back(3)
    assert seat.again is None
    assert seat.position == 3
