"""The vault's file: what it says in the clear, and how it is taken apart before anything is opened.

    file   = header | ciphertext | BLAKE3 of all before it (32 B)
    header = "sealwire vault" | version u8 | custody kind u8 | passes u8 | memory u32 (KiB) | salt (16 B)
             | generation u64 | member id (32 B) | name length u8 | name
             | proof of the sealing secret (16 B) | nonce (24 B)
    ciphertext = XChaCha20-Poly1305(sealing secret, nonce, Secrets, ad = header)

Integers are big-endian. The closing digest needs no secret: it tells a damaged file from a wrong passphrase, and the
proof tells a wrong passphrase from a file that somebody altered. The nonce is random each time: 192 bits bear that.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from nacl import bindings as sodium

from sealwire.app.custody import Cost, Kind
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import check_private
from sealwire.keys import primitives

if TYPE_CHECKING:
    from pathlib import Path

MAGIC: Final = b"sealwire vault"
VERSION: Final = 1
MOST: Final = 256 << 20  # bytes: more than a year of sessions; checked before anything is read
_FIXED: Final = struct.Struct(">14sBBBI16sQ32sB")
PROOF_SIZE: Final = 16
NONCE: Final = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_END: Final = primitives.DIGEST_SIZE


@dataclass(frozen=True)
class Header:
    """What a vault file says in the clear; all of it is authenticated once it opens."""

    kind: Kind
    cost: Cost
    salt: bytes
    generation: int
    member_id: bytes
    name: str

    def encode(self) -> bytes:
        """Give the bytes before proof and nonce."""
        name = self.name.encode()
        memory = self.cost.memory >> 10
        fields = (VERSION, self.kind, self.cost.passes, memory, self.salt, self.generation, self.member_id, len(name))
        return _FIXED.pack(MAGIC, *fields) + name


def read(file: Path) -> tuple[Header, bytes, bytes, bytes]:
    """Take a vault file apart: header, proof, nonce, ciphertext. Whole and private, or `Failure`."""
    try:
        with file.open("rb") as source:
            check_private(file, "vault", os.fstat(source.fileno()).st_mode)
            content = source.read(MOST + 1)
    except OSError as error:
        raise Failure(
            f"The vault {file} cannot be read: {error.strerror}.", "Run as its owner.", code=CONFIGURATION
        ) from None
    if not content.startswith(MAGIC):
        damaged(file, "it does not begin as a vault")
    if len(content) > MOST or len(content) < _FIXED.size + _END:
        damaged(file, f"it has {len(content)} bytes")
    if primitives.digest(memoryview(content)[:-_END]) != content[-_END:]:
        damaged(file, "it was cut or changed")
    _, version, kind, passes, memory, salt, generation, member_id, name_size = _FIXED.unpack_from(content)
    if version != VERSION:
        raise Failure(
            f"The vault {file} has version {version}, and this sealwire knows {VERSION}.",
            "Use the version that wrote it, or a newer one.",
            code=CONFIGURATION,
        )
    at = _FIXED.size + name_size
    name, proof = content[_FIXED.size : at], content[at : at + PROOF_SIZE]
    nonce, ciphertext = content[at + PROOF_SIZE : at + PROOF_SIZE + NONCE], content[at + PROOF_SIZE + NONCE : -_END]
    cost = Cost(passes, memory << 10)
    if kind not in set(Kind):
        raise Failure(
            f"The vault {file} is under a custody that this sealwire does not know (its number is {kind}).",
            "Use the version that wrote it, or a newer one.",
            code=CONFIGURATION,
        )
    try:
        header = Header(Kind(kind), cost, salt, generation, member_id, name.decode())
    except ValueError:
        damaged(file, "its header says what cannot be")
    if header.kind is Kind.PASSPHRASE and not cost.possible:
        damaged(file, "its header names a cost that no vault of ours has")
    return header, proof, nonce, ciphertext


def proof_of(sealing_secret: bytes) -> bytes:
    """Give what tells a wrong secret, and tells nothing of a right one."""
    return primitives.hkdf(sealing_secret, b"", "sealwire vault v1 proof", length=PROOF_SIZE)


def damaged(file: Path, how: str) -> NoReturn:
    """Say that a vault cannot be used any more."""
    raise Failure(
        f"The vault {file} is damaged: {how}.",
        "It was not touched. Restore it from a copy only if the worker has not run since; otherwise move it away, make "
        "the identity anew and enrol it with a new ticket: what was sealed for it comes again by reseal.",
        code=CONFIGURATION,
    )
