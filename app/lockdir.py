"""One process a directory: an advisory lock that names its holder, and that the system frees when the holder dies."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from sealwire.app.faults import CONFIGURATION, Failure


class DirectoryLock:
    """The held lock of a directory, until `close` or the end of the process. Never inherited by children."""

    def __init__(self, directory: Path, name: str = "lock", what: str = "identity") -> None:
        """Take the lock at once, or raise `Failure` that names the process which has it."""
        self.path = directory / name
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Failure(
                f"The {what} in {directory} cannot be locked: {error.strerror}.",
                "Run as the user that owns the directory, on a disk that can be written.",
                code=CONFIGURATION,
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._descriptor, 4096).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise Failure(
                f"The {what} in {directory} is in use by another process: {holder}.",
                "Stop that process, or give this one a directory and an identity of its own.",
                code=CONFIGURATION,
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"pid {os.getpid()}, {command()}\n".encode(), 0)

    def close(self) -> None:
        """Free the lock. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1


def command() -> str:
    """Name what this process runs, by its program and first words: no options, whose values may be private."""
    program = Path(sys.argv[0] or "python")
    words = [program.parent.name if program.name == "__main__.py" else program.name]  # python -m faust
    for word in sys.argv[1:4]:
        if word.startswith("-"):
            break
        words.append(word)
    return " ".join(words)
