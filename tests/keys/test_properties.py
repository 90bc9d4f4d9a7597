"""Three sentences, and a machine that tries to make them untrue."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
import vector_world as world
from hypothesis import given, settings
from hypothesis import strategies as st
from vector_world import NOW, PLACE, Forge, Seeded, batch, inner, inner_bytes

from sealwire.keys import compression
from sealwire.keys.envelope import padding_of, seal, sealed_size
from sealwire.keys.inner import LOG_START, RESEAL, Compression, Inner
from sealwire.keys.opening import Opened, UnknownSession, open_envelope
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from sealwire.keys.trust import Trust

MINE = world.outbound()
KNOWN = world.inbound(MINE)
BATCH = batch()
GOOD = Forge(MINE).build(inner_bytes(inner(BATCH)), BATCH)
FRAME = compression.compress([BATCH * 4])
PACKED = replace(inner(BATCH * 4), compression=Compression.ZSTD, padding_size=8)


class Permissive:
    """A policy that lets everybody produce."""

    def may_produce(self, *_: object) -> None:
        """Say nothing against it."""


def attempt(envelope: bytes, record_key: bytes | None = None) -> Opened | UnknownSession | Reason:
    """Open it, or give the Reason; any other exception is a failure of the property."""
    out = memoryview(bytearray(len(envelope)))
    trust = cast("Trust", Permissive())
    try:
        return open_envelope(envelope, PLACE, record_key, {KNOWN.id: KNOWN}, trust, NOW, out)
    except Rejected as refused:
        return refused.reason


@st.composite
def sealable(draw: st.DrawFn) -> tuple[Inner, list[bytes], bytes]:
    """Draw an inner header, the pieces to seal, and what must come out."""
    batches = draw(st.lists(st.binary(min_size=61, max_size=400), max_size=5))
    whole = b"".join(batches)
    count = len(batches) and draw(st.integers(len(batches), 1000))
    first = draw(st.integers(0, 2**62))
    after = first + draw(st.integers(max(count, 1), 2**21))
    said = inner(
        whole,
        site=KNOWN.site,
        topic=draw(st.from_regex(r"[a-zA-Z0-9_-]{1,249}", fullmatch=True)),
        topic_id=draw(st.binary(min_size=16, max_size=16)),
        flags=draw(st.sampled_from([0, LOG_START, RESEAL, LOG_START | RESEAL])),
        first=first,
        next=after,
        last_stable=draw(st.integers(after, 2**63 - 1)),
        leader_epoch=draw(st.integers(-1, 2**31 - 1)),
        sealed_at=draw(st.integers(MINE.made_at, NOW)),
        record_count=count,
        batch_count=len(batches),
    )
    pieces = batches
    packed: bool = draw(st.booleans())
    if batches and packed:
        said = replace(said, compression=Compression.ZSTD)
        pieces = [compression.compress(batches)]
    size = sum(map(len, pieces))
    padding = draw(st.sampled_from([0, 1, padding_of(said, size)]))
    return replace(said, padding_size=padding), pieces, whole


@given(sealable(), st.text(max_size=10))
def test_opening_undoes_sealing(drawn: tuple[Inner, list[bytes], bytes], seed: str) -> None:
    said, pieces, whole = drawn
    out = memoryview(bytearray(sealed_size(said, sum(map(len, pieces)))))
    assert seal(MINE, PLACE, said, pieces, Seeded(seed), out) == len(out)
    opened = attempt(bytes(out))
    assert isinstance(opened, Opened)
    assert (opened.inner, bytes(opened.batches)) == (said, whole)


@given(st.binary(max_size=600), st.none() | st.binary(max_size=40))
@settings(max_examples=300)
def test_any_bytes_are_refused_with_a_reason(data: bytes, record_key: bytes | None) -> None:
    assert isinstance(attempt(data, record_key), Reason)


@given(st.binary(max_size=400), st.integers(0, 3))
@settings(max_examples=300)
def test_any_bytes_after_a_true_beginning_are_refused_or_of_an_unknown_session(data: bytes, kept: int) -> None:
    outcome = attempt(GOOD[: (4, 36, 52, 150)[kept]] + data)
    assert isinstance(outcome, Reason | UnknownSession)


@given(st.binary(max_size=500))
@settings(max_examples=300)
def test_any_plaintext_of_an_authentic_sender_is_opened_or_refused_with_a_reason(plaintext: bytes) -> None:
    assert isinstance(attempt(Forge(MINE).build(plaintext, b"")), Opened | Reason)


@given(st.data())
@settings(max_examples=300)
def test_any_altered_byte_of_an_authentic_plaintext_is_opened_or_refused_with_a_reason(data: st.DataObject) -> None:
    plaintext = bytearray(inner_bytes(PACKED) + FRAME + bytes(8))
    plaintext[data.draw(st.integers(0, len(plaintext) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(attempt(Forge(MINE).build(bytes(plaintext), b"")), Opened | Reason)


@pytest.mark.parametrize("bit", range(8))
def test_an_altered_bit_anywhere_is_refused(bit: int) -> None:
    for at in range(len(GOOD)):
        changed = bytearray(GOOD)
        changed[at] ^= 1 << bit
        outcome = attempt(bytes(changed))
        assert isinstance(outcome, UnknownSession if 4 <= at < 36 else Reason), (at, bit)


def test_cut_anywhere_or_made_longer_it_is_refused() -> None:
    for size in range(len(GOOD)):
        assert isinstance(attempt(GOOD[:size]), Reason), size
    for more in (b"\0", GOOD, bytes(64)):
        assert isinstance(attempt(GOOD + more), Reason)
