"""Where a source partition stands: its position never passes what the cloud has not acknowledged."""

from __future__ import annotations

import itertools

import pytest
from world import ORDERS

from sealwire.agents.source_seat import SourceSeat


def a_seat() -> SourceSeat:
    return SourceSeat(ORDERS, 0, bytes(16), 0, log_start=True, position=0)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_position_never_passes_an_envelope_that_is_not_acknowledged(order: tuple[int, ...]) -> None:
    seat = a_seat()
    sent = [seat.sent(10), seat.sent(20), seat.sent(30)]
    done: set[int] = set()
    for number in order:
        before = seat.position
        moved = seat.acknowledged(sent[number])
        done.add(number)
        whole = next((each for each in range(3) if each not in done), 3)
        assert seat.position == 10 * whole
        assert moved == (seat.position != before)


def test_a_position_counts_only_when_something_was_acknowledged() -> None:
    seat = a_seat()
    entry = seat.sent(10)
    assert not seat.begun
    seat.acknowledged(entry)
    assert seat.begun


@pytest.mark.parametrize(
    ("held", "why", "state"), [("", "", "flowing"), ("", "no reader", "waiting"), ("no", "no reader", "held")]
)
def test_its_state_is_one_of_three_with_the_words_that_belong_to_it(held: str, why: str, state: str) -> None:
    seat = a_seat()
    seat.held, seat.why = held, why
    assert seat.row("berlin")["state"] == state
    assert seat.row("berlin")["why"] == (held or why)
