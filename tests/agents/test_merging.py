"""What a sink is given: small neighbours as one batch, the rest as it was stored."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, apart, bomb, build, resum, some, unbuild, with_horizon
from hypothesis import given
from hypothesis import strategies as st
from test_slow_path import RECORDS

from sealwire.agents import codecs, records
from sealwire.agents.header import HEADER_SIZE, LZ4, PLAIN, ZSTD, read_header
from sealwire.agents.merging import MERGED, SMALL, Piece, Ready, merge
from sealwire.agents.room import Room
from sealwire.agents.slow_path import RecordTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable

BATCHES = st.lists(st.tuples(st.lists(RECORDS, min_size=1, max_size=20), st.integers(0, 4)), min_size=1, max_size=12)


def pieces(*parts: bytes | bytearray | memoryview) -> list[Piece]:
    """Stored batches as an envelope brings them: one after the other in one buffer."""
    view = memoryview(bytearray(b"".join(parts)))
    found, position = [], 0
    for part in apart(view):
        found.append((view, read_header(view, position)))
        position += len(part)
    return found


def batches(found: Iterable[Ready]) -> list[memoryview | bytearray]:
    return [ready.batch for ready in found]


@given(BATCHES, st.sampled_from([700, 5000, MERGED]))
def test_merging_keeps_every_record_its_times_and_the_order(
    given_batches: list[tuple[list[Made], int]], limit: int
) -> None:
    parts, base = [], 0
    for made, codec in given_batches:
        parts.append(build(made, base, codec))
        made[:] = unbuild(parts[-1:])
        base += len(made)
    found = list(merge(pieces(*parts), Room(limit, 1 << 20)))
    assert unbuild(batches(found)) == [record for made, _ in given_batches for record in made]
    seen = 0
    for ready in found:
        header = read_header(ready.batch)
        assert header.max_timestamp == max(record.timestamp for record in unbuild([ready.batch]))
        assert header.passes
        assert len(ready.batch) <= limit or header.record_count == 1
        seen += header.record_count
        assert ready.next == seen
        assert ready.taken == sum(
            seen >= sum(len(made) for made, _ in given_batches[: at + 1]) for at in range(len(parts))
        )


def test_neighbours_of_one_codec_become_one_batch_and_large_ones_pass_untouched() -> None:
    small = [build(some(5, 5 * i), 5 * i) for i in range(8)]
    large = build([Made(NOW, None, os.urandom(SMALL), [])], 40)
    squeezed = [build(some(90, 90 * i), codec=LZ4) for i in range(2)]
    given_pieces = pieces(*small, large, *squeezed, small[0])
    found = list(merge(given_pieces))
    assert [read_header(ready.batch).record_count for ready in found] == [40, 1, 180, 5]
    assert [ready.taken for ready in found] == [8, 9, 11, 12]
    assert [read_header(ready.batch).codec for ready in found] == [PLAIN, PLAIN, LZ4, PLAIN]
    for ready in (found[1], found[3]):
        assert ready.batch.obj is given_pieces[0][0].obj, "no copy"  # type: ignore[union-attr]


@pytest.mark.parametrize("codec", [PLAIN, ZSTD])
def test_batches_of_one_record_become_one(codec: int) -> None:
    made = some(300)
    (ready,) = merge(pieces(*(build([record], at, codec) for at, record in enumerate(made))))
    assert unbuild([ready.batch]) == made
    assert read_header(ready.batch).record_count == 300


def test_no_merged_batch_passes_the_limit() -> None:
    parts = [build(some(50, size=400), codec=codec) for codec in (0, 0, 0, 4, 4, 4) for _ in range(5)]
    limit = 60_000
    found = batches(merge(pieces(*parts), Room(limit, limit)))
    assert len(found) < len(parts)
    for batch in found:
        assert len(records.opened(memoryview(batch), read_header(batch))) <= limit


def test_what_opens_to_much_passes_whole_and_unopened() -> None:
    lots = [build([Made(NOW, None, bytes(3_000_000), [])], at, ZSTD) for at in range(2)]
    assert all(len(batch) < SMALL for batch in lots)
    assert batches(merge(pieces(*lots))) == lots


def test_offset_gaps_are_closed_for_the_broker() -> None:
    made = some(300, size=400)
    gapped = build(made, 10, offsets=range(0, 600, 2), last_delta=700)
    assert len(gapped) > SMALL
    (ready,) = merge(pieces(gapped))
    header = read_header(ready.batch)
    assert (header.record_count, header.last_offset_delta, ready.next) == (300, 299, 711)
    assert unbuild([ready.batch]) == made


def test_small_batches_with_gaps_are_merged_with_their_neighbours() -> None:
    gapped = build(some(3, 2), 2, offsets=[0, 4, 9])
    (ready,) = merge(pieces(build(some(2)), gapped, with_horizon(some(4, 5), 12, NOW + 86_400_000)))
    assert unbuild([ready.batch]) == some(9)
    assert (ready.taken, ready.next) == (3, 17)


def test_the_times_of_a_log_that_stamps_itself_are_kept_as_its_readers_saw_them() -> None:
    stamped = build(some(3), attributes=0x08, max_timestamp=NOW + 500)
    (ready,) = merge(pieces(stamped, build(some(2, 3), 3)))
    assert not read_header(ready.batch).log_append
    assert [record.timestamp - NOW for record in unbuild([ready.batch])] == [500, 500, 500, 21, 28]


def test_a_batch_larger_than_the_topic_takes_is_cut_between_its_records() -> None:
    made = some(400, size=400)
    (whole,) = pieces(build(made, 100))
    most = whole[1].size // 3
    found = list(merge([whole, *pieces(build(some(1, 400), 500))], Room(most, most)))
    assert unbuild(batches(found)) == made + some(1, 400)
    assert all(len(ready.batch) <= most for ready in found)
    assert [ready.taken for ready in found[-2:]] == [1, 2]
    assert {ready.taken for ready in found[:-2]} == {0}
    assert found[-2].next == 500


def test_one_record_too_large_ends_it_when_those_before_were_given() -> None:
    parts = pieces(build(some(2)), build([Made(NOW, None, b"x" * 3000, [])], 2), build(some(1), 3))
    found = []
    with pytest.raises(RecordTooLarge, match="source offset 2 makes a batch of 30"):
        found.extend(merge(parts, Room(2000, 2000)))
    assert unbuild(batches(found)) == some(2)
    assert (found[-1].taken, found[-1].next) == (1, 2)


def test_a_piece_that_cannot_be_opened_ends_it_when_those_before_were_given() -> None:
    broken = bytearray(build(some(3), 4, codec=1))
    broken[80:] = bytes(len(broken) - 80)
    for bad in (bytes(broken), build(some(3), 4)[:61] + b"\x7f" + build(some(3), 4)[62:], bomb(4, 70 << 20)):
        odd = bytearray(bad)
        struct.pack_into(">i", odd, 23, 9)  # a gap: it must be opened
        found = []
        with pytest.raises(ValueError, match="."):
            found.extend(merge(pieces(build(some(2)), build(some(2, 2), 2), resum(odd), build(some(1), 20))))
        assert unbuild(batches(found)) == some(4)
        assert (found[-1].taken, found[-1].next) == (2, 4)


def test_nothing_of_a_piece_that_is_malformed_half_way_is_given() -> None:
    whole = build(some(3, 4), 4)
    second = HEADER_SIZE + 1 + whole[HEADER_SIZE] // 2
    broken = bytearray(whole)
    broken[second] = 0x7F  # its length is odd
    found = []
    with pytest.raises(records.Malformed):
        found.extend(merge(pieces(build(some(2)), build(some(2, 2), 2), resum(broken), build(some(1), 7))))
    assert unbuild(batches(found)) == some(4)
    assert (found[-1].taken, found[-1].next) == (2, 4)


def test_bytes_that_a_text_codec_would_refuse_pass_unchanged() -> None:
    plain = bytearray(build([Made(NOW, b"k", b"v", [("hh", b"x")])]))
    at = plain.index(b"hh")
    plain[at : at + 2] = b"\xff\xfe"
    odd = resum(plain)
    (ready,) = merge(pieces(odd, odd))
    assert bytes(ready.batch).count(b"\xff\xfe") == 2


@given(st.data(), st.sampled_from([PLAIN, ZSTD]))
def test_records_that_are_not_what_the_header_says_are_malformed(data: st.DataObject, codec: int) -> None:
    region = bytearray(records.opened(memoryview(build(some(5))), read_header(build(some(5)))))
    for _ in range(data.draw(st.integers(1, 4))):
        region[data.draw(st.integers(0, len(region) - 1))] = data.draw(st.integers(0, 255))
    del region[data.draw(st.integers(0, len(region))) :]
    batch = bytearray(build(some(5))[:HEADER_SIZE] + codecs.compress(codec, region))
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">h", batch, 21, codec)
    with contextlib.suppress(records.Malformed):
        list(merge(pieces(resum(batch), resum(batch))))
