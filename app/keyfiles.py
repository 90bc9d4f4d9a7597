"""Files that hold one secret each (a signing key's seed, a receiving key), and the public files that go with them.

A secret file is base64 in one line, mode 0600. A public file is one line, the kind of key and base64, to be handed on.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING, Final

from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.files import check_private, refuse_existing, write_new, write_whole
from sealwire.keys.primitives import PUBLIC_SIZE, RECEIVING_SIZE, SEED_SIZE, ReceivingKey, SigningKey

if TYPE_CHECKING:
    from pathlib import Path

ROOT: Final = "sealwire-root-key"
ESCROW: Final = "sealwire-escrow-key"
_SIZES: Final = {ROOT: PUBLIC_SIZE, ESCROW: RECEIVING_SIZE}
_MOST: Final = 16 * 1024  # bytes of any of these files


def make_signing_key(file: Path) -> SigningKey:
    """Make a signing key in a file, or read the one that is there. Raises `Failure` or `OSError`."""
    if not file.exists():
        write_new(file, base64.b64encode(os.urandom(SEED_SIZE)) + b"\n")
    return read_signing_key(file)


def read_signing_key(file: Path) -> SigningKey:
    """Read a signing key; raises `Failure` where it is missing, too open or damaged."""
    return SigningKey.from_seed(_read_secret(file, "signing key"))


def make_escrow(file: Path) -> Path:
    """Make an escrow key pair: the private half in a new file, the public one beside it; gives the public file.

    Raises `Failure` where there is such a file: an escrow key is never overwritten.
    """
    public = public_file(file)
    refuse_existing(file, public)
    receiving = ReceivingKey.create(os.urandom)
    _write(file, base64.b64encode(receiving.encode()) + b"\n", 0o600)
    write_public(public, ESCROW, receiving.public)
    return public


def public_file(file: Path) -> Path:
    """Name the public file that goes with a secret one."""
    return file.with_name(f"{file.name}.pub")


def write_public(file: Path, kind: str, public: bytes) -> None:
    """Write a public key; raises `Failure` when the disk refuses."""
    _write(file, f"{kind} {base64.b64encode(public).decode()}\n".encode(), 0o644)


def read_public(file: Path, kind: str) -> bytes:
    """Read a public key of this kind; raises `Failure` for another kind, a private file, or a damaged one."""
    try:
        with file.open("rb") as source:
            words = source.read(_MOST).split()
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    found, encoded = words if len(words) == 2 else (b"", b"")  # noqa: PLR2004 - kind and key
    try:
        public = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        public = b""
    if found != kind.encode() or len(public) != _SIZES[kind]:
        raise Failure(
            f"{file} is no public file of this kind: it does not hold '{kind}' and a whole key.",
            "Name the .pub file that was made beside the private one, as it is.",
            code=CONFIGURATION,
        )
    return public


def _read_secret(file: Path, what: str) -> bytes:
    try:
        check_private(file, what, file.stat().st_mode)
        seed = base64.b64decode(file.read_bytes()[:_MOST].strip(), validate=True)
    except OSError as error:
        raise Failure(
            f"The {what} {file} cannot be read: {error.strerror}.",
            "Run as its owner, in the project's directory; or put it back from where it is kept.",
            code=CONFIGURATION,
        ) from None
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_SIZE:
        raise Failure(f"The {what} {file} is damaged.", "Put it back from where it is kept.", code=CONFIGURATION)
    return seed


def _write(file: Path, content: bytes, mode: int) -> None:
    try:
        write_whole(file, content, mode)
    except OSError as error:
        raise unusable(str(file), "written", error) from None
