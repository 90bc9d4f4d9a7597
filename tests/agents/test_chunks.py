"""Chunks: where what was fetched is cut, what is left out, and what a mirror would not believe."""

from __future__ import annotations

import struct

import pytest
from batch_made import apart, build, control, resum, some, unbuild
from hypothesis import given
from hypothesis import strategies as st
from test_batches import whole

from sealwire.agents.batches import MAX_HOLE, scan, walk
from sealwire.agents.chunks import Chunk, Limits, believable, cut, divide
from sealwire.agents.header import read_header


def test_a_chunk_is_cut_before_it_passes_a_limit() -> None:
    parts = [build(some(5), 5 * i) for i in range(10)]
    size = len(parts[0])
    by_bytes = cut(whole(*parts), 0, Limits(stored_bytes=3 * size))
    assert [chunk.batch_count for chunk in by_bytes] == [3, 3, 3, 1]
    by_count = cut(whole(*parts), 0, Limits(records=14))
    assert [chunk.record_count for chunk in by_count] == [10] * 5
    opened = cut(whole(*(build(some(50), 50 * i, codec=3) for i in range(4))), 0, Limits(opened_bytes=1))
    assert [chunk.batch_count for chunk in opened] == [1] * 4
    assert [chunk.next for chunk in by_count] == [10, 20, 30, 40, 50]
    assert all(chunk.size <= 3 * size for chunk in by_bytes)


def test_a_batch_beyond_every_limit_is_a_chunk_of_its_own() -> None:
    parts = [build(some(1), 0), build(some(90, size=400), 1), build(some(1), 91)]
    assert [chunk.record_count for chunk in cut(whole(*parts), 0, Limits(stored_bytes=1000))] == [1, 90, 1]


def test_the_bytes_of_a_chunk_are_those_that_were_fetched() -> None:
    data = whole(build(some(5), 0), build(some(5), 5))
    (chunk,) = cut(data, 0)
    assert b"".join(chunk.parts) == data
    (part,) = chunk.parts
    assert part.obj is data.obj, "side by side, so one part, and no copy"


def test_control_batches_and_empty_ones_are_left_out_and_the_span_covers_them() -> None:
    empty = bytearray(build(some(1), 4))[:61]
    struct.pack_into(">i", empty, 8, 49)
    struct.pack_into(">i", empty, 57, 0)
    data = whole(build(some(3), 0), control(3, 7, commit=True), resum(empty))
    (chunk,) = cut(data, 0)
    assert (chunk.record_count, chunk.next) == (3, 5)
    assert cut(whole(control(9, 7, commit=True)), 9) == []
    assert scan(whole(control(9, 7, commit=True)), 9).next == 10


def test_aborted_transactions_are_left_out_and_others_of_the_same_producer_are_not() -> None:
    data = whole(
        build(some(2), 0, attributes=0x10, producer=7),  # aborted
        build(some(2), 2, attributes=0x10, producer=8),  # committed, in between
        control(4, 7, commit=False),
        build(some(2), 5, attributes=0x10, producer=7),  # committed
        control(7, 8, commit=True),
        control(8, 7, commit=True),
        build(some(2), 9, producer=7),  # outside of transactions
        build(some(2), 11, attributes=0x10, producer=7),  # aborted
        control(13, 7, commit=False),
    )
    (chunk,) = cut(data, 0, aborted=[(7, 11), (7, 0)])
    kept = [read_header(batch).base_offset for part in chunk.parts for batch in apart(part)]
    assert kept == [2, 5, 9]
    assert chunk.next == 14


def test_a_fetch_that_starts_inside_an_aborted_transaction_leaves_its_rest_out() -> None:
    data = whole(build(some(2), 6, attributes=0x10, producer=7), control(8, 7, commit=False), build(some(1), 9))
    (chunk,) = cut(data, 6, aborted=[(7, 2)])
    assert [read_header(batch).base_offset for part in chunk.parts for batch in apart(part)] == [9]


@pytest.mark.parametrize("codec", range(5))
def test_a_batch_that_starts_before_the_wanted_offset_is_trimmed(codec: int) -> None:
    made = some(20, size=400)
    (chunk,) = cut(whole(build(made, 100, codec), build(some(2), 120)), 113)
    assert unbuild(chunk.parts) == made[13:] + some(2)
    assert (chunk.record_count, chunk.next, read_header(chunk.parts[0]).base_offset) == (9, 122, 113)
    assert walk(memoryview(b"".join(chunk.parts)), 113, 122)


def test_batches_before_the_wanted_offset_are_left_out() -> None:
    (chunk,) = cut(whole(build(some(5), 0), build(some(5), 5)), 5)
    assert chunk.record_count == 5
    gap = build(some(2), 0, offsets=[0, 1], last_delta=9)
    assert cut(whole(gap), 4) == []


def test_a_chunk_says_whether_all_of_it_came_uncompressed() -> None:
    (plain,) = cut(whole(build(some(5), 0)), 0)
    (mixed,) = cut(whole(build(some(5), 0), build(some(50), 5, codec=4)), 0)
    assert (plain.plain, mixed.plain) == (True, False)


def test_a_hole_larger_than_a_mirror_believes_lies_in_no_chunk() -> None:
    far = 3 * MAX_HOLE
    first, second = cut(whole(build(some(2), 0), build(some(2), far)), 0)
    assert (first.start, first.end, first.next) == (0, 2, 2)
    assert (second.start, second.end, second.next) == (far, far + 2, far + 2)


def test_an_odd_leader_epoch_is_none() -> None:
    (chunk,) = cut(whole(build(some(2), 0, leader_epoch=-7)), 0)
    assert chunk.leader_epoch == -1


def chunk_of(*parts: bytes, first: int = 0) -> Chunk:
    (chunk,) = cut(whole(*parts), first)
    chunk.last_stable = chunk.next
    return chunk


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(2, 9), st.integers(0, 4))
def test_what_is_divided_is_together_the_chunk(counts: list[int], count: int, codec: int) -> None:
    starts = [sum(counts[:at]) for at in range(len(counts))]
    chunk = chunk_of(*(build(some(size, at, size=200), at, codec) for at, size in zip(starts, counts, strict=True)))
    found = divide(chunk, count)
    assert unbuild(part for each in found for part in each.parts) == some(sum(counts), size=200)
    first = 0
    for each in found:
        assert each.last_stable == chunk.last_stable
        assert walk(memoryview(b"".join(each.parts)), first, each.next)
        assert sum(len(part) for part in each.parts) == each.size
        first = each.next
    assert first == chunk.next
    assert len(found) > 1 or chunk.record_count == 1


@pytest.mark.parametrize("far", [MAX_HOLE, MAX_HOLE + 1, 5 * MAX_HOLE + 7])
def test_no_span_has_a_hole_that_a_mirror_would_not_believe(far: int) -> None:
    data = whole(build(some(2), 10 + far), control(12 + 2 * far, 7, commit=True))
    (chunk,) = cut(data, 10)
    found = list(believable(chunk, 10))
    first = 10
    for each in found:
        assert first < each.next
        walk(memoryview(b"".join(each.parts)), first, each.next)
        first = each.next
    assert first == chunk.next == 13 + 2 * far
    assert sum(each.record_count for each in found) == 2


def test_a_span_without_anything_is_passed_in_steps() -> None:
    steps = [each.next for each in believable(Chunk(next=2 * MAX_HOLE + 5), 0)]
    assert steps == [MAX_HOLE, 2 * MAX_HOLE, 2 * MAX_HOLE + 5]
