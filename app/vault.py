"""The vault: all secrets of one identity in one sealed file, replaced as a whole or not at all.

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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NoReturn, Self

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from sealwire.app.custody import COST, MOST_COST, SALT_SIZE, Cost, Custody, Kind
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import check_private, write_whole
from sealwire.app.lockdir import DirectoryLock
from sealwire.keys import primitives
from sealwire.keys.reason import Rejected
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

MAGIC: Final = b"sealwire vault"
VERSION: Final = 1
MOST: Final = 256 << 20  # bytes: more than a year of sessions; checked before anything is read
_FIXED: Final = struct.Struct(">14sBBBI16sQ32sB")
_PROOF: Final = 16
_NONCE: Final = sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
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


def vault_file(state: Path, identity: str) -> Path:
    """Name the vault of an identity in a state directory."""
    return state / identity / "vault"


def create_vault(file: Path, custody: Custody, secrets: Secrets) -> Vault:
    """Make the vault of a new identity, and hold it. Raises `Failure` where there is one already, or it is in use."""
    directory = file.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(directory, "directory", directory.stat().st_mode, "700")
    lock = DirectoryLock(directory)
    try:
        return _create(file, custody, secrets, lock)
    except BaseException:
        lock.close()
        raise


def _create(file: Path, custody: Custody, secrets: Secrets, lock: DirectoryLock) -> Vault:
    name = file.parent.name
    if file.exists():
        raise Failure(
            f"There is an identity '{name}' already, in {file.parent}.",
            "Use it, or take another name: its vault is never overwritten.",
            code=CONFIGURATION,
        )
    cost = COST if custody.kind is Kind.PASSPHRASE else Cost(0, 0)
    salt = os.urandom(SALT_SIZE)
    secret = custody.sealing_secret(salt, cost, asking_for=f"identity '{name}'", twice=True)
    header = Header(custody.kind, cost, salt, 0, secrets.identity.member_id, name)
    vault = Vault(file, header, secret, secrets, lock)
    vault.save(secrets)
    return vault


def open_vault(file: Path, custody: Custody, *, lock: bool = True) -> Vault:
    """Open the vault of an identity, named as its directory is; holds the directory's lock unless told otherwise.

    Raises `Failure` in words of its own for each: missing, too open, damaged, of another identity, in use by another
    process, under another custody, wrong passphrase or key file. The file is not touched.
    """
    directory = file.parent
    if not file.exists():
        others = sorted(found.parent.name for found in directory.parent.glob("*/vault"))
        raise Failure(
            f"There is no identity '{directory.name}' in {directory.parent}: {file} is missing.",
            f"Its identities are: {', '.join(others)}."
            if others
            else f"sealwire identity create {directory.name} --state {directory.parent}",
            code=CONFIGURATION,
        )
    held = DirectoryLock(directory) if lock else None
    try:
        return _open(file, custody, held)
    except BaseException:
        if held:
            held.close()
        raise


def _open(file: Path, custody: Custody, lock: DirectoryLock | None) -> Vault:
    name = file.parent.name
    header, proof, nonce, ciphertext = _read(file)
    if header.name != name:
        raise Failure(
            f"The vault {file} is of another identity: '{header.name}'.",
            f"A copied or renamed directory? Two workers must not share an identity: put it back under the name "
            f"{header.name}, or make a new one and enrol it.",
            code=CONFIGURATION,
        )
    if header.kind is not custody.kind:
        under, option = (
            ("a key file", "key_file (--key-file)")
            if header.kind is Kind.KEY_FILE
            else ("a passphrase", "passphrase_file (--passphrase-file), or --passphrase to be asked")
        )
        raise Failure(
            f"The vault {file} is under {under}, and not under a {custody}.", f"Name its {option}.", code=CONFIGURATION
        )
    secret = custody.sealing_secret(header.salt, header.cost, asking_for=f"identity '{name}'")
    if not sodium.sodium_memcmp(proof, _proof(secret)):
        what = "passphrase" if header.kind is Kind.PASSPHRASE else f"key file ({custody.key_file})"
        raise Failure(
            f"Wrong {what} for the vault {file}.",
            "The file is whole, and was not touched. Try again with the one it was made with.",
            code=CONFIGURATION,
        )
    ad = header.encode() + proof + nonce
    try:
        packed = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, ad, nonce, secret)
        secrets = Secrets.decode(packed)
    except (CryptoError, Rejected):
        _damaged(file, "it was altered, or written by another version")
    if secrets.identity.member_id != header.member_id:
        _damaged(file, "what it says outside is not what it holds")
    return Vault(file, header, secret, secrets, lock)


class Vault:
    """An open vault: the secret store of one worker. Only one process holds it; nothing of it is ever shown."""

    def __init__(
        self, file: Path, header: Header, sealing_secret: bytes, secrets: Secrets, lock: DirectoryLock | None
    ) -> None:
        """Take what `open_vault` or `create_vault` found; not for others."""
        self.file = file
        self._header = header
        self._sealing_secret = sealing_secret
        self._secrets = secrets
        self._lock = lock

    def __repr__(self) -> str:
        """Name the file and nothing in it."""
        return f"Vault({str(self.file)!r}, generation {self._header.generation})"

    def __enter__(self) -> Self:
        """Hold the vault for a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it."""
        self.close()

    @property
    def generation(self) -> int:
        """How often this vault was written; grows by one with each save."""
        return self._header.generation

    def load(self) -> Secrets:
        """Give the secrets as they were last saved."""
        return self._secrets

    def save(self, secrets: Secrets) -> None:
        """Replace the file by one with these secrets: when this returns they outlast a loss of power.

        Raises `Failure` for secrets of another identity, for a file that a newer save stands in (a vault that two
        processes write, past the lock), and when the disk refuses; the old file is then as it was.
        """
        if secrets.identity.member_id != self._header.member_id:
            raise Failure(f"Refused to write the secrets of another identity into the vault {self.file}.")
        self._refuse_older()
        header = replace(self._header, generation=self._header.generation + 1)
        nonce = os.urandom(_NONCE)
        before = header.encode() + _proof(self._sealing_secret) + nonce
        content = before + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            secrets.encode(), before, nonce, self._sealing_secret
        )
        content += primitives.digest(content)
        try:
            write_whole(self.file, content)
        except OSError as error:
            raise Failure(
                f"The vault {self.file} could not be written: {error.strerror}. The old one stands.",
                "Make room on its disk, or make its directory writable for the user of this process.",
            ) from error
        self._header = header
        self._secrets = secrets

    def close(self) -> None:
        """Free the directory for another process. The vault cannot be used afterwards."""
        if self._lock:
            self._lock.close()
            self._lock = None
        self._sealing_secret = b""

    def _refuse_older(self) -> None:
        if not self.file.exists():
            return
        header, *_ = _read(self.file)
        if header.member_id != self._header.member_id or header.generation > self._header.generation:
            raise Failure(
                f"The vault {self.file} was changed by another process while this one held it. The newer one stands.",
                "Does another machine share this directory, or was a file copied over it? One process an identity.",
            )


def _read(file: Path) -> tuple[Header, bytes, bytes, bytes]:
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
        _damaged(file, "it does not begin as a vault")
    if len(content) > MOST or len(content) < _FIXED.size + _END:
        _damaged(file, f"it has {len(content)} bytes")
    if primitives.digest(memoryview(content)[:-_END]) != content[-_END:]:
        _damaged(file, "it was cut or changed")
    _, version, kind, passes, memory, salt, generation, member_id, name_size = _FIXED.unpack_from(content)
    if version != VERSION:
        raise Failure(
            f"The vault {file} has version {version}, and this sealwire knows {VERSION}.",
            "Use the version that wrote it, or a newer one.",
            code=CONFIGURATION,
        )
    at = _FIXED.size + name_size
    name, proof = content[_FIXED.size : at], content[at : at + _PROOF]
    nonce, ciphertext = content[at + _PROOF : at + _PROOF + _NONCE], content[at + _PROOF + _NONCE : -_END]
    cost = Cost(passes, memory << 10)
    try:
        header = Header(Kind(kind), cost, salt, generation, member_id, name.decode())
    except ValueError:
        _damaged(file, "its header says what cannot be")
    if cost.passes > MOST_COST.passes or cost.memory > MOST_COST.memory:
        _damaged(file, "its header asks for more than any vault of ours costs")
    return header, proof, nonce, ciphertext


def _proof(sealing_secret: bytes) -> bytes:
    return primitives.hkdf(sealing_secret, b"", "sealwire vault v1 proof", length=_PROOF)


def _damaged(file: Path, how: str) -> NoReturn:
    raise Failure(
        f"The vault {file} is damaged: {how}.",
        "It was not touched. Restore it from a copy only if the worker has not run since; otherwise move it away, make "
        "the identity anew and enrol it with a new ticket: what was sealed for it comes again by reseal.",
        code=CONFIGURATION,
    )
