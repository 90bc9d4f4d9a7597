"""Under what a vault is sealed: 32 bytes or a passphrase; where they come from, and what a bad one is told.

Neither ever comes from the command line or the environment: both can be read by others of the same machine. The 32
bytes are in a key file, in a credential that systemd hands to a unit, or on the standard output of a command. They open
the vault wherever they come from: a copy that is kept offline opens it when a TPM is broken.
"""

from __future__ import annotations

import base64
import getpass
import os
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final

from nacl import pwhash

from sealwire.app import keycommand
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import check_private, write_new
from sealwire.keys import primitives

KEY_SIZE: Final = 32
SALT_SIZE: Final = pwhash.argon2id.SALTBYTES  # 16
MOST_PASSPHRASE: Final = 1024  # bytes


class Kind(IntEnum):
    """What a vault is under, as its byte in the vault's header."""

    KEY_FILE = 1
    PASSPHRASE = 2
    CREDENTIAL = 3
    COMMAND = 4

    def opens(self, other: Kind) -> bool:
        """Tell whether a custody of this kind can open a vault made under another: a passphrase, or 32 bytes."""
        return (self is Kind.PASSPHRASE) == (other is Kind.PASSPHRASE)

    def __str__(self) -> str:
        """Name it for a person."""
        return _NAMES[self]


_NAMES: Final = {
    Kind.KEY_FILE: "a key file",
    Kind.PASSPHRASE: "a passphrase",
    Kind.CREDENTIAL: "a credential of systemd's",
    Kind.COMMAND: "a command",
}


@dataclass(frozen=True)
class Cost:
    """What one guess of a passphrase costs: Argon2id (RFC 9106) passes and memory in bytes."""

    passes: int
    memory: int

    @property
    def possible(self) -> bool:
        """Whether Argon2id takes it, and it is no more than we would ever spend."""
        most = MOST_COST
        return 1 <= self.passes <= most.passes and LEAST_MEMORY <= self.memory <= most.memory


# RFC 9106's second choice, 64 MiB and 3 passes: it is spent at each start of a worker, inside the worker's memory.
COST: Final = Cost(passes=3, memory=64 << 20)
# A header is read before it is believed: it cannot make us spend more than this.
MOST_COST: Final = Cost(16, 1 << 30)
LEAST_MEMORY: Final = pwhash.argon2id.MEMLIMIT_MIN  # 8 KiB


@dataclass(frozen=True)
class Custody:
    """Where the outermost secret of a vault comes from. At most one field is set; none: ask on the terminal.

    ``passphrase_fd`` is an inherited pipe that is read to its end, once. ``credential`` names a file of the unit's
    credentials. ``command`` is a program with its arguments, none of them secret.
    """

    key_file: Path | None = None
    passphrase_file: Path | None = None
    passphrase_fd: int | None = None
    credential: str | None = None
    command: tuple[str, ...] = field(default=(), repr=False)  # an argument that should not be there is not shown

    @property
    def kind(self) -> Kind:
        """What a vault made under this custody says of itself."""
        if self.key_file:
            return Kind.KEY_FILE
        if self.credential:
            return Kind.CREDENTIAL
        return Kind.COMMAND if self.command else Kind.PASSPHRASE

    @property
    def asks(self) -> bool:
        """Whether somebody has to be asked for a passphrase."""
        return self == Custody()

    def __str__(self) -> str:
        """Name the custody, never its secret."""
        if self.key_file:
            return f"key file {self.key_file}"
        if self.credential:
            return f"credential {self.credential}"
        if self.command:
            return f"command {self.command[0]}"
        return f"passphrase in {self.passphrase_file}" if self.passphrase_file else "passphrase"

    def sealing_secret(self, salt: bytes, cost: Cost, *, asking_for: str, new: bool = False) -> bytes:
        """Give the 32 bytes that open a vault with this salt; raises `Failure` where there is no secret to be had.

        ``asking_for`` is what a prompt names. A ``new`` secret is got twice: a passphrase that was mistyped, or a
        command that prints something else each time, would open nothing afterwards.
        """
        if self.kind is Kind.PASSPHRASE:
            passphrase = self._passphrase(asking_for, twice=new)
            return pwhash.argon2id.kdf(KEY_SIZE, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory)
        outermost = self._outermost()
        if new and self.command and self._outermost() != outermost:
            raise Failure(
                f"The {self} prints something else each time: a vault under it could not be opened again.",
                "Nothing was written. Name one that prints the same 32 bytes for ever.",
                code=CONFIGURATION,
            )
        return primitives.hkdf(outermost, salt, "sealwire vault v1 key file")

    def _outermost(self) -> bytes:
        if self.command:
            return _read_command(self.command)
        return read_key_file(self.key_file) if self.key_file else _read_credential(self.credential or "")

    def _passphrase(self, asking_for: str, *, twice: bool) -> bytes:
        if self.passphrase_file:
            text = _read_private(self.passphrase_file, "passphrase file", MOST_PASSPHRASE + 2)
        elif self.passphrase_fd is not None:
            text = _read_pipe(self.passphrase_fd)
        else:
            text = _ask(asking_for, twice=twice)
        text = text.removesuffix(b"\n").removesuffix(b"\r")
        if not text:
            raise Failure("The passphrase is empty.", "Give one of several words.", code=CONFIGURATION)
        if len(text) > MOST_PASSPHRASE:
            raise Failure(f"The passphrase is longer than {MOST_PASSPHRASE} bytes.", code=CONFIGURATION)
        return text


def default_state() -> Path:
    """Where identities live when nothing else is said: `$SEALWIRE_STATE`, else `~/.sealwire`."""
    return Path(os.environ.get("SEALWIRE_STATE") or "~/.sealwire").expanduser()


def default_key_file(state: Path) -> Path:
    """Where the key file of a state directory is made when nothing else is said. Better moved off that disk."""
    return state / "vault.key"


def credentials_directory() -> Path:
    """Where systemd puts the credentials of a unit (systemd.exec(5)); outside of one, a path where nothing is."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY") or "/run/credentials")


def make_key_file(path: Path) -> bool:
    """Make a key file of 32 random bytes in base64, mode 0600; False where there is one already, which is kept."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = not path.exists() and write_new(path, base64.b64encode(os.urandom(KEY_SIZE)) + b"\n")
    except FileExistsError:  # its directory is a file: reading says so
        made = False
    except OSError as error:
        raise _unreadable(path, "key file", error) from None
    read_key_file(path)
    return made


def read_key_file(path: Path, what: str = "key file") -> bytes:
    """Read a key file: 32 bytes, raw, in base64 or in hex, that only its owner can read. Raises `Failure`."""
    found = _decoded(_read_private(path, what, 4096))
    if found is None:
        raise Failure(
            f"The {what} {path} does not hold 32 bytes, raw, in base64 or in hex.",
            "It is damaged, or another file: restore it from where it is kept. Without it the vault cannot be opened.",
            code=CONFIGURATION,
        )
    return found


def _read_credential(name: str) -> bytes:
    path = credentials_directory() / name
    if not path.exists():
        raise Failure(
            f"There is no credential {name}: {path} is missing.",
            f"systemd puts it there for a unit with LoadCredential={name}:FILE or LoadCredentialEncrypted={name}:FILE. "
            "By hand: systemd-run, as docs/OPERATIONS.md shows.",
            code=CONFIGURATION,
        )
    return read_key_file(path, "credential")


def _read_command(words: tuple[str, ...]) -> bytes:
    printed = keycommand.secret(words)
    found = _decoded(printed)
    if found is None:
        raise Failure(
            f"The command {words[0]}, which prints what opens the vault, printed {len(printed)} bytes: not 32 bytes, "
            "raw, in base64 or in hex.",
            "Nothing else may be on its standard output. Run it by hand, and count: COMMAND | wc -c",
            code=CONFIGURATION,
        )
    return found


def _decoded(content: bytes) -> bytes | None:
    """Give 32 bytes that stand there raw, or as a line of base64 or hex: no two of these have one length."""
    if len(content) == KEY_SIZE:
        return content
    line = content.strip()
    try:
        decoded = bytes.fromhex(line.decode()) if len(line) == 2 * KEY_SIZE else base64.b64decode(line, validate=True)
    except ValueError:  # binascii.Error and UnicodeDecodeError are ones
        return None
    return decoded if len(decoded) == KEY_SIZE else None


def _read_private(path: Path, what: str, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            # A credential of systemd's is its user's by an ACL, which shows as the group's; its directory is private.
            check_private(path, what, mode & ~0o040 if path.parent == credentials_directory() else mode)
            content = file.read(most + 1)
    except FileNotFoundError:
        raise Failure(
            f"There is no {what} {path}.",
            "Name the right one, or restore it from where it is kept: without it the vault cannot be opened.",
            code=CONFIGURATION,
        ) from None
    except OSError as error:
        raise _unreadable(path, what, error) from None
    if len(content) > most:
        raise Failure(f"The {what} {path} is larger than {most} bytes.", "Is it another file?", code=CONFIGURATION)
    return content


def _unreadable(path: Path, what: str, error: OSError) -> Failure:
    return Failure(
        f"The {what} {path} cannot be used: {error.strerror}.",
        "Run as the user that owns it, or name another.",
        code=CONFIGURATION,
    )


def _read_pipe(descriptor: int) -> bytes:
    try:
        with os.fdopen(descriptor, "rb") as pipe:
            return pipe.read(MOST_PASSPHRASE + 3)
    except OSError as error:
        raise Failure(
            f"No passphrase could be read from file descriptor {descriptor}: {error.strerror}.",
            "Start the worker through `sealwire up`, or set vault: {passphrase_file: ...} in the YAML.",
            code=CONFIGURATION,
        ) from None


def _has_terminal() -> bool:
    """Tell whether there is somebody to ask; standard input may be a ticket's pipe all the same."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _ask(asking_for: str, *, twice: bool) -> bytes:
    if not _has_terminal():
        raise Failure(
            f"The vault of {asking_for} is under a passphrase, and there is no terminal to ask for it.",
            "Give --passphrase-file FILE (mode 0600).",
            code=CONFIGURATION,
        )
    try:
        first = getpass.getpass(f"Passphrase of {asking_for}: ")
        if twice and getpass.getpass("The same again: ") != first:
            raise Failure("The two passphrases differ.", "Nothing was written. Try again.", code=CONFIGURATION)
    except EOFError:
        raise Failure("No passphrase was given.", code=CONFIGURATION) from None
    return first.encode()
