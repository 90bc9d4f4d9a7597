from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.keys import wire
from sealwire.keys.primitives import SigningKey, digest
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Fields, Type

PROJECT = bytes(range(32))
ANNA, BERT = SigningKey.from_seed(b"a" * 32), SigningKey.from_seed(b"b" * 32)


class Sample(Fields, frozen=True):
    name: wire.Name
    at: wire.Time
    id: wire.Id


DECODER = msgspec.msgpack.Decoder(Sample)
SAMPLE = Sample("orders", 200, bytes(32))


def sample() -> bytes:
    return wire.write(Type.SESSION, PROJECT, SAMPLE, [ANNA])


def refusal(statement: bytes) -> Reason:
    with pytest.raises(Rejected) as caught:
        frame = wire.read(statement, Type.SESSION, PROJECT)
        wire.check_signers(frame, ANNA.public)
        wire.unpack(frame.body, DECODER)
    return caught.value.reason


def test_a_frame_is_laid_out_as_stated() -> None:
    statement = sample()
    body = b"\x93\xa6orders\xcc\xc8\xc4\x20" + bytes(32)
    assert statement[:41] == b"SW\x28\x01\x01" + PROJECT + len(body).to_bytes(4, "big")
    assert statement[41:-97] == body
    assert statement[-97] == 1
    signed = b"sealwire v1 session".ljust(32, b"\0") + statement[:-97]
    assert statement[-64:] == ANNA.sign(signed)
    assert wire.statement_digest(statement) == digest(signed)
    assert wire.read(statement, Type.SESSION, PROJECT).digest == digest(signed)


def test_labels_are_one_per_type_and_32_bytes() -> None:
    assert len(set(wire.LABELS.values())) == len(Type)
    assert {len(label) for label in wire.LABELS.values()} == {32}
    with pytest.raises(Misuse):
        wire.label("a" * 30)


def test_an_altered_bit_anywhere_is_rejected() -> None:
    statement = sample()
    for bit in range(len(statement) * 8):
        altered = bytearray(statement)
        altered[bit // 8] ^= 1 << bit % 8
        refusal(bytes(altered))


def test_a_frame_cut_short_anywhere_is_truncated() -> None:
    statement = sample()
    for end in range(2, len(statement)):
        assert refusal(statement[:end]) is Reason.TRUNCATED
    assert refusal(statement[:1]) is Reason.FOREIGN
    assert refusal(statement + b"\0") is Reason.MALFORMED


@given(st.binary(max_size=200))
def test_any_bytes_are_rejected_with_a_reason(noise: bytes) -> None:
    for statement in (noise, sample()[:41] + noise, sample()[:5] + noise):
        refusal(statement)
        with pytest.raises(Rejected):
            wire.statement_digest(noise)


def test_a_digest_is_of_a_whole_statement_alone() -> None:
    with pytest.raises(Rejected) as caught:
        wire.statement_digest(sample()[:60])
    assert caught.value.reason is Reason.TRUNCATED


def test_each_part_of_the_head_has_its_own_reason() -> None:
    def with_byte(at: int, value: int) -> bytes:
        return sample()[:at] + bytes((value,)) + sample()[at + 1 :]

    assert refusal(with_byte(2, 0xFF)) is Reason.UNKNOWN_TYPE
    assert refusal(with_byte(2, Type.GRANTS)) is Reason.MALFORMED
    assert refusal(with_byte(3, 2)) is Reason.UNKNOWN_VERSION
    assert refusal(with_byte(4, 9)) is Reason.UNKNOWN_SUITE
    assert refusal(with_byte(5, 9)) is Reason.OTHER_PROJECT
    assert refusal(sample() + bytes(wire.CAPS[Type.SESSION])) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    "body",
    [
        b"\x93\xa6orders\xcd\x00\xc8\xc4\x20" + bytes(32),  # a longer integer
        b"\x93\xd9\x06orders\xcc\xc8\xc4\x20" + bytes(32),  # a longer string
        b"\xdc\x00\x03\xa6orders\xcc\xc8\xc4\x20" + bytes(32),  # a longer array
        b"\x93\xa6orders\xcc\xc8\xc5\x00\x20" + bytes(32),  # a longer bin
        b"\x94\xa6orders\xcc\xc8\xc4\x20" + bytes(32) + b"\x01",  # one element more
        b"\x92\xa6orders\xcc\xc8",  # one fewer
        b"\x93\xa6orders\xcb\x40\x69\x00\x00\x00\x00\x00\x00\xc4\x20" + bytes(32),  # a float
        b"\x93\xa6orders\xd2\xff\xff\xff\xff\xc4\x20" + bytes(32),  # below zero
        b"\x93\xa6orders\xcc\xc8\xc4\x1f" + bytes(31),  # an id too short
        b"\x93\xa6order/\xcc\xc8\xc4\x20" + bytes(32),  # no name
        b"\x93\xa6order\n\xcc\xc8\xc4\x20" + bytes(32),
        b"\x93\xa6order\xff\xcc\xc8\xc4\x20" + bytes(32),  # no UTF-8
        b"\x83\xa4name\xa6orders\xa2at\xcc\xc8\xa2id\xc4\x20" + bytes(32),  # a map
        b"\x93\xa6orders\xcc\xc8\xc4\x20" + bytes(32) + b"\0",  # bytes after it
        b"\x91" * 5000,
        b"",
    ],
)
def test_a_body_in_any_form_but_the_one_is_malformed(body: bytes) -> None:
    statement = wire.finish(Type.SESSION, wire.head(Type.SESSION, PROJECT, body), [ANNA])
    assert refusal(statement) is Reason.MALFORMED


def test_exactly_the_expected_signers_must_have_signed() -> None:
    def signed(*signers: SigningKey) -> bytes:
        return wire.write(Type.SESSION, PROJECT, SAMPLE, signers)

    assert refusal(signed()) is Reason.UNKNOWN_SIGNER
    assert refusal(signed(BERT)) is Reason.UNKNOWN_SIGNER
    assert refusal(signed(ANNA, BERT)) is Reason.UNKNOWN_SIGNER
    both = wire.read(signed(ANNA, BERT), Type.SESSION, PROJECT)
    wire.check_signers(both, BERT.public, ANNA.public)
    swapped = signed(ANNA, BERT)
    swapped = swapped[:-192] + swapped[-96:] + swapped[-192:-96]
    assert refusal(swapped) is Reason.MALFORMED
    twice = sample()
    assert refusal(twice[:-97] + b"\x02" + twice[-96:] * 2) is Reason.MALFORMED


def test_a_signature_for_one_type_is_none_for_another() -> None:
    progress = wire.write(Type.PROGRESS, PROJECT, SAMPLE, [ANNA])
    disguised = progress[:2] + bytes((Type.SESSION,)) + progress[3:]
    assert refusal(disguised) is Reason.BAD_SIGNATURE


def test_a_statement_that_no_reader_would_take_is_misuse() -> None:
    with pytest.raises(Misuse):
        wire.finish(Type.REQUEST, bytes(wire.CAPS[Type.REQUEST]), [])
