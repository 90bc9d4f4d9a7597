"""Files that must be private, whole, and still there after a loss of power."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from sealwire.app.faults import CONFIGURATION, Failure

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in place of the old one: written aside, synced, renamed, the directory synced. Raises `OSError`."""
    aside = file.with_name(f"{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()  # of a process that was killed in between; its mode may be anything
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        aside.rename(file)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
    sync_directory(file.parent)


def write_new(file: Path, content: bytes) -> bool:
    """Put a private file (mode 0600) where there is none, whole or not at all; False where there is one, which is kept.

    Of several processes that do so at once one wins, and the others see its file whole. Raises `OSError`.
    """
    aside = file.with_name(f"{file.name}.{os.getpid()}.new")  # nobody else's: several may be at it
    with contextlib.suppress(FileNotFoundError):
        aside.unlink()
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        _link(aside, file)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
    sync_directory(file.parent)
    return True


def _link(aside: Path, file: Path) -> None:
    """Give a file its name, where nobody has it: a link, unlike a rename, never takes the place of another."""
    try:
        os.link(aside, file)
    except OSError as error:
        if error.errno not in (
            errno.EPERM,
            errno.EOPNOTSUPP,
            errno.ENOSYS,
        ):  # a disk without links, as of a memory stick
            raise
        if file.exists():
            raise FileExistsError from None
        aside.rename(file)


def refuse_existing(*files: Path) -> None:
    """Raise `Failure` where there is one of these files already: a key, or what holders have signed, may be in it."""
    for each in files:
        if each.exists():
            raise Failure(
                f"There is a file {each} already.", "Name another: it is never overwritten.", code=CONFIGURATION
            )


def refuse_foreign(file: Path, beginning: bytes, what: str) -> None:
    """Raise `Failure` where there is a file that does not begin so: a key, a vault or a ticket, as like as not.

    ``what`` says what it is not, like "no backup". Raises `OSError` where it cannot be read.
    """
    try:
        with file.open("rb") as there:
            ours = there.read(len(beginning)) == beginning
    except FileNotFoundError:
        return
    if not ours:
        raise Failure(
            f"There is a file {file}, and it is {what}.", "Name another: it is not overwritten.", code=CONFIGURATION
        )


def sync_directory(directory: Path) -> None:
    """Make a new or renamed name in a directory last through a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_private(path: Path, what: str, mode: int, cure_mode: str = "600") -> None:
    """Refuse a secret file that others than its owner may touch; ``mode`` is its `st_mode`."""
    open_to = stat.S_IMODE(mode) & 0o077
    if open_to:
        raise Failure(
            f"The {what} {path} is too open: its mode is {stat.S_IMODE(mode):04o}, so others can reach it.",
            f"chmod {cure_mode} {path} - and if others use this machine, take what it protects as known to them.",
            code=CONFIGURATION,
        )
