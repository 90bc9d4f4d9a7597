from __future__ import annotations

import hashlib
import hmac
import os

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from sealwire.keys import primitives
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.reason import Misuse, Reason, Rejected


@given(st.binary(max_size=64), st.binary(max_size=64), st.lists(st.binary(max_size=2000), max_size=4))
def test_hkdf_is_rfc_5869_over_a_length_prefixed_info(secret: bytes, salt: bytes, fields: list[bytes]) -> None:
    info = b"\x03abc" + b"".join(len(part).to_bytes(2, "big") + part for part in fields)
    extracted = hmac.digest(salt, secret, "sha256")
    expected = hmac.digest(extracted, info + b"\x01", "sha256")
    assert primitives.hkdf(secret, salt, "abc", *fields) == expected
    assert primitives.hkdf(secret, salt, "abc", *fields, length=16) == expected[:16]


def test_hkdf_takes_fields_of_any_length_that_two_bytes_tell() -> None:
    info = b"\x03abc\x07\xd0" + bytes(2000)
    extracted = hmac.digest(bytes(32), b"secret", "sha256")
    assert primitives.hkdf(b"secret", b"", "abc", bytes(2000)) == hmac.digest(extracted, info + b"\x01", "sha256")


def test_hkdf_of_a_field_that_its_length_cannot_hold_is_misuse() -> None:
    with pytest.raises(Misuse):
        primitives.hkdf(b"", b"", "abc", bytes(1 << 16))
    with pytest.raises(Misuse):
        primitives.hkdf(b"", b"", "a" * 256)


@given(st.lists(st.binary(max_size=100), max_size=4))
def test_digests_take_parts_as_one_message(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert primitives.digest(*parts) == blake3(whole).digest()
    assert primitives.sha256(*map(memoryview, parts)) == hashlib.sha256(whole).digest()


def test_a_signature_is_that_of_rfc_8032() -> None:
    signing = SigningKey.from_seed(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert signing.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert signing.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_signature_altered_in_any_bit_is_not_believed() -> None:
    signing = SigningKey.from_seed(bytes(32))
    signature = signing.sign(b"message")
    assert primitives.verify(signing.public, b"message", signature)
    for bit in range(len(signature) * 8):
        altered = bytearray(signature)
        altered[bit // 8] ^= 1 << bit % 8
        assert not primitives.verify(signing.public, b"message", bytes(altered))


@given(st.binary(max_size=40), st.binary(max_size=70))
def test_keys_and_signatures_of_any_length_are_just_not_believed(public: bytes, signature: bytes) -> None:
    assert not primitives.verify(public, b"message", signature)


def test_an_all_zero_key_verifies_nothing() -> None:
    identity_point = b"\x01" + bytes(31)
    assert not primitives.verify(identity_point, b"message", identity_point + bytes(32))


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_what_is_sealed_into_a_buffer_opens_out_of_it(plaintext: bytes, ad: bytes) -> None:
    out = memoryview(bytearray(400))
    size = primitives.aead_seal_into(bytes(32), primitives.NONCE_ZERO, plaintext, ad, out)
    assert size == len(plaintext) + primitives.TAG_SIZE
    opened = memoryview(bytearray(400))
    assert primitives.aead_open_into(bytes(32), primitives.NONCE_ZERO, out[:size], ad, opened) == len(plaintext)
    assert bytes(opened[: len(plaintext)]) == plaintext
    assert primitives.aead_open(bytes(32), primitives.NONCE_ZERO, bytes(out[:size]), ad) == plaintext
    assert primitives.aead_seal(bytes(32), primitives.NONCE_ZERO, plaintext, ad) == bytes(out[:size])


def test_sealing_works_in_place() -> None:
    out = memoryview(bytearray(b"plaintext" + bytes(16)))
    size = primitives.aead_seal_into(bytes(32), primitives.NONCE_ZERO, out[:9], b"ad", out)
    assert primitives.aead_open(bytes(32), primitives.NONCE_ZERO, bytes(out[:size]), b"ad") == b"plaintext"


@given(st.binary(max_size=60))
def test_foreign_ciphertexts_are_rejected_whatever_their_length(ciphertext: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        primitives.aead_open_into(bytes(32), primitives.NONCE_ZERO, ciphertext, b"", memoryview(bytearray(60)))
    assert refusal.value.reason is Reason.BAD_CIPHERTEXT
    with pytest.raises(Rejected):
        primitives.aead_open(bytes(32), primitives.NONCE_ZERO, ciphertext, b"")


def test_a_buffer_too_small_is_misuse() -> None:
    with pytest.raises(Misuse):
        primitives.aead_seal_into(bytes(32), primitives.NONCE_ZERO, b"1234", b"", memoryview(bytearray(19)))
    with pytest.raises(Misuse):
        primitives.aead_open_into(bytes(32), primitives.NONCE_ZERO, bytes(20), b"", memoryview(bytearray(3)))


def test_what_is_wrapped_for_a_receiving_key_is_unwrapped_by_it_alone() -> None:
    mine, other = ReceivingKey.create(os.urandom), ReceivingKey.create(os.urandom)
    enc, ciphertext = primitives.hpke_wrap(mine.public, b"info", bytes(32))
    assert (len(enc), len(ciphertext)) == (primitives.ENC_SIZE, primitives.WRAPPED_SIZE)
    assert primitives.hpke_unwrap(mine, b"info", enc, ciphertext) == bytes(32)
    assert primitives.hpke_unwrap(ReceivingKey.decode(mine.encode()), b"info", enc, ciphertext) == bytes(32)
    for receiving, info, text in ((other, b"info", ciphertext), (mine, b"ofni", ciphertext), (mine, b"info", b"")):
        with pytest.raises(Rejected):
            primitives.hpke_unwrap(receiving, info, enc, text)
    with pytest.raises(Rejected):
        primitives.hpke_unwrap(mine, b"info", enc[1:], ciphertext)


@pytest.mark.parametrize("public", [b"", bytes(1215), bytes(1216), b"\xff" * 1216])
def test_nothing_is_wrapped_for_bytes_that_are_no_receiving_key(public: bytes) -> None:
    with pytest.raises(Rejected) as refusal:
        primitives.hpke_wrap(public, b"", bytes(32))
    assert refusal.value.reason is Reason.BAD_KEY


def test_secrets_are_not_shown() -> None:
    seed = bytes(range(32))
    for holder in (SigningKey.from_seed(seed), ReceivingKey(seed)):
        shown = repr(holder)
        assert seed.hex() not in shown
        assert repr(seed) not in shown


def test_seeds_of_another_length_are_refused() -> None:
    with pytest.raises(Misuse):
        SigningKey.from_seed(bytes(31))
    with pytest.raises(Misuse):
        _ = ReceivingKey(bytes(31)).public
    with pytest.raises(Rejected):
        ReceivingKey.decode(bytes(31))
