"""The digest file: what was signed is read back, and whatever is altered, foreign or odd is refused with a Reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_world import ANNA, BERT, DAY, MINUTE, NOW, PROJECT, ROOT, Draws, admit, signing

from sealwire.keys import digestfile, identity, root
from sealwire.keys.digests import BLOCK, Blocks, Exported, record_digest
from sealwire.keys.finding import Kind
from sealwire.keys.primitives import SIGNATURE_SIZE
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.wire import CAPS, Type

if TYPE_CHECKING:
    from collections.abc import Sequence


def exported(
    partition: int, offsets: Sequence[int], span: Span, *, site: str = "berlin", compacted: bool = False
) -> Exported:
    blocks = Blocks(span.first)
    for offset in sorted(set(offsets)):
        if span.first <= offset < span.next:
            blocks.take(offset, record_digest(offset, b"body"))
    source = SourcePartition("orders", site, "orders", bytes(range(16)), partition)
    return Exported(source, span, blocks.close(span.next), compacted)


def written(partitions: Sequence[Exported], now: int = NOW) -> bytes:
    return digestfile.write(ANNA.identity, ANNA.credential_bytes, PROJECT, partitions, cluster="c1", now=now)


SOME = [exported(0, range(10, 2500), Span(7, 2600)), exported(1, [], Span(0, 0)), exported(2, [5], Span(5, 6))]
FILE = written(SOME)


@st.composite
def partitions(draw: st.DrawFn) -> list[Exported]:
    found = []
    for partition in sorted(draw(st.sets(st.integers(0, 5000), max_size=3))):
        first = draw(st.integers(0, 2**40))
        offsets = draw(st.lists(st.integers(first, first + 5 * BLOCK), max_size=20))
        span = Span(first, first + draw(st.integers(0, 6 * BLOCK)))
        found.append(exported(partition, offsets, span, compacted=draw(st.booleans())))
    return found


@given(partitions())
def test_what_is_written_is_read_back(found: list[Exported]) -> None:
    told = digestfile.read(written(found), ROOT, NOW)
    assert list(told.partitions) == found
    assert (told.credential.name, told.credential.site, told.made_at, told.cluster) == ("anna", "berlin", NOW, "c1")


@settings(max_examples=400)
@given(st.data())
def test_any_altered_byte_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(FILE) - 1))
    changed = bytearray(FILE)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Rejected):
        digestfile.read(bytes(changed), ROOT, NOW)


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda rest: FILE[:60] + rest)))
def test_any_bytes_at_all_are_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(Rejected):
        digestfile.read(content, ROOT, NOW)


def test_every_cut_file_and_every_longer_one_is_refused() -> None:
    small = written(SOME[2:])
    for size in range(len(small)):
        with pytest.raises(Rejected) as refusal:
            digestfile.read(small[:size], ROOT, NOW)
        assert refusal.value.reason in {Reason.FOREIGN, Reason.TRUNCATED}
    with pytest.raises(Rejected, match="not as long as it says"):
        digestfile.read(small + b"\0", ROOT, NOW)


def signed_by(who: identity.Identity, credential: bytes, body: bytes) -> bytes:
    """A file with any body at all, whose signature is good."""
    head = FILE[:18] + PROJECT + len(credential).to_bytes(4, "big") + credential
    content = head + len(body).to_bytes(4, "big") + body
    return content + who.signing.sign(digestfile.LABEL + content)


def body_of(*rows: object, made_at: int = NOW) -> bytes:
    return msgspec.msgpack.encode([made_at, "c1", rows])


def row(partition: int, first: int, following: int, *blocks: object) -> list[object]:
    return ["orders", "orders", bytes(16), partition, 0, first, following, blocks]


GOOD = [0, 3, bytes(32), bytes(32)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (body_of(row(0, 9, 8)), "ends before it begins"),
        (body_of(row(0, 0, 9), row(0, 0, 9)), "not in rising order"),
        (body_of(row(1, 0, 9), row(0, 0, 9)), "not in rising order"),
        (body_of(row(0, 0, 9, GOOD, GOOD)), "block 0 with 3"),
        (body_of(row(0, 0, 2, GOOD)), "block 0 with 3"),
        (body_of(row(0, 0, 9, [1, 1, bytes(32), bytes(32)])), "block 1 with 1"),
        (body_of(row(0, 0, 9, [0, 0, bytes(32), bytes(32)])), ""),
        (body_of(row(0, 0, 9, [0, 1, bytes(31), bytes(32)])), ""),
        (body_of(["orders", "orders", bytes(16), 0, 2, 0, 9, []]), ""),
        (body_of(["orders", "or/ders", bytes(16), 0, 0, 0, 9, []]), ""),
        (body_of(made_at=-1), ""),
        (body_of() + b"\0", ""),
        (b"\xdc\x00\x03" + body_of()[1:], "shortest"),
        (b"", ""),
    ],
)
def test_a_member_that_signs_what_cannot_be_is_refused_as_malformed(body: bytes, words: str) -> None:
    with pytest.raises(Rejected, match=words or None) as refusal:
        digestfile.read(signed_by(ANNA.identity, ANNA.credential_bytes, body), ROOT, NOW)
    assert refusal.value.reason is Reason.MALFORMED


def test_a_good_body_under_that_hand_is_read() -> None:
    told = digestfile.read(
        signed_by(ANNA.identity, ANNA.credential_bytes, body_of(row(0, 0, 9, GOOD), row(1, 0, 9))), ROOT, NOW
    )
    assert [each.count for each in told.partitions] == [3, 0]


def test_nobody_signs_for_another_member() -> None:
    forged = signed_by(BERT.identity, ANNA.credential_bytes, body_of())
    with pytest.raises(Rejected) as refusal:
        digestfile.read(forged, ROOT, NOW)
    assert refusal.value.reason is Reason.BAD_SIGNATURE


def test_the_site_is_the_credentials_and_no_members_choice() -> None:
    told = digestfile.read(signed_by(BERT.identity, BERT.credential_bytes, body_of(row(0, 0, 9))), ROOT, NOW)
    assert told.partitions[0].source.site == "paris"
    with pytest.raises(Misuse, match="paris"):
        written([exported(0, [], Span(0, 0), site="paris")])


def reason_of(content: bytes, trusted: root.Root = ROOT, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as refusal:
        digestfile.read(content, trusted, now)
    return refusal.value.reason


def test_what_a_stranger_or_another_project_signed_is_refused() -> None:
    others = root.read_first(root.make_first("other", [signing("x")], 1, [(signing("y").public, NOW + DAY)], [], NOW))
    assert reason_of(FILE, others) is Reason.OTHER_PROJECT
    stranger = identity.create(Draws("stranger"), NOW)
    assert reason_of(signed_by(stranger, admit(stranger, "eve")[:-1] + b"\0", body_of())) is Reason.BAD_SIGNATURE
    assert reason_of(FILE.replace(b"sealwire digests", b"sealwire digestS")) is Reason.FOREIGN
    assert reason_of(FILE[:16] + b"\x02" + FILE[17:]) is Reason.UNKNOWN_VERSION
    assert reason_of(FILE[:17] + b"\x02" + FILE[18:]) is Reason.UNKNOWN_SUITE
    assert reason_of(FILE[:50] + b"\xff\xff\xff\xff" + FILE[54:]) is Reason.TOO_LARGE
    elsewhere = FILE[:18] + bytes(32) + FILE[50:-SIGNATURE_SIZE]
    assert reason_of(elsewhere + ANNA.identity.signing.sign(digestfile.LABEL + elsewhere)) is Reason.OTHER_PROJECT


def test_one_that_is_dated_ahead_or_after_its_credential_is_refused() -> None:
    assert reason_of(written(SOME, NOW + 6 * MINUTE)) is Reason.AHEAD
    assert digestfile.read(written(SOME, NOW + 4 * MINUTE), ROOT, NOW).made_at == NOW + 4 * MINUTE
    assert reason_of(written(SOME, NOW + 8 * DAY), now=NOW + 8 * DAY) is Reason.EXPIRED
    assert digestfile.read(FILE, ROOT, NOW + 30 * DAY).made_at == NOW  # an old file stays true


def test_one_beyond_the_cap_is_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digestfile, "MOST", len(FILE) - 1)
    with pytest.raises(Misuse, match="export fewer"):
        written(SOME)
    assert reason_of(FILE) is Reason.TOO_LARGE


def test_a_million_records_make_a_small_file() -> None:
    made = [exported(0, range(1000), Span(0, 10**6))]
    per_block = len(written(made)) - len(written([replace(made[0], blocks=())]))
    assert per_block * 1000 < 80_000


def test_the_documented_numbers_are_the_codes() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs/VERIFY.md").read_text().split())
    assert b"sealwire v1 digests".ljust(32, b"\0") == digestfile.LABEL
    for words in (
        f'"{digestfile.MAGIC.decode()}" | version u8 ({digestfile.VERSION}) | suite u8 (1)',
        f"at most {CAPS[Type.CREDENTIAL]}",
        f"above {digestfile.MOST} bytes",
        f"[{BLOCK} number, {BLOCK} (number + 1))",
        *(f"`{kind}`" for kind in Kind),
    ):
        assert words in text
