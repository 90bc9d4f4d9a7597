"""A statement whose last field is encrypted under a session, with every byte before it as associated data.

    salt       = first 16 bytes of HKDF(session secret, 16 random bytes drawn last, "sealwire v1 salt",
                 H(the body with an empty salt and an empty ciphertext) | H(plaintext))
    key        = HKDF(session secret, salt, LABEL, session id | author's member id)
    ciphertext = AES-256-GCM(key, nonce 0, plaintext, ad = every byte of the statement before the ciphertext)

The salt makes sealing stateless: two clones that draw the same random bytes still never seal two contents, or one
content in two statements, under one key and nonce. A reader takes the salt as it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import primitives, wire
from sealwire.keys.primitives import NONCE_ZERO, TAG_SIZE, Random

if TYPE_CHECKING:
    from sealwire.keys.primitives import SigningKey
    from sealwire.keys.wire import Frame, Type

SALT_SIZE: Final = 16
Ciphertext = Annotated[bytes, msgspec.Meta(min_length=TAG_SIZE)]


def write(
    kind: Type,
    project_id: bytes,
    fields: wire.Fields,
    label: str,
    secret: bytes,
    session_id: bytes,
    author: bytes,
    plaintext: bytes,
    signer: SigningKey,
    random: Random,
) -> bytes:
    """Make the statement; what `fields` has for `salt` and `ciphertext` is replaced."""
    outside = wire.pack(msgspec.structs.replace(fields, salt=b"", ciphertext=b""))
    salt = primitives.hkdf(
        secret,
        random(SALT_SIZE),
        "sealwire v1 salt",
        primitives.digest(outside),
        primitives.digest(plaintext),
        length=SALT_SIZE,
    )
    size = len(plaintext) + TAG_SIZE
    body = wire.pack(msgspec.structs.replace(fields, salt=salt, ciphertext=bytes(size)))
    before = wire.head(kind, project_id, body)[:-size]
    key = primitives.hkdf(secret, salt, label, session_id, author)
    return wire.finish(kind, before + primitives.aead_seal(key, NONCE_ZERO, plaintext, before), [signer])


def read(
    frame: Frame, salt: bytes, ciphertext: bytes, label: str, secret: bytes, session_id: bytes, author: bytes
) -> bytes:
    """Give the plaintext, or raise `Rejected` (bad-ciphertext). The frame's signature was checked before."""
    key = primitives.hkdf(secret, salt, label, session_id, author)
    before = frame.statement[: frame.end - len(ciphertext)]
    return primitives.aead_open(key, NONCE_ZERO, ciphertext, before)
