"""The vault: all secrets of one identity in one sealed file, replaced as a whole or not at all.

`vaultfile.py` has its layout. The file is written aside, synced and renamed.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from sealwire.app import generation, vaultfile
from sealwire.app.custody import COST, SALT_SIZE, Cost, Custody, Kind
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import check_private, write_whole
from sealwire.app.lockdir import DirectoryLock
from sealwire.app.vaultfile import Header
from sealwire.keys import primitives
from sealwire.keys.reason import Rejected
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


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
    cost, salt, secret = _begin(custody, f"identity '{name}'")
    header = Header(custody.kind, cost, salt, 0, secrets.identity.member_id, name)
    vault = Vault(file, header, secret, secrets, lock)
    vault.save(secrets)
    return vault


def _begin(custody: Custody, asking_for: str) -> tuple[Cost, bytes, bytes]:
    """Begin under a custody: what a guess costs, a new salt, and the sealing secret that comes of both."""
    cost = COST if custody.kind is Kind.PASSPHRASE else Cost(0, 0)
    salt = os.urandom(SALT_SIZE)
    return cost, salt, custody.sealing_secret(salt, cost, asking_for=asking_for, new=True)


def open_vault(file: Path, custody: Custody, *, lock: bool = True) -> Vault:
    """Open the vault of an identity, named as its directory is; holds the directory's lock unless told otherwise.

    Raises `Failure` in words of its own for each: missing, too open, damaged, of another identity, in use by another
    process, under another custody, wrong passphrase, key file, credential or command. The file is not touched.
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
    header, proof, nonce, ciphertext = vaultfile.read(file)
    if header.name != name:
        raise Failure(
            f"The vault {file} is of another identity: '{header.name}'.",
            f"A copied or renamed directory? Two workers must not share an identity: put it back under the name "
            f"{header.name}, or make a new one and enrol it.",
            code=CONFIGURATION,
        )
    if not custody.kind.opens(header.kind):
        options = (
            "passphrase_file (--passphrase-file), or --passphrase to be asked"
            if header.kind is Kind.PASSPHRASE
            else "key_file (--key-file), credential (--credential) or command (--key-command)"
        )
        raise Failure(
            f"The vault {file} is under {header.kind}, and not under a {custody}.",
            f"Name its {options}.",
            code=CONFIGURATION,
        )
    secret = custody.sealing_secret(header.salt, header.cost, asking_for=f"identity '{name}'")
    if not sodium.sodium_memcmp(proof, vaultfile.proof_of(secret)):
        what = "passphrase" if header.kind is Kind.PASSPHRASE else f"{custody}"
        raise Failure(
            f"Wrong {what} for the vault {file}.",
            f"The file is whole, and was not touched. Try again with the one that it was made under: {header.kind}.",
            code=CONFIGURATION,
        )
    ad = header.encode() + proof + nonce
    try:
        packed = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, ad, nonce, secret)
        secrets = Secrets.decode(packed)
    except (CryptoError, Rejected):
        vaultfile.damaged(file, "it was altered, or written by another version")
    if secrets.identity.member_id != header.member_id:
        vaultfile.damaged(file, "what it says outside is not what it holds")
    return Vault(file, header, secret, secrets, lock)


class Vault:
    """An open vault: the secret store of one worker. Only one process holds it; nothing of it is ever shown.

    ``behind`` is how many later saves this file does not have, as far as is known here: above 0 it is an old backup
    that was restored (`keys.restored` says what that means for a worker).
    """

    def __init__(
        self, file: Path, header: Header, sealing_secret: bytes, secrets: Secrets, lock: DirectoryLock | None
    ) -> None:
        """Take what `open_vault` or `create_vault` found; not for others."""
        self.file = file
        self._header = header
        self._sealing_secret = sealing_secret
        self._secrets = secrets
        self._lock = lock
        # Written by whoever held it before us, so at most ours: what is higher was in a file that is not here any more.
        self._noted = generation.noted(file, header.member_id)
        self.behind = max(0, self._noted - header.generation)

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
        self._write(self._header, self._sealing_secret, secrets)

    def put_under(self, custody: Custody) -> None:
        """Seal it under another custody, with a new salt: when this returns the former secret opens it no more.

        Raises `Failure` where the new secret is not to be had, and as `save` does; the file is then as it was, under
        the former custody.
        """
        cost, salt, secret = _begin(custody, f"identity '{self._header.name}', the new one")
        self._write(replace(self._header, kind=custody.kind, cost=cost, salt=salt), secret, self._secrets)

    def opens_with(self, custody: Custody) -> bool:
        """Tell whether this custody gives the secret that opens the file now; False where it cannot be told."""
        if custody.asks:  # nobody is asked once more
            return False
        try:
            secret = custody.sealing_secret(self._header.salt, self._header.cost, asking_for=str(self.file))
        except Failure:
            return False
        return secret == self._sealing_secret

    def _write(self, header: Header, sealing_secret: bytes, secrets: Secrets) -> None:
        self._refuse_older()
        # Above all that was noted: a restored vault takes no number again, and is told of once.
        header = replace(header, generation=max(header.generation, self._noted) + 1)
        nonce = os.urandom(vaultfile.NONCE)
        before = header.encode() + vaultfile.proof_of(sealing_secret) + nonce
        content = before + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            secrets.encode(), before, nonce, sealing_secret
        )
        content += primitives.digest(content)
        try:
            write_whole(self.file, content)
        except OSError as error:
            raise Failure(
                f"The vault {self.file} could not be written: {error.strerror}. The old one stands.",
                "Make room on its disk, or make its directory writable for the user of this process.",
            ) from error
        self._header, self._sealing_secret, self._secrets = header, sealing_secret, secrets
        generation.note(self.file, header.member_id, header.generation)

    def close(self) -> None:
        """Free the directory for another process. The vault cannot be used afterwards."""
        if self._lock:
            self._lock.close()
            self._lock = None
        self._sealing_secret = b""

    def _refuse_older(self) -> None:
        if not self.file.exists():
            return
        header, *_ = vaultfile.read(self.file)
        if header.member_id != self._header.member_id or header.generation > self._header.generation:
            raise Failure(
                f"The vault {self.file} was changed by another process while this one held it. The newer one stands.",
                "Does another machine share this directory, or was a file copied over it? One process an identity.",
            )
