"""Batches by their headers: what is found, where it is cut, what is left out, what is not believed."""

from __future__ import annotations

import gzip
import struct
import zlib

import pytest
from batch_made import NOW, Made, build, control, resum, some, unbuild
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import batches, records
from sealwire.agents.batches import Caps, Corrupt, Implausible, Limits, cut, restamp, scan, walk
from sealwire.agents.header import read_header


def whole(*parts: bytes) -> memoryview:
    return memoryview(b"".join(parts))


def test_whole_batches_are_found_and_a_torn_last_one_is_dropped() -> None:
    first, second = build(some(3), 10), build(some(2), 13, codec=3)
    for missing in (1, 40, len(second) - 1):
        found = scan(whole(first, second[:-missing]), 10)
        assert [header.base_offset for header in found.headers] == [10]
        assert (found.next, found.size) == (13, len(first))
    found = scan(whole(first, second), 10)
    assert [(header.base_offset, header.record_count, header.codec) for header in found.headers] == [
        (10, 3, 0),
        (13, 2, 3),
    ]


def test_a_batch_that_was_altered_on_its_way_is_corrupt() -> None:
    batch = bytearray(build(some(3)))
    batch[-1] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        scan(whole(bytes(batch)))
    assert scan(whole(bytes(batch)), check_crc=False).headers


@given(st.binary(max_size=300))
def test_any_bytes_are_scanned_or_corrupt(data: bytes) -> None:
    try:
        found = scan(memoryview(data))
    except Corrupt:
        return
    assert found.size <= len(data)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_batch_altered_anywhere_is_scanned_walked_and_read_without_another_exception(at: int, flip: int) -> None:
    batch = bytearray(build(some(6), 5))
    batch[at % len(batch)] ^= flip
    data = memoryview(bytes(batch))
    try:
        for header in scan(data, check_crc=False).headers:
            records.read(header.cut_from(data))
        walk(data, 5, 11)
    except ValueError:
        pass


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
    assert all(part.obj is data.obj for part in chunk.parts)


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
    kept = [read_header(part).base_offset for part in chunk.parts]
    assert kept == [2, 5, 9]
    assert chunk.next == 14


def test_a_fetch_that_starts_inside_an_aborted_transaction_leaves_its_rest_out() -> None:
    data = whole(build(some(2), 6, attributes=0x10, producer=7), control(8, 7, commit=False), build(some(1), 9))
    (chunk,) = cut(data, 6, aborted=[(7, 2)])
    assert [read_header(part).base_offset for part in chunk.parts] == [9]


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


@pytest.mark.parametrize("transactional", [False, True])
def test_a_stamped_batch_differs_in_its_envelope_only(transactional: bool) -> None:  # noqa: FBT001
    made = some(4)
    batch = bytearray(build(made, 77, attributes=0x50, producer=9))
    before = bytes(batch)
    restamp(memoryview(batch), 21, 2, 300, transactional=transactional)
    header = read_header(batch)
    assert (header.base_offset, header.leader_epoch) == (0, -1)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (21, 2, 300)
    assert (header.transactional, header.has_horizon) == (transactional, False)
    assert bytes(batch[57:]) == before[57:]
    assert bytes(batch[23:43]) == before[23:43]
    assert unbuild([batch]) == made


def test_timestamps_survive_a_delete_horizon() -> None:
    # A cleaner writes the horizon where the base timestamp was and counts the deltas from there (KIP-534).
    made = some(3)
    horizon = Made(NOW + 86_400_000, None, b"", [])
    with_horizon = bytearray(build([horizon, *made], 0))
    batch = records.trim(memoryview(bytes(with_horizon)), 1)
    assert batch is not None
    struct.pack_into(">h", batch, 21, 0x40)
    assert read_header(batch).base_timestamp == horizon.timestamp
    restamp(batch)
    assert unbuild([batch]) == made


def test_a_walk_accepts_what_a_source_stored() -> None:
    data = whole(build(some(5), 3), build(some(2), 8, codec=4), build(some(3), 20, offsets=[0, 4, 9]))
    assert [header.base_offset for header in walk(data, 3, 35)] == [3, 8, 20]
    assert walk(memoryview(b""), 3, 9) == []


@pytest.mark.parametrize(
    ("parts", "first", "following", "why"),
    [
        ([build(some(5), 3)], 4, 20, "offsets fall"),
        ([build(some(5), 5), build(some(5), 9)], 5, 20, "offsets fall"),
        ([build(some(5), 3)], 3, 7, "leave the span"),
        ([build(some(5), 3)], 3, 3 + 5 + 200, "a hole"),
        ([build(some(5), 300)], 3, 305, "a hole"),
        ([build(some(1), 0), build(some(1), 200)], 0, 201, "a hole"),
        ([build(some(2), 0, offsets=[0, 150])], 0, 151, "a hole"),
        ([build(some(5), 0), build(some(6), 5)], 0, 11, "too many records"),
        ([build(some(5), 0)[:-1]], 0, 5, "size"),
        ([build(some(5), 0), b"\0" * 60], 0, 5, "left over"),
        ([build(some(5), 0), b"\0" * 61], 0, 5, "format"),
        ([control(0, 7, commit=True)], 0, 1, "attributes"),
        ([build(some(5), 0, attributes=0x80)], 0, 5, "attributes"),
        ([build(some(5), 0, attributes=0x05)], 0, 5, "attributes"),
        ([build(some(5), 0, last_delta=3)], 0, 5, "record count"),
        ([build(some(5), 0)[:20] + b"\0" + build(some(5), 0)[21:]], 0, 5, "checksum"),
        ([], 9, 3, "a hole"),
    ],
)
def test_a_walk_refuses_what_no_broker_can_have_stored_there(
    parts: list[bytes], first: int, following: int, why: str
) -> None:
    with pytest.raises(Implausible, match=why):
        walk(whole(*parts), first, following, Caps(records=10, max_hole=100))


def old_message(
    magic: int, offset: int, value: bytes | None, *, attributes: int = 0, record_key: bytes | None = None
) -> bytes:
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", NOW + offset) if magic else b"")
    for data in (record_key, value):
        body += struct.pack(">i", -1) if data is None else struct.pack(">i", len(data)) + data
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body)) + body


@pytest.mark.parametrize("magic", [0, 1])
def test_the_old_formats_become_v2_batches(magic: int) -> None:
    inner = b"".join(old_message(magic, i if magic else 7 + i, b"v%d" % i, record_key=b"k") for i in range(3))
    data = whole(
        old_message(magic, 5, b"five"),
        old_message(magic, 6, None, record_key=b"gone"),
        old_message(magic, 9, gzip.compress(inner), attributes=1),
        build(some(2), 10),
    )
    (chunk,) = cut(data, 5)
    found = [record for part in chunk.parts for record in records.read(part)]
    assert [record.offset for record in found] == [5, 6, 7, 8, 9, 10, 11]
    assert [bytes(record.value) if record.value is not None else None for record in found[:5]] == [
        b"five",
        None,
        b"v0",
        b"v1",
        b"v2",
    ]
    assert found[0].timestamp == (NOW + 5 if magic else -1)
    damaged = bytearray(data)
    damaged[27] ^= 1
    with pytest.raises(Corrupt):
        cut(memoryview(bytes(damaged)), 5)


def test_everything_that_others_use_is_exported() -> None:
    assert set(batches.__all__) <= set(dir(batches))
