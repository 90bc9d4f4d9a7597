"""HPKE and X-Wing, as this package drives them, held against published vectors.

Every published vector has associated data, which `cryptography`'s public HPKE does not take: they are opened by its
private `_decrypt_with_aad`, here and nowhere else. If that name moves, these tests say so and nothing else breaks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cryptography_vectors
import pytest
from cryptography.hazmat.bindings._rust import openssl
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite

from sealwire.keys import primitives
from sealwire.keys.primitives import ReceivingKey

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(cryptography_vectors.__file__).parent / "HPKE"
X25519, X_WING = 0x0020, 0x647A
BASE = 0
AEADS = {1: AEAD.AES_128_GCM, 2: AEAD.AES_256_GCM, 3: AEAD.CHACHA20_POLY1305}


def opened(suite: Suite, enc: bytes, ciphertext: bytes, private: Any, info: bytes, aad: bytes) -> bytes:  # noqa: ANN401
    """The one pinned use of a private name."""
    return openssl.hpke._decrypt_with_aad(suite, enc + ciphertext, private, info, aad)


def vectors(file: str, kem: int, kdf: int = 1) -> Iterator[dict[str, Any]]:
    for vector in json.loads((VECTORS / file).read_text()):
        if (vector["mode"], vector["kem_id"], vector["kdf_id"]) == (BASE, kem, kdf) and vector["aead_id"] in AEADS:
            yield vector


RFC_9180 = list(vectors("test-vectors.json", X25519))
POST_QUANTUM = list(vectors("hpke-pq-test-vectors.json", X_WING))


def first_message(vector: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    message = vector["encryptions"][0]  # the later ones count the nonce up, which a one-shot HPKE never does
    return bytes.fromhex(message["ct"]), bytes.fromhex(message["aad"]), bytes.fromhex(message["pt"])


def test_there_are_vectors_to_hold_against() -> None:
    assert RFC_9180
    assert POST_QUANTUM


@pytest.mark.parametrize("vector", RFC_9180, ids=lambda vector: f"aead-{vector['aead_id']}")
def test_hpke_opens_what_rfc_9180_sealed(vector: dict[str, Any]) -> None:
    ciphertext, aad, plaintext = first_message(vector)
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEADS[vector["aead_id"]])
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["skRm"]))
    info = bytes.fromhex(vector["info"])
    assert opened(suite, bytes.fromhex(vector["enc"]), ciphertext, private, info, aad) == plaintext


@pytest.mark.parametrize("vector", POST_QUANTUM, ids=lambda vector: f"aead-{vector['aead_id']}")
def test_x_wing_opens_what_the_post_quantum_draft_sealed(vector: dict[str, Any]) -> None:
    ciphertext, aad, plaintext = first_message(vector)
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEADS[vector["aead_id"]])
    private = MLKEM768X25519PrivateKey(*ReceivingKey(bytes.fromhex(vector["skRm"])).halves)
    info = bytes.fromhex(vector["info"])
    assert opened(suite, bytes.fromhex(vector["enc"]), ciphertext, private, info, aad) == plaintext


@pytest.mark.parametrize("vector", POST_QUANTUM, ids=lambda vector: f"aead-{vector['aead_id']}")
def test_a_receiving_key_expands_its_seed_as_x_wing_does(vector: dict[str, Any]) -> None:
    receiving = ReceivingKey.decode(bytes.fromhex(vector["skRm"]))
    assert receiving.public == bytes.fromhex(vector["pkRm"])
    assert len(bytes.fromhex(vector["enc"])) == primitives.ENC_SIZE
    mlkem, x25519 = receiving.halves
    assert isinstance(mlkem, MLKEM768PrivateKey)
    assert isinstance(x25519, X25519PrivateKey)


def test_our_wrapping_is_that_suite_with_empty_associated_data() -> None:
    receiving = ReceivingKey(bytes(range(32)))
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    enc, ciphertext = primitives.hpke_wrap(receiving.public, b"info", b"secret")
    private = MLKEM768X25519PrivateKey(*receiving.halves)
    assert opened(suite, enc, ciphertext, private, b"info", b"") == b"secret"
