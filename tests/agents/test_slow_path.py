"""The slow path: whatever is taken apart and made anew reads as what was stored."""

from __future__ import annotations

import contextlib
import struct

import pytest
from batch_made import NOW, Made, bomb, build, resum, some, unbuild, with_horizon
from hypothesis import given
from hypothesis import strategies as st

from sealwire.agents import codecs, records
from sealwire.agents.batches import walk
from sealwire.agents.header import HEADER_SIZE, PLAIN, ZSTD, read_header
from sealwire.agents.room import Room
from sealwire.agents.slow_path import RecordTooLarge, decode, divide, encode, fitted, passable, trim

HEADERS = st.lists(
    st.tuples(st.sampled_from(["", "a", "a", "é", "long" * 30]), st.none() | st.binary(max_size=9)), max_size=4
)
RECORDS = st.builds(
    Made,
    st.sampled_from([-1, 0, NOW, NOW + 1, 1 << 45, (1 << 63) - 1]) | st.integers(-1, 1 << 62),
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=300),
    HEADERS,
)
MADE = st.lists(RECORDS, min_size=1, max_size=20)
CODECS = st.integers(0, 4)


@st.composite
def stored(draw: st.DrawFn) -> tuple[list[Made], list[int], bytes]:
    """Records, their offsets, and the batch as a cleaner may have left it."""
    made = draw(MADE)
    gaps = draw(st.lists(st.integers(1, 40), min_size=len(made), max_size=len(made)))
    deltas = [sum(gaps[: at + 1]) - 1 for at in range(len(made))]
    base = draw(st.integers(0, 1 << 40))
    last = deltas[-1] + draw(st.integers(0, 5))
    batch = build(made, base, draw(CODECS), offsets=deltas, last_delta=last)
    made = unbuild([batch])  # its builder takes a first timestamp of -1 for none
    return made, [base + delta for delta in deltas], batch


@given(stored(), CODECS)
def test_decode_and_encode_again_is_the_identity_on_records(
    given_batch: tuple[list[Made], list[int], bytes], codec: int
) -> None:
    made, offsets, batch = given_batch
    found = decode(memoryview(batch))
    assert [record.offset for record in found] == offsets
    again = encode(found, codec, end=read_header(batch).last_offset + 1)
    assert decode(again) == found
    assert unbuild([again]) == unbuild([batch]) == made
    header = read_header(again)
    assert (header.codec, header.last_offset) == (codec, read_header(batch).last_offset)
    assert header.max_timestamp == max(record.timestamp for record in made)
    assert walk(memoryview(again), offsets[0], header.last_offset + 1)


@given(stored(), st.integers(0, 400))
def test_trimming_is_dropping_the_records_before(given_batch: tuple[list[Made], list[int], bytes], later: int) -> None:
    made, offsets, batch = given_batch
    wanted = read_header(batch).base_offset + later
    kept = [record for record, offset in zip(made, offsets, strict=True) if offset >= wanted]
    trimmed = trim(memoryview(batch), wanted)
    if not kept:
        assert trimmed is None
        return
    assert trimmed is not None
    assert unbuild([trimmed]) == kept
    assert walk(memoryview(trimmed), wanted, read_header(batch).last_offset + 1)
    assert read_header(trimmed).codec == read_header(batch).codec


@given(stored(), st.integers(2, 9))
def test_what_is_divided_is_together_what_was_stored(
    given_batch: tuple[list[Made], list[int], bytes], count: int
) -> None:
    made, offsets, batch = given_batch
    pieces = divide(memoryview(batch), count)
    assert unbuild(pieces) == made
    assert [record.offset for piece in pieces for record in decode(piece)] == offsets
    assert len(pieces) >= min(2, len(made))
    end = read_header(batch).last_offset + 1
    assert walk(memoryview(b"".join(pieces)), read_header(batch).base_offset, end)
    assert read_header(pieces[-1]).last_offset + 1 == end


@given(stored())
def test_what_brokers_refuse_becomes_passable_with_the_times_that_readers_saw(
    given_batch: tuple[list[Made], list[int], bytes],
) -> None:
    made, _, batch = given_batch
    assert read_header(passable(memoryview(batch))).passes
    assert unbuild([passable(memoryview(batch))]) == made
    stamped = bytearray(batch)
    struct.pack_into(">h", stamped, 21, read_header(batch).codec | 0x08)
    struct.pack_into(">q", stamped, 35, NOW + 5)
    again = passable(memoryview(resum(stamped)))
    assert not read_header(again).log_append
    assert unbuild([again]) == [record._replace(timestamp=NOW + 5) for record in made]


def test_a_delete_horizon_is_gone_and_the_times_are_right() -> None:
    batch = with_horizon(some(3), 7, NOW + 86_400_000)
    again = passable(memoryview(batch))
    assert not read_header(again).has_horizon
    assert unbuild([again]) == some(3)
    assert [record.offset for record in decode(memoryview(batch))] == [8, 9, 10]


@pytest.mark.parametrize("codec", range(5))
def test_a_batch_is_fitted_into_the_room_of_a_topic(codec: int) -> None:
    made = some(200, size=4000)
    batch = memoryview(build(made, 50, codec, offsets=range(0, 400, 2)))
    most = len(batch) // 5
    found = list(fitted(batch, Room(most, most)))
    assert unbuild(piece for piece, _ in found) == made
    assert all(len(piece) <= most and read_header(piece).passes for piece, _ in found)
    assert [after for _, after in found] == sorted({after for _, after in found})
    assert found[-1][1] == 50 + 399
    assert len(found) < 20
    ((alone, after),) = fitted(memoryview(build(made, 50, codec)), Room(len(batch) * 2, len(batch) * 2))
    assert (len(alone), after) == (len(build(made, 50, codec)), 250)


def test_one_record_too_large_is_named_with_both_limits_and_those_before_it_are_given() -> None:
    made = [*some(3), Made(NOW, b"k", b"x" * 5000, []), *some(3, 3)]
    found = []
    with pytest.raises(RecordTooLarge, match=r"source offset 13 makes a batch of 50\d\d bytes, and 1000 are allowed"):
        for piece, after in fitted(memoryview(build(made, 10)), Room(1000, 1000)):
            found.append((piece, after))  # noqa: PERF401 (what came before it raised)
    assert unbuild(piece for piece, _ in found) == made[:3]
    assert found[-1][1] == 13


def test_a_single_record_is_tried_while_the_limit_is_a_guess() -> None:
    batch = build([Made(NOW, None, b"x" * 5000, [])], 3)
    assert [after for _, after in fitted(memoryview(batch), Room(1000, 6000))] == [4]


def test_bytes_that_a_text_codec_would_refuse_pass_unchanged() -> None:
    plain = bytearray(build([Made(NOW, b"k", b"v", [("hh", b"x")])] * 2))
    while b"hh" in plain:
        at = plain.index(b"hh")
        plain[at : at + 2] = b"\xff\xfe"
    trimmed = trim(memoryview(resum(plain)), 1)
    assert trimmed is not None
    assert bytes(trimmed).count(b"\xff\xfe") == 1


@pytest.mark.parametrize("codec", range(1, 5))
@pytest.mark.parametrize("call", [decode, passable, lambda batch, cap: divide(batch, 2, cap)])
def test_a_bomb_is_refused_before_its_bytes_are_made(codec: int, call) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(codecs.TooLarge):
        call(bomb(codec, 1_200_000), 1_000_000)


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
    for call in (records.read, decode, passable, lambda batch: trim(batch, 3), lambda batch: divide(batch, 2)):
        with contextlib.suppress(records.Malformed):
            call(view)  # type: ignore[operator]
