"""A backup of an authority: books, authority keys and roots in one file under a passphrase, taken while it runs.

    file   = header | ciphertext
    header = "sealwire backup" | version u8 | passes u8 | memory u32 (KiB) | salt (16 B) | nonce (24 B)
    ciphertext = XChaCha20-Poly1305(Argon2id(passphrase, salt), nonce, content, ad = header)
    content = msgpack [taken at (ms), {file's name: its bytes}]

Integers are big-endian. Root keys are not in it: they lie elsewhere, each with a copy of its own. Nor is the trail.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from sealwire.app import project as projects
from sealwire.app.books import RESTORED, Books
from sealwire.app.custody import COST, SALT_SIZE, Cost
from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.files import refuse_foreign, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.app.custody import Custody
    from sealwire.app.project import Project

MAGIC: Final = b"sealwire backup"
VERSION: Final = 1
MOST: Final = 1 << 30  # bytes: checked before anything is read
_HEADER: Final = struct.Struct(f">{len(MAGIC)}sBBI{SALT_SIZE}s24s")


class _Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    taken_at: Annotated[int, msgspec.Meta(ge=0)]
    files: dict[str, bytes]


def write(project: Project, file: Path, custody: Custody, now: int) -> None:
    """Write a backup under a passphrase, in place of an older one. Raises `Failure`."""
    try:
        refuse_foreign(file, MAGIC, "no backup")
    except OSError as error:
        raise unusable(f"The backup {file}", "written", error) from None
    books = project.books()
    files = {projects.BOOKS: books.snapshot()}
    books.close()
    names = [projects.root_file(project.directory, version) for version in range(1, project.root.version + 1)]
    for each in (*names, *sorted(project.directory.glob(projects.AUTHORITY_KEYS))):
        files[each.name] = each.read_bytes()
    salt = os.urandom(SALT_SIZE)
    nonce = os.urandom(sodium.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
    secret = custody.sealing_secret(salt, COST, asking_for=f"the backup {file}", new=True)
    header = _HEADER.pack(MAGIC, VERSION, COST.passes, COST.memory >> 10, salt, nonce)
    content = msgspec.msgpack.encode(_Content(now, files))
    try:
        write_whole(file, header + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(content, header, nonce, secret))
    except OSError as error:
        raise unusable(f"The backup {file}", "written", error) from None


def restore(file: Path, directory: Path, custody: Custody) -> tuple[Project, int]:
    """Put a backup into a directory that has no project; gives it, and when the backup was taken (ms).

    The books say that they were restored until they were compared with the cloud. Raises `Failure`.
    """
    if projects.root_file(directory, 1).exists():
        raise Failure(
            f"There is a project in {directory} already.", "Take another --directory: it is never overwritten.", code=2
        )
    content = _open(file, custody)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in (f"{projects.BOOKS}-wal", f"{projects.BOOKS}-shm"):
            # Of other books, or of a restore that was killed: SQLite would write them into those that come now.
            (directory / left).unlink(missing_ok=True)
        first = projects.root_file(directory, 1).name  # last: it is what says that there is a project
        for name in sorted(content.files, key=lambda each: each == first):
            public = name.startswith(projects.ROOT)
            write_whole(directory / name, content.files[name], 0o644 if public else 0o600)
            if name == projects.BOOKS:
                _mark(directory, content.taken_at)
    except OSError as error:
        raise unusable("The project", f"restored into {directory}", error) from None
    return projects.open_project(directory), content.taken_at


def _mark(directory: Path, taken_at: int) -> None:
    books = Books(directory / projects.BOOKS)
    books.note(RESTORED, str(taken_at))
    books.close()


def _open(file: Path, custody: Custody) -> _Content:
    try:
        with file.open("rb") as source:
            content = source.read(MOST + 1)
    except OSError as error:
        raise unusable(f"The backup {file}", "read", error) from None
    if not content.startswith(MAGIC) or not _HEADER.size < len(content) <= MOST:
        raise Failure(f"{file} is no backup of an authority.", "It begins with 'sealwire backup'.", code=CONFIGURATION)
    header = content[: _HEADER.size]
    _, version, passes, memory, salt, nonce = _HEADER.unpack(header)
    cost = Cost(passes, memory << 10)
    if version != VERSION:
        raise Failure(f"The backup {file} has version {version}; this sealwire knows {VERSION}.", code=CONFIGURATION)
    if not cost.possible:
        raise Failure(f"The backup {file} is damaged: its header names a cost that none of ours has.", code=2)
    secret = custody.sealing_secret(salt, cost, asking_for=f"the backup {file}")
    try:
        packed = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(content[_HEADER.size :], header, nonce, secret)
        found = msgspec.msgpack.decode(packed, type=_Content)
    except (CryptoError, msgspec.MsgspecError):
        raise Failure(
            f"The backup {file} does not open: another passphrase, or it was cut or altered.",
            "Try the passphrase that it was made with; else take the backup before it.",
            code=CONFIGURATION,
        ) from None
    if any("/" in name or name.startswith(".") for name in found.files):
        raise Failure(f"The backup {file} names files elsewhere.", "It was not made by sealwire.", code=CONFIGURATION)
    return found
