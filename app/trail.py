"""The audit trail of an identity or an authority: each event of trust as one line of a chain, appended and synced.

`trail_line` has the rule. Written by a thread of its own: whoever notes never waits for a disk, and never fails.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.agents import clock
from sealwire.app import trail_line
from sealwire.app.files import sync_directory
from sealwire.app.trail_line import LONGEST, ORIGIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger(__name__)
FILE: Final = "trail.jsonl"  # in the directory of an identity, or of a project
MOST_WAITING: Final = 10_000  # events that wait for a slow disk; more are counted as missing
MOST_BYTES: Final = 64 << 20  # of one file; then it is put aside under the number of its last line
TORN: Final = "torn"  # the event after a line that was not written whole


class Tail(NamedTuple):
    """The end of a chain: the last line's number and digest, and where in its file that line ends (bytes)."""

    n: int
    digest: str
    end: int


class _Noted(NamedTuple):
    at: int
    event: str
    fields: dict[str, str | int]


class Trail:
    """One audit trail. Several processes may write it: each takes the file's lock, and goes on where it ends.

    What the disk does not take is told in the log and by `trouble`, counted, and said as `missing` in the next line
    that is written. A line that a crash left unwhole is put aside, in `torn-trail.jsonl`, and the next event says so.
    """

    def __init__(self, file: Path, now: Callable[[], int] = clock.now, most_bytes: int = MOST_BYTES) -> None:
        """Take its file; nothing is opened before the first event."""
        self.file, self._now, self._most_bytes = file, now, most_bytes
        self.trouble = ""
        self._guard = threading.Lock()
        self._waiting: deque[_Noted] = deque()
        self._missing = 0
        self._tail = Tail(0, ORIGIN, 0)
        self._known: tuple[int, int, int] | None = None  # device, inode and size of the file that has that tail
        self._thread = ThreadPoolExecutor(1, "trail")  # joined at the interpreter's end, when all is written

    def note(self, event: str, **fields: str | int) -> None:
        """Note an event: names, ids, versions, times and Reasons; texts and numbers alone get in. Never raises."""
        noted = _Noted(self._now(), trail_line.plain(event), trail_line.fit(fields))
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                self._missing += 1
                return
            self._waiting.append(noted)
        self._begin()

    def settle(self, within: float = 10.0) -> None:
        """Wait, for some seconds at most, until what was noted is on the disk, or counted as missing."""
        with suppress(TimeoutError):
            self._begin().result(within)

    def _begin(self) -> Future[None]:
        try:
            return self._thread.submit(self._write_waiting)
        except RuntimeError:  # the interpreter ends, and lets no thread begin any more
            self._write_waiting()
            done: Future[None] = Future()
            done.set_result(None)
            return done

    def _write_waiting(self) -> None:
        with self._guard:
            batch, missing = list(self._waiting), self._missing
            self._waiting.clear()
        if not batch:
            return
        try:
            self._append(batch, missing)
        except Exception as error:  # noqa: BLE001 - whatever it is, it stops nothing
            with self._guard:
                self._missing += len(batch)
            why = getattr(error, "strerror", None) or repr(error)
            words = f"the audit trail {self.file} cannot be written: {why}"
            if words != self.trouble:
                _log.warning("%s; events are counted until it can", words)
            self.trouble = words
            self._known = None
            return
        with self._guard:
            self._missing -= missing
        if self.trouble:
            _log.warning("the audit trail %s is written again; %d events are missing", self.file, missing)
        self.trouble = ""

    # The file. Raises OSError; the thread's own.

    def _append(self, batch: list[_Noted], missing: int) -> None:
        descriptor = self._open()
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino, found.st_size) != self._known:
                batch = [*self._take_up(descriptor, found.st_size, batch[0].at), *batch]
            n, digest, end = self._tail
            lines = []
            for at, event, fields in batch:
                told = {**fields, "missing": missing} if missing else fields
                n, missing = n + 1, 0
                line, digest = trail_line.make(n, at, event, told, digest)
                lines.append(line)
            content = b"".join(lines)
            _write(descriptor, content, end)
            self._tail = Tail(n, digest, end + len(content))
            self._known = (found.st_dev, found.st_ino, self._tail.end)
        finally:
            os.close(descriptor)  # frees the lock

    def _open(self) -> int:
        """Open and lock the file that has the trail's name now; a full one is put aside first."""
        while True:
            new = not self.file.exists()
            descriptor = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                found = os.fstat(descriptor)
                there = self.file.stat()
                if (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino):
                    full = found.st_size >= self._most_bytes
                    aside = self.file.with_name(f"{self.file.stem}-{_tail(descriptor).n if full else 0:012}.jsonl")
                    if not full or aside.exists():  # never over another chain's
                        if new:
                            sync_directory(self.file.parent)
                        return descriptor
                    self.file.rename(aside)
                    sync_directory(self.file.parent)
            except FileNotFoundError:  # put aside by somebody else between our two looks
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _take_up(self, descriptor: int, size: int, at: int) -> list[_Noted]:
        """Find where the chain ends, after a start or another's line; give the event that says what was put aside."""
        self._tail = _tail(descriptor)
        torn = os.pread(descriptor, size - self._tail.end, self._tail.end)
        if torn:
            aside = self.file.with_name(f"torn-{self.file.name}")
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as out:
                out.write(torn + b"\n")
                out.flush()
                os.fsync(out.fileno())
            os.ftruncate(descriptor, self._tail.end)
            _log.warning(
                "%s did not end with a whole line: its last %d bytes are in %s now", self.file, len(torn), aside
            )
        if not self._tail.end:  # put aside, or moved away by somebody: the chain goes on from there
            older = [_tail_of(each) for each in self.file.parent.glob(f"{self.file.stem}*") if each != self.file]
            newest = max(older, default=self._tail)
            self._tail = Tail(newest.n, newest.digest, 0)
        return [_Noted(at, TORN, {"bytes": len(torn), "kept": f"torn-{self.file.name}"})] if torn else []


def _write(descriptor: int, content: bytes, end: int) -> None:
    """Append whole lines and sync them, or leave the file as it ended; raises OSError."""
    try:
        left = len(content) - os.write(descriptor, content)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise
    if left:
        os.ftruncate(descriptor, end)  # half a line would be in the way of the next
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _tail_of(file: Path) -> Tail:
    """Find the same by a name; number 0 also where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return _tail(opened.fileno())
    except OSError:
        return Tail(0, ORIGIN, 0)


def _tail(descriptor: int) -> Tail:
    """Find the last whole and true line of a file; number 0 where there is none."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        begin = max(end - LONGEST, 0)
        lines = os.pread(descriptor, end - begin, begin).split(b"\n")
        unended = lines.pop()
        end -= len(unended)
        # The first may have begun before this block: then it is looked at with the next.
        for line in reversed(lines[1:] if begin else lines):
            found = trail_line.read(line + b"\n")
            if found is not None:
                return Tail(found.n, found.digest, end)
            end -= len(line) + 1
        if begin and len(lines) == 1 and not unended:
            end = begin  # longer than any line of ours
    return Tail(0, ORIGIN, 0)
