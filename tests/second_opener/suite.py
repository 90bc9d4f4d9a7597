"""Suite 1 of FORMAT.md: digest, key derivation, AEAD, signatures, and HPKE with X-Wing."""

from __future__ import annotations

import hashlib
import hmac

from blake3 import blake3
from canonical import Refused, ensure
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FIELD = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
_OF_ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
SMALL_ORDER = {0, 1, FIELD - 1, _OF_ORDER_8, FIELD - _OF_ORDER_8}  # the y of all eight points

XWING_LABEL = b"\\.//^\\"
HPKE = b"HPKE\x64\x7a\x00\x01\x00\x02"  # X-Wing, HKDF-SHA256, AES-256-GCM


def digest(*parts: bytes) -> bytes:
    """H."""
    return blake3(b"".join(parts)).digest()


def sha256(*parts: bytes) -> bytes:
    """The digest of ids that outlive a suite."""
    return hashlib.sha256(b"".join(parts)).digest()


def sized(field: bytes) -> bytes:
    """A field with its u16 length before it."""
    return len(field).to_bytes(2, "big") + field


def _extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha256")


def _expand(pseudorandom: bytes, info: bytes, size: int) -> bytes:
    out = block = b""
    while len(out) < size:
        block = hmac.digest(pseudorandom, block + info + bytes([len(out) // 32 + 1]), "sha256")
        out += block
    return out[:size]


def hkdf(secret: bytes, salt: bytes, label: str, *fields: bytes) -> bytes:
    """FORMAT.md's HKDF, 32 bytes of it."""
    info = bytes([len(label)]) + label.encode() + b"".join(map(sized, fields))
    return _expand(_extract(salt or bytes(32), secret), info, 32)


def decrypt(key: bytes, ciphertext: bytes, ad: bytes, nonce: bytes = bytes(12)) -> bytes:
    """The plaintext; what does not open is `bad-ciphertext`."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, ad)
    except InvalidTag:
        raise Refused("bad-ciphertext") from None


def verify(public: bytes, signature: bytes, *signed: bytes) -> None:
    """Refuse with `bad-signature` what libsodium does not verify."""
    y_of_key, y_of_r = (int.from_bytes(each, "little") % 2**255 for each in (public, signature[:32]))
    ensure(y_of_key < FIELD and y_of_key not in SMALL_ORDER and y_of_r not in SMALL_ORDER, "bad-signature")
    ensure(int.from_bytes(signature[32:], "little") < ORDER, "bad-signature")
    try:
        # OpenSSL makes R anew, without cofactor, and compares its 32 bytes: so R is canonical too.
        Ed25519PublicKey.from_public_bytes(public).verify(signature, b"".join(signed))
    except InvalidSignature:
        raise Refused("bad-signature") from None


def decapsulate(seed: bytes, enc: bytes) -> bytes:
    """X-Wing: the shared secret of an encapsulation, for a private key that is a seed of 32 bytes."""
    expanded = hashlib.shake_256(seed).digest(96)
    lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    curve = X25519PrivateKey.from_private_bytes(expanded[64:])
    public = curve.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    try:
        of_curve = curve.exchange(X25519PublicKey.from_public_bytes(enc[1088:]))
    except ValueError:  # zeros came out: RFC 9180, 7.1.4
        raise Refused("bad-ciphertext") from None
    of_lattice = lattice.decapsulate(enc[:1088])
    return hashlib.sha3_256(of_lattice + of_curve + enc[1088:] + public + XWING_LABEL).digest()


def hpke_open(seed: bytes, enc: bytes, info: bytes, ciphertext: bytes) -> bytes:
    """RFC 9180's Open in base mode, sequence number 0, with an empty `aad`."""

    def extract(salt: bytes, label: bytes, secret: bytes) -> bytes:
        return _extract(salt or bytes(32), b"HPKE-v1" + HPKE + label + secret)

    def expand(pseudorandom: bytes, label: bytes, context: bytes, size: int) -> bytes:
        return _expand(pseudorandom, size.to_bytes(2, "big") + b"HPKE-v1" + HPKE + label + context, size)

    context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    secret = extract(decapsulate(seed, enc), b"secret", b"")
    key, nonce = expand(secret, b"key", context, 32), expand(secret, b"base_nonce", context, 12)
    return decrypt(key, ciphertext, b"", nonce)
