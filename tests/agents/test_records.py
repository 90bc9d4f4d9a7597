"""Records read as they are stored, whatever the bytes are; compressions opened under a cap."""

from __future__ import annotations

import contextlib

import pytest
from batch_made import NOW, Made, bomb, build, some
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import codecs, records


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


@pytest.mark.parametrize("codec", range(1, 5))
def test_a_decompression_bomb_is_refused_before_its_bytes_are_made(codec: int) -> None:
    with pytest.raises(codecs.TooLarge):
        records.read(bomb(codec, 1_200_000), 1_000_000)


@pytest.mark.parametrize("codec", range(5))
def test_what_opens_to_exactly_the_cap_is_opened(codec: int) -> None:
    body = codecs.compress(codec, bytes(300_000))
    assert codecs.decompress(codec, body, 300_000) == bytes(300_000)


@given(st.integers(1, 7), st.binary(max_size=200))
def test_damaged_compression_is_unreadable_and_nothing_else(codec: int, data: bytes) -> None:
    with contextlib.suppress(codecs.Unreadable, codecs.TooLarge):
        codecs.decompress(codec, data, 1000)


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_numbers_are_written_as_aiokafka_writes_them(number: int) -> None:
    from aiokafka.record.util import encode_varint  # noqa: PLC0415

    written = bytearray()
    encode_varint(number, written.append)
    assert records.varint(number) == written
