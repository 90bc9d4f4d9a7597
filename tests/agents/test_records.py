"""The slow path and the merge: what is rewritten reads as what was stored."""

from __future__ import annotations

import contextlib
import os
import struct

import pytest
from batch_made import NOW, Made, build, resum, some, unbuild
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import codecs, records
from sealwire.agents.batches import walk
from sealwire.agents.header import HEADER_SIZE, LZ4, PLAIN, ZSTD, read_header

HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3)
RECORDS = st.builds(
    Made,
    st.integers(0, 1 << 45),
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=300),
    HEADERS,
)
BATCHES = st.lists(st.tuples(st.lists(RECORDS, min_size=1, max_size=20), st.integers(0, 4)), min_size=1, max_size=12)


@given(BATCHES, st.sampled_from([500, 5000, records.MERGED]))
def test_merging_keeps_every_record_its_times_and_the_order(
    given_batches: list[tuple[list[Made], int]], limit: int
) -> None:
    parts = [memoryview(build(made, codec=codec)) for made, codec in given_batches]
    merged = records.merge(parts, limit)
    assert unbuild(merged) == [record for made, _ in given_batches for record in made]
    assert len(merged) <= len(parts)
    for batch in merged:
        header = read_header(batch)
        stamps = [record.timestamp for record in unbuild([batch])]
        assert header.max_timestamp == max(stamps)
        assert header.passes
        assert [record.offset - header.base_offset for record in records.read(memoryview(batch))] == list(
            range(header.record_count)
        )


def test_neighbours_of_one_codec_become_one_batch_and_large_ones_pass_untouched() -> None:
    small = [memoryview(build(some(5, 5 * i), 5 * i)) for i in range(8)]
    large = memoryview(build([Made(NOW, None, os.urandom(records.SMALL), [])], 40))
    squeezed = [memoryview(build(some(90, 90 * i), codec=LZ4)) for i in range(2)]
    merged = records.merge([*small, large, *squeezed, small[0]])
    assert [read_header(batch).record_count for batch in merged] == [40, 1, 180, 5]
    assert merged[1] is large
    assert merged[3] is small[0]
    assert [read_header(batch).codec for batch in merged] == [PLAIN, PLAIN, LZ4, PLAIN]


def test_no_merged_batch_passes_the_limit() -> None:
    parts = [memoryview(build(some(50, size=400), codec=codec)) for codec in (0, 0, 0, 4, 4, 4) for _ in range(5)]
    limit = 60_000
    merged = records.merge(parts, limit)
    assert len(merged) < len(parts)
    for batch in merged:
        assert len(records.opened(memoryview(batch), read_header(batch))) <= limit


def test_offset_gaps_are_closed_for_the_broker() -> None:
    made = some(300, size=400)
    gapped = memoryview(build(made, 10, offsets=range(0, 600, 2), last_delta=700))
    assert len(gapped) > records.SMALL
    (batch,) = records.merge([gapped])
    header = read_header(batch)
    assert (header.record_count, header.last_offset_delta) == (300, 299)
    assert unbuild([batch]) == made


def test_the_times_of_a_log_that_stamps_itself_are_kept_as_its_readers_saw_them() -> None:
    stamped = memoryview(build(some(3), attributes=0x08, max_timestamp=NOW + 500))
    own = memoryview(build(some(2, 3)))
    (batch,) = records.merge([stamped, own])
    assert not read_header(batch).log_append
    assert [record.timestamp - NOW for record in unbuild([batch])] == [500, 500, 500, 21, 28]
    assert [record.timestamp - NOW for record in records.read(stamped)] == [500] * 3


def test_bytes_that_a_text_codec_would_refuse_pass_unchanged() -> None:
    plain = bytearray(build([Made(NOW, b"k", b"v", [("hh", b"x")])]))
    at = plain.index(b"hh")
    plain[at : at + 2] = b"\xff\xfe"
    odd = memoryview(resum(plain))
    (batch,) = records.merge([odd, odd])
    assert bytes(batch).count(b"\xff\xfe") == 2
    trimmed = records.trim(memoryview(resum(bytearray(batch))), 1)
    assert trimmed is not None
    assert bytes(trimmed).count(b"\xff\xfe") == 1


@pytest.mark.parametrize("codec", range(5))
def test_trimming_keeps_offsets_times_and_compression(codec: int) -> None:
    made = some(60, size=200)
    whole = memoryview(build(made, 1000, codec, offsets=range(0, 120, 2), last_delta=130))
    batch = records.trim(whole, 1041)
    assert batch is not None
    found = records.read(memoryview(batch))
    assert [record.offset for record in found] == list(range(1042, 1120, 2))
    assert unbuild([batch]) == made[21:]
    assert (read_header(batch).codec, read_header(batch).last_offset) == (codec, 1130)
    assert walk(memoryview(batch), 1041, 1131)
    assert records.trim(whole, 1119) is None


@given(st.lists(RECORDS, min_size=1, max_size=20), st.integers(0, 4), st.integers(0, 25))
def test_trimming_is_dropping_the_records_before(made: list[Made], codec: int, wanted: int) -> None:
    batch = records.trim(memoryview(build(made, 0, codec)), wanted)
    assert (unbuild([batch]) if batch else []) == made[wanted:]


@pytest.mark.parametrize("codec", range(5))
def test_reading_gives_what_was_stored(codec: int) -> None:
    made = some(30, size=200)
    found = records.read(memoryview(build(made, 50, codec)))
    assert [
        (
            record.offset - 50,
            record.timestamp,
            None if record.record_key is None else bytes(record.record_key),
            None if record.value is None else bytes(record.value),
            record.header_count,
        )
        for record in found
    ] == [(i, record.timestamp, record.record_key, record.value, len(record.headers)) for i, record in enumerate(made)]


def test_an_uncompressed_value_is_read_without_a_copy() -> None:
    batch = build([Made(NOW, None, b"x" * 10_000, [])])
    (record,) = records.read(memoryview(batch))
    assert record.value is not None
    assert record.value.obj is batch


def bomb(codec: int, size: int) -> memoryview:
    header = build(some(1))[:HEADER_SIZE]
    body = codecs.compress(codec, bytes(size))
    batch = bytearray(header + body)
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, codec)
    return memoryview(resum(batch))


@pytest.mark.parametrize("codec", range(1, 5))
@pytest.mark.parametrize("call", [records.read, lambda batch, cap: records.merge([batch] * 2, cap=cap)])
def test_a_decompression_bomb_is_refused_before_its_bytes_are_made(codec: int, call) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(codecs.TooLarge):
        call(bomb(codec, 1_200_000), 1_000_000)


@pytest.mark.parametrize("codec", range(5))
def test_what_opens_to_exactly_the_cap_is_opened(codec: int) -> None:
    body = codecs.compress(codec, bytes(300_000))
    assert codecs.decompress(codec, body, 300_000) == bytes(300_000)


@given(st.integers(1, 7), st.binary(max_size=200))
def test_damaged_compression_is_unreadable_and_nothing_else(codec: int, data: bytes) -> None:
    with contextlib.suppress(codecs.Unreadable, codecs.TooLarge):
        codecs.decompress(codec, data, 1000)


@given(st.data(), st.sampled_from([PLAIN, ZSTD]))
def test_records_that_are_not_what_the_header_says_are_malformed(data: st.DataObject, codec: int) -> None:
    region = bytearray(records.opened(memoryview(build(some(5))), read_header(build(some(5)))))
    for _ in range(data.draw(st.integers(1, 4))):
        region[data.draw(st.integers(0, len(region) - 1))] = data.draw(st.integers(0, 255))
    del region[data.draw(st.integers(0, len(region))) :]
    batch = bytearray(build(some(5))[:HEADER_SIZE] + codecs.compress(codec, region))
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, codec)
    view = memoryview(resum(batch))
    for call in (lambda: records.read(view), lambda: records.merge([view, view]), lambda: records.trim(view, 3)):
        with contextlib.suppress(records.Malformed):
            call()


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_are_written_as_aiokafka_writes_them(number: int) -> None:
    from aiokafka.record.util import encode_varint  # noqa: PLC0415

    written = bytearray()
    encode_varint(number, written.append)
    assert records.varint(number) == written
