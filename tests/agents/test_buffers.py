"""Buffers are lent again, up to a bound."""

from __future__ import annotations

import pytest

from sealwire.agents.buffers import Buffers

KIB = 1024


@pytest.mark.parametrize(
    "size", [0, 1, 16 * KIB, 16 * KIB + 1, 128 * KIB, 900_000, 5 * KIB * KIB, 5 * KIB * KIB + 1, 1 << 25]
)
def test_a_buffer_has_at_least_the_size_that_was_asked_for(size: int) -> None:
    assert len(Buffers().lend(size)) >= size


def test_a_buffer_that_came_back_is_lent_again() -> None:
    buffers = Buffers()
    first = buffers.lend(900_000)
    buffers.give_back(first)
    assert buffers.lend(700_000) is first
    assert buffers.lend(700_000) is not first


@pytest.mark.parametrize("size", [17 * KIB, 40 * KIB, 130 * KIB, 300_000, 600_000, 1_100_000])
def test_a_buffer_is_no_more_than_about_twice_what_was_asked_for(size: int) -> None:
    assert len(Buffers().lend(size)) <= 2 * size + 2 * KIB


def test_what_is_kept_is_bounded() -> None:
    buffers = Buffers(3 * KIB * KIB)
    lent = [buffers.lend(900_000) for _ in range(10)]
    for each in lent:
        buffers.give_back(each)
    assert buffers._kept == 3 * KIB * KIB
    kept = [buffers.lend(900_000) for _ in range(10)]
    assert sum(any(each is one for one in lent) for each in kept) == 3


def test_a_buffer_of_an_odd_size_is_not_kept() -> None:
    buffers = Buffers()
    buffers.give_back(bytearray(1 << 25))
    buffers.give_back(bytearray(100))
    assert buffers._kept == 0
