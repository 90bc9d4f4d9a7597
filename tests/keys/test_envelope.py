"""Sealing: what an envelope is, what it costs, and what a sealer refuses to write."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import vector_world as world
from vector_world import MADE_AT, NOW, PLACE, Forge, Seeded, batch, inner, inner_bytes, lost, seeded

from sealwire.keys import compression, envelope, primitives
from sealwire.keys.envelope import OVERHEAD, Inner, padding_of, read_header, seal, sealed_size
from sealwire.keys.inner import Cause, Kind, Layout
from sealwire.keys.padding import LEAST, padme
from sealwire.keys.reason import Misuse, Reason, Rejected

MINE = world.outbound()
BATCH = batch()
SAID = inner(BATCH)


def sealed(said: Inner = SAID, *batches: bytes, seed: str = "seal") -> bytes:
    out = memoryview(bytearray(sealed_size(said, sum(map(len, batches)))))
    size = seal(MINE, PLACE, said, batches, Seeded(seed), out)
    return bytes(out[:size])


def test_seal_writes_what_the_format_says_byte_for_byte() -> None:
    drawn = seeded("drawn", 16)
    out = memoryview(bytearray(1000))
    size = seal(MINE, PLACE, SAID, [BATCH[:70], BATCH[70:]], lambda count: drawn[:count], out)
    assert bytes(out[:size]) == Forge(MINE).build(inner_bytes(SAID), BATCH)


def test_encrypting_in_place_gives_what_encrypting_apart_gives() -> None:
    large = seeded("large", 300_000)
    said = inner(large)
    assert sealed(said, large)[52:-64] == _apart(said, large)


def _apart(said: Inner, batches: bytes) -> bytes:
    whole = sealed(said, batches)
    forged = Forge(MINE, salt=whole[36:52])
    header, context = whole[:52], world.context(PLACE, MINE.member_id, None)
    seal_key = primitives.hkdf(MINE.secret, whole[36:52], forged.hkdf_label, header, context)
    return primitives.aead_seal(seal_key, bytes(12), inner_bytes(said) + batches, header + context)


def test_the_size_is_known_before_sealing() -> None:
    assert len(sealed(SAID, BATCH)) == sealed_size(SAID, len(BATCH)) == OVERHEAD + len(inner_bytes(SAID)) + len(BATCH)


def test_two_clones_that_draw_the_same_bytes_share_a_salt_only_for_the_same_content() -> None:
    first, again, other = (sealed(replace(SAID, sealed_at=at), BATCH) for at in (NOW, NOW, NOW + 1))
    assert read_header(first).salt == read_header(again).salt
    assert first == again
    assert read_header(first).salt != read_header(other).salt


def test_what_surrounds_the_envelope_in_its_buffer_stays_as_it_was() -> None:
    buffer = bytearray(b"\xaa" * 1000)
    size = seal(MINE, PLACE, SAID, [BATCH], Seeded("seal"), memoryview(buffer)[100:])
    assert buffer[:100] == b"\xaa" * 100
    assert buffer[100 + size :] == b"\xaa" * (900 - size)


@pytest.mark.parametrize(
    "said",
    [
        replace(SAID, first=5, next=5),
        replace(SAID, first=-1),
        replace(SAID, next=201),
        replace(SAID, site="ber lin"),
        replace(SAID, topic="a/b"),
        replace(SAID, topic_id=b"short"),
        replace(SAID, partition=3),
        replace(SAID, record_count=4),
        replace(SAID, uncompressed_size=len(BATCH) + 1),
        replace(SAID, layout=Layout.RECORD),
        replace(SAID, flags=4),
        replace(SAID, kind=Kind.LOST),
        replace(SAID, cause=Cause.TRUNCATED),
        replace(SAID, sealed_at=MADE_AT - 1),
        replace(SAID, sealed_at=MINE.not_after + 1),
        replace(SAID, padding_size=2**32),
    ],
    ids=str,
)
def test_what_an_opener_would_refuse_is_never_sealed(said: Inner) -> None:
    with pytest.raises(Misuse):
        seal(MINE, PLACE, said, [BATCH], Seeded("seal"), memoryview(bytearray(5000)))


@pytest.mark.parametrize(
    "place",
    [replace(PLACE, channel="returns"), replace(PLACE, project_id=bytes(32)), replace(PLACE, cloud_partition=1)],
    ids=str,
)
def test_a_session_seals_for_its_own_channel_project_and_partition_alone(place: envelope.Place) -> None:
    with pytest.raises(Misuse):
        seal(MINE, place, SAID, [BATCH], Seeded("seal"), memoryview(bytearray(5000)))


def test_a_buffer_too_small_is_misuse() -> None:
    size = sealed_size(SAID, len(BATCH))
    with pytest.raises(Misuse):
        seal(MINE, PLACE, SAID, [BATCH], Seeded("seal"), memoryview(bytearray(size - 1)))


@pytest.mark.parametrize("said", [replace(SAID, sealed_at=MADE_AT), replace(SAID, last_stable=103)], ids=str)
def test_what_is_just_allowed_is_sealed(said: Inner) -> None:
    assert len(sealed(said, BATCH)) == sealed_size(said, len(BATCH))


def test_a_lost_span_is_sealed_without_batches() -> None:
    assert len(sealed(lost())) == OVERHEAD + len(inner_bytes(lost()))


def test_the_header_tells_foreign_cut_and_newer_apart() -> None:
    whole = sealed(SAID, BATCH)
    assert read_header(whole).session_id == MINE.id
    for data, reason in (
        (b"", Reason.FOREIGN),
        (b"plain", Reason.FOREIGN),
        (b"SW\x21" + whole[3:], Reason.FOREIGN),
        (b"SW\x02" + whole[3:], Reason.UNKNOWN_VERSION),
        (b"SW\x01\x09" + whole[4:], Reason.UNKNOWN_SUITE),
        (whole[:131], Reason.TRUNCATED),
    ):
        with pytest.raises(Rejected) as refused:
            read_header(data)
        assert refused.value.reason is reason


def test_padding_leaves_few_sizes_and_costs_at_most_12_percent() -> None:
    assert padme(1) == padme(LEAST) == LEAST
    for size in (4097, 5000, 9000, 65_537, 900_001, 8_388_607):
        assert size <= padme(size) <= size * 1.12
    assert len({padme(size) for size in range(LEAST, 2 * LEAST)}) <= 17
    assert padme(padme(900_001)) == padme(900_001)


def test_a_padded_envelope_has_one_of_padmes_sizes() -> None:
    said = replace(SAID, padding_size=padding_of(SAID, len(BATCH)))
    assert len(sealed(said, BATCH)) == LEAST


def test_compressed_pieces_make_one_frame() -> None:
    frame = compression.compress([b"abc" * 100, b"", b"def" * 100])
    out = memoryview(bytearray(600))
    compression.decompress_into(memoryview(frame), out)
    assert out == b"abc" * 100 + b"def" * 100


def test_an_envelope_costs_under_a_quarter_millisecond_beside_its_bytes() -> None:
    out = memoryview(bytearray(1000))
    best = 1.0
    for _ in range(30):
        begun = time.perf_counter()
        seal(MINE, PLACE, SAID, [BATCH], Seeded("seal"), out)
        best = min(best, time.perf_counter() - begun)
    assert best < 0.000_25
