"""The one door to cryptography: suite 1, and nothing beside it.

Suite 1 is Ed25519 (RFC 8032, verified by libsodium), HKDF-SHA256 (RFC 5869), AES-256-GCM (SP 800-38D), BLAKE3-256 as
the digest H under signatures, and HPKE base mode (RFC 9180) over X-Wing (X25519 + ML-KEM-768, KEM id 0x647a) with
HKDF-SHA256 and AES-256-GCM.

Nothing here draws random bytes, with one exception: HPKE's encapsulation draws its own inside OpenSSL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import (
    X25519PrivateKey,
    X25519PublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings as sodium
from nacl.exceptions import BadSignatureError

from sealwire.keys.reason import Misuse, Reason, Rejected

Buffer = bytes | bytearray | memoryview
Random = Callable[[int], bytes]
Verify = Callable[[bytes, bytes, bytes], bool]  # a public key, a message, a signature

SUITE: Final = 1
ED25519: Final = 1  # the number of the signature algorithm in statements

DIGEST_SIZE: Final = 32
SECRET_SIZE: Final = 32
SEED_SIZE: Final = 32
PUBLIC_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
RECEIVING_SIZE: Final = 1216  # an X-Wing public key: ML-KEM-768 (1184 bytes), then X25519 (32 bytes)
ENC_SIZE: Final = 1120  # an X-Wing encapsulation: ML-KEM-768 (1088 bytes), then X25519 (32 bytes)
WRAPPED_SIZE: Final = SECRET_SIZE + TAG_SIZE
NONCE_ZERO: Final = bytes(NONCE_SIZE)  # every AEAD secret of the format seals one message, so its nonce is always zero

_MLKEM_SIZE: Final = 1184
_SHA256: Final = SHA256()
_HPKE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LENGTHS: Final = tuple(n.to_bytes(2, "big") for n in range(1024))
_LABELS_END: Final = 1 << 8
_labels: dict[str, bytes] = {}  # label -> u8 length | label; as many entries as the format has labels


def digest(*parts: Buffer) -> bytes:
    """Give the 32-byte BLAKE3 digest of the parts, one after the other: the H of suite 1."""
    if len(parts) == 1:
        return blake3(parts[0]).digest()
    state = blake3()
    for part in parts:
        state.update(part)
    return state.digest()


def sha256(*parts: Buffer) -> bytes:
    """Give the SHA-256 of the parts, one after the other: for project ids, member ids and signing key digests."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def hkdf(secret: bytes, salt: bytes, label: str, *fields: bytes, length: int = 32) -> bytes:
    """Derive `length` bytes: HKDF-SHA256 (RFC 5869) with info = u8 length | label | each field with a u16 length.

    A field of 64 KiB or more, or a label of 256 bytes or more, is `Misuse`.
    """
    head = _labels.get(label)
    if head is None:
        if len(label) >= _LABELS_END:
            raise Misuse(f"HKDF label of {len(label)} characters")
        head = _labels[label] = len(label).to_bytes(1, "big") + label.encode("ascii")
    pieces = [head]
    for part in fields:
        size = len(part)
        if size < len(_LENGTHS):
            pieces.append(_LENGTHS[size])
        elif size < 1 << 16:
            pieces.append(size.to_bytes(2, "big"))
        else:
            raise Misuse(f"HKDF field of {size} bytes")
        pieces.append(part)
    return HKDF(_SHA256, length, salt, b"".join(pieces)).derive(secret)


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key that signs (RFC 8032). `seed` is the secret: never shown, kept only where a vault keeps it."""

    seed: bytes = field(repr=False)
    public: bytes
    _expanded: bytes = field(repr=False, compare=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """Make the key of a 32-byte seed; another length is `Misuse`."""
        if len(seed) != SEED_SIZE:
            raise Misuse(f"a signing key's seed has {SEED_SIZE} bytes, not {len(seed)}")
        public, expanded = sodium.crypto_sign_seed_keypair(seed)
        return cls(seed, public, expanded)

    def sign(self, message: bytes) -> bytes:
        """Give the 64-byte signature of a message."""
        return sodium.crypto_sign(message, self._expanded)[:SIGNATURE_SIZE]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is this key's. Keys and signatures of a wrong length are simply not."""
    if len(public) != PUBLIC_SIZE or len(signature) != SIGNATURE_SIZE:  # libsodium reads these lengths unasked
        return False
    try:
        sodium.crypto_sign_open(signature + message, public)
    except BadSignatureError:
        return False
    return True


def aead_seal_into(aead_secret: bytes, nonce: bytes, plaintext: Buffer, ad: bytes, out: memoryview) -> int:
    """Encrypt with AES-256-GCM into the start of `out`; give the bytes written, 16 more than the plaintext.

    `plaintext` may be the start of `out` itself: OpenSSL works in place. An `out` too small is `Misuse`.
    """
    size = memoryview(plaintext).nbytes + TAG_SIZE
    if out.nbytes < size:
        raise Misuse(f"{out.nbytes} bytes cannot take a ciphertext of {size}")
    return AESGCM(aead_secret).encrypt_into(nonce, plaintext, ad, out[:size])


def aead_open_into(aead_secret: bytes, nonce: bytes, ciphertext: Buffer, ad: bytes, out: memoryview) -> int:
    """Decrypt with AES-256-GCM into the start of `out`; give the bytes written, 16 fewer than the ciphertext.

    Raises `Rejected` (bad-ciphertext) when the tag does not fit; what `out` holds then is nothing to read. An `out`
    too small is `Misuse`.
    """
    size = memoryview(ciphertext).nbytes - TAG_SIZE
    if size < 0:
        raise Rejected(Reason.BAD_CIPHERTEXT, "shorter than its tag")
    if out.nbytes < size:
        raise Misuse(f"{out.nbytes} bytes cannot take a plaintext of {size}")
    try:
        return AESGCM(aead_secret).decrypt_into(nonce, ciphertext, ad, out[:size])
    except InvalidTag:
        raise Rejected(Reason.BAD_CIPHERTEXT, "the tag does not fit") from None


def aead_seal(aead_secret: bytes, nonce: bytes, plaintext: bytes, ad: bytes) -> bytes:
    """Encrypt with AES-256-GCM; for statements, where a new object costs nothing that matters."""
    return AESGCM(aead_secret).encrypt(nonce, plaintext, ad)


def aead_open(aead_secret: bytes, nonce: bytes, ciphertext: bytes, ad: bytes) -> bytes:
    """Decrypt with AES-256-GCM, or raise `Rejected` (bad-ciphertext)."""
    try:
        return AESGCM(aead_secret).decrypt(nonce, ciphertext, ad)
    except InvalidTag:
        raise Rejected(Reason.BAD_CIPHERTEXT, "the tag does not fit") from None


@dataclass(frozen=True)
class ReceivingKey:
    """The private half of an X-Wing key pair (draft-connolly-cfrg-xwing-kem): a 32-byte seed, never shown."""

    seed: bytes = field(repr=False)

    @classmethod
    def create(cls, random: Random) -> ReceivingKey:
        """Make a new one from 32 random bytes."""
        return cls(random(SEED_SIZE))

    def encode(self) -> bytes:
        """Give the 32 secret bytes that a vault keeps."""
        return self.seed

    @classmethod
    def decode(cls, encoded: bytes) -> ReceivingKey:
        """Read what `encode` gave; another length raises `Rejected`."""
        if len(encoded) != SEED_SIZE:
            raise Rejected(
                Reason.MALFORMED,
                f"a receiving key has {SEED_SIZE} bytes, not {len(encoded)}",
            )
        return cls(encoded)

    @cached_property
    def halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        """The two private keys that X-Wing expands from the seed with SHAKE256."""
        if len(self.seed) != SEED_SIZE:
            raise Misuse(f"a receiving key's seed has {SEED_SIZE} bytes, not {len(self.seed)}")
        expanded = hashlib.shake_256(self.seed).digest(96)
        return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])

    @cached_property
    def public(self) -> bytes:
        """The 1216 bytes that others wrap for."""
        mlkem, x25519 = self.halves
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()


def hpke_wrap(public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """Encrypt for a receiving key with HPKE's base mode (RFC 9180): (enc, ciphertext). Draws its own random bytes.

    Raises `Rejected` (bad-key) for bytes that are no X-Wing key, an X25519 half of small order included.
    """
    if len(public) != RECEIVING_SIZE:
        raise Rejected(
            Reason.BAD_KEY,
            f"a receiving key has {RECEIVING_SIZE} bytes, not {len(public)}",
        )
    try:
        key = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_SIZE]),
            X25519PublicKey.from_public_bytes(public[_MLKEM_SIZE:]),
        )
        sealed = _HPKE.encrypt(plaintext, key, info)
    except ValueError:
        raise Rejected(Reason.BAD_KEY, "nothing can be wrapped for this receiving key") from None
    return sealed[:ENC_SIZE], sealed[ENC_SIZE:]


def hpke_unwrap(receiving: ReceivingKey, info: bytes, enc: bytes, ciphertext: bytes) -> bytes:
    """Decrypt what `hpke_wrap` made for this key under the same info, or raise `Rejected` (bad-ciphertext)."""
    if len(enc) != ENC_SIZE:
        raise Rejected(Reason.MALFORMED, f"an encapsulation has {ENC_SIZE} bytes, not {len(enc)}")
    try:
        return _HPKE.decrypt(enc + ciphertext, MLKEM768X25519PrivateKey(*receiving.halves), info)
    except (InvalidTag, ValueError):
        raise Rejected(Reason.BAD_CIPHERTEXT, "not wrapped for this receiving key") from None
