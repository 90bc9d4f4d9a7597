"""Batches by their headers: what is found, where it is cut, what is left out, what is not believed."""

from __future__ import annotations

import pytest
from batch_made import NOW, build, control, some, unbuild, with_horizon
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import batches, records
from sealwire.agents.batches import (
    MAX_HOLE,
    Caps,
    Corrupt,
    Implausible,
    OldFormat,
    restamp,
    scan,
    walk,
)
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
    except (Corrupt, OldFormat):
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


def test_timestamps_survive_a_delete_horizon_whose_bit_is_cleared() -> None:
    batch = bytearray(with_horizon(some(3), 0, NOW + 86_400_000))
    assert (read_header(batch).has_horizon, read_header(batch).base_timestamp) == (True, NOW + 86_400_000)
    restamp(batch)
    assert not read_header(batch).has_horizon
    assert unbuild([batch]) == some(3)


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


RECORDED = {  # two records as a client of Kafka 0.10 wrote them, and the broker's offset put before
    ("v0", "plain"): (
        "000000000000000000000010f1e3b0ba0000000000026b30ffffffff"
        "0000000000000001000000155a88a9c20000000000026b310000000576616c7565"
    ),
    ("v0", "gzip"): (
        "000000000000000000000046f14e154b0001ffffffff000000381f8b08002d50066b02ff63608003818f8f37ec02b398b20dfe0301549c"
        "118845a33a561e82ca190249d6b2c49cd25400b1412c5c3d000000"
    ),
    ("v1", "plain"): (
        "00000000000000000000001851086bac01000000015d3ef79800000000026b30ffffffff"
        "00000000000000010000001de1a5e74101000000015d3ef79801000000026b310000000576616c7565"
    ),
    ("v1", "gzip"): (
        "0000000000000000000000594b19cfce01010000000000000000ffffffff000000431f8b08002d50066b02ff6360800389408eec358c40"
        "0663acddf7192011a66c83ff4000950749c93e5cfadc11ae8611acc61048b29625e694a60200eca78d754d000000"
    ),
}


@pytest.mark.parametrize(("magic", "codec"), RECORDED)
def test_the_old_formats_are_named_with_what_to_do_and_what_is_before_them_is_given(magic: str, codec: str) -> None:
    old = bytes.fromhex(RECORDED[magic, codec])
    with pytest.raises(OldFormat, match=f"the record at offset 0 is in message format {magic}, .* write it again"):
        scan(whole(old, build(some(2), 2)))
    before = build(some(3), 7)
    found = scan(whole(before, old), 7)
    assert (found.next, found.size) == (10, len(before))


@pytest.mark.parametrize("magic", ["v0", "v1"])
def test_damage_is_not_taken_for_an_old_format(magic: str) -> None:
    damaged = bytearray.fromhex(RECORDED[magic, "gzip"])
    damaged[40] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        scan(whole(damaged))
    flipped = bytearray(build(some(3)))
    flipped[16] = int(magic[1])
    with pytest.raises(Corrupt, match="checksum"):
        scan(whole(flipped))
    with pytest.raises(Corrupt, match="format 3"):
        scan(whole(b"\0" * 11 + b"\x40" + b"\0" * 4 + b"\3" + b"\0" * 80))
    assert not scan(whole(bytes.fromhex(RECORDED[magic, "gzip"])[:-1])).headers


@pytest.mark.parametrize(
    "batch",
    [
        build(some(3), 5, last_delta=1),
        build(some(3), 5, last_delta=2 + MAX_HOLE + 1),
        build(some(3), 5, attributes=0x80),
        build(some(3), 5, attributes=0x07),
    ],
    ids=["more records than offsets", "an impossible offset delta", "an unknown attribute", "an unknown codec"],
)
def test_what_a_trusted_broker_cannot_have_stored_is_corrupt(batch: bytes) -> None:
    with pytest.raises(Corrupt, match="the batch at offset 5"):
        scan(whole(batch))


def test_batches_whose_offsets_fall_are_corrupt() -> None:
    with pytest.raises(Corrupt, match="at offset 4, 2 behind the one before"):
        scan(whole(build(some(3), 3), build(some(3), 4)))


def test_everything_that_others_use_is_exported() -> None:
    assert set(batches.__all__) <= set(dir(batches))
