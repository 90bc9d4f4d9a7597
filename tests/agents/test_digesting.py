"""Record digests: the same whatever brokers make of batches, another one whenever anything of a record is another."""

from __future__ import annotations

import pytest
from batch_made import NOW, Made, build, some
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents.digesting import digests, shortest
from sealwire.agents.header import GZIP, LZ4, PLAIN, SNAPPY, ZSTD, read_header
from sealwire.agents.merging import merge
from sealwire.agents.records import Malformed, varint
from sealwire.agents.slow_path import passable, trim

RECORD = Made(NOW, b"key", b"value", [("h", b"1"), ("h", None)])


def all_of(*batches: bytes | bytearray | memoryview) -> list[bytes]:
    return [digest for batch in batches for _, digest in digests(memoryview(batch))]


@pytest.mark.parametrize("codec", [PLAIN, GZIP, SNAPPY, LZ4, ZSTD])
def test_codec_offset_and_producer_do_not_count(codec: int) -> None:
    made = some(50)
    assert all_of(build(made, base=900, codec=codec, producer=77)) == all_of(build(made))
    offsets = [offset for offset, _ in digests(memoryview(build(made, base=900, codec=codec)))]
    assert offsets == list(range(900, 950))


def test_batch_boundaries_do_not_count() -> None:
    made = some(30)
    parts = [build(made[at : at + 10], base=at) for at in range(0, 30, 10)]
    merged = list(merge((memoryview(part), read_header(part)) for part in parts))
    assert len(merged) == 1
    assert all_of(merged[0].batch) == all_of(*parts) == all_of(build(made))
    trimmed = trim(memoryview(build(made)), 7)
    assert trimmed is not None
    assert all_of(trimmed) == all_of(build(made))[7:]


def test_the_time_that_readers_see_counts_and_not_how_it_is_stored() -> None:
    log_append = build(some(5), attributes=0x08, max_timestamp=NOW + 99)
    dated = [record._replace(timestamp=NOW + 99) for record in some(5)]
    assert all_of(log_append) == all_of(build(dated)) == all_of(passable(log_append))


OTHERS = [
    RECORD._replace(timestamp=NOW + 1),
    RECORD._replace(record_key=None),
    RECORD._replace(record_key=b""),
    RECORD._replace(record_key=b"keyv", value=b"alue"),
    RECORD._replace(value=None),
    RECORD._replace(value=b""),
    RECORD._replace(headers=[]),
    RECORD._replace(headers=[("h", b"1"), ("h", b"")]),
    RECORD._replace(headers=[("h", None), ("h", b"1")]),
    RECORD._replace(headers=[("h", b"1")]),
    RECORD._replace(headers=[("h", b"1"), ("i", None)]),
]


def test_whatever_is_another_gives_another_digest() -> None:
    found = all_of(*(build([record]) for record in [RECORD, *OTHERS]))
    assert len(set(found)) == len(OTHERS) + 1


def long(number: int) -> bytes:
    """The number with a byte more than it needs."""
    short = varint(number)
    return short[:-1] + bytes((short[-1] | 0x80, 0))


FIELDS = st.one_of(st.none(), st.binary(max_size=200))
HEADERS = st.lists(st.tuples(st.binary(max_size=70), FIELDS), max_size=70)


def body(fields: list[bytes | None], count: int, lengths: object = varint, null: int = -1) -> bytes:
    write = lengths
    parts = [write(null) if each is None else write(len(each)) + each for each in fields]  # type: ignore[operator]
    return b"".join([*parts[:2], write(count), *parts[2:]])  # type: ignore[operator]


@given(FIELDS, FIELDS, HEADERS)
def test_every_way_to_write_a_length_comes_to_the_shortest(
    record_key: bytes | None, value: bytes | None, headers: list[tuple[bytes, bytes | None]]
) -> None:
    fields = [record_key, value, *(part for header in headers for part in header)]
    plain = body(fields, len(headers))
    assert shortest(plain) is plain
    assert shortest(body(fields, len(headers), long)) == plain
    assert shortest(body(fields, len(headers), null=-7)) == plain
    before = body(fields[:2], len(headers))[: -len(varint(len(headers)))]
    assert shortest(before + long(len(headers)) + plain[len(before) + len(varint(len(headers))) :]) == plain


@given(st.binary(max_size=60))
def test_a_body_that_nobody_can_take_apart_stays_as_it_is_or_is_one(odd: bytes) -> None:
    assert shortest(shortest(odd)) == shortest(odd)


@given(st.binary(max_size=300))
def test_any_bytes_in_a_batch_are_digested_or_malformed(region: bytes) -> None:
    batch = build([RECORD])[:61] + region
    try:
        all_of(batch)
    except Malformed:
        pass
