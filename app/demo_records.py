"""What the demo sends: lines of text as records, each with a record key, headers and a timestamp of its own."""

from __future__ import annotations

import importlib.resources
import itertools
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealwire.app.faults import CONFIGURATION, Failure, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOPICS: Final = ("poems", "drafts")
PARTITIONS: Final = 3
TEXT: Final = "demo_text.txt"
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Line:
    """One record as an application makes it: everything that has to arrive unchanged."""

    topic: str
    record_key: bytes
    value: bytes
    headers: Headers
    timestamp: int  # ms since 1970


@dataclass(frozen=True)
class Script:
    """The lines to send, in order: those of a file, or of the poems that come with the package, over and over."""

    file: Path | None
    count: int
    began: int  # ms since 1970: the timestamp of the first line

    def lines(self) -> Iterator[Line]:
        """Give the lines anew, the same ones each time; a file is read as it goes."""
        texts = itertools.islice(itertools.cycle(poems()), self.count) if self.file is None else self._of_file()
        for number, (name, value) in enumerate(texts):
            yield self._line(number, name, value)

    def typed(self, number: int, text: str) -> Line:
        """Make a record of a line that was typed just now."""
        now = time.time_ns() // 1_000_000
        return Line(TOPICS[0], b"typed-%d" % number, text.encode("utf-8", "surrogateescape"), (("by", b"you"),), now)

    def _line(self, number: int, name: str, value: bytes) -> Line:
        headers: Headers = (("of", name.encode()), ("line", b"%d" % (number + 1)))
        record_key = b"line-%06d" % (number + 1)  # no two records are equal, so that a lost one hides behind no other
        return Line(
            TOPICS[number % len(TOPICS)],
            record_key,
            value,
            headers,
            self.began + number,
        )

    def _of_file(self) -> Iterator[tuple[str, bytes]]:
        assert self.file is not None  # noqa: S101 - only called with one
        sent = 0
        while sent < self.count:
            with self.file.open("rb") as lines:
                for line in itertools.islice(lines, self.count - sent):
                    sent += 1
                    yield self.file.name, line.rstrip(b"\r\n")


def script(file: Path | None, count: int | None) -> Script:
    """Make the script: of a file all lines, once, unless a count is given. Raises `Failure` for an unusable file."""
    now = time.time_ns() // 1_000_000
    if file is None:
        return Script(None, count or 2_000, now)
    try:
        with file.open("rb") as lines:
            there = sum(1 for _ in lines)
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    if not there:
        raise Failure(f"{file} has no lines, so there is nothing to send.", code=CONFIGURATION)
    return Script(file, count or there, now)


def poems() -> list[tuple[str, bytes]]:
    """Give the lines that come with the package, each with the name of its poem."""
    text = importlib.resources.files("sealwire.app").joinpath(TEXT).read_text("utf-8")
    found, name = [], ""
    for line in text.splitlines():
        if line.startswith("# "):
            name = line[2:]
        elif line and not line.startswith("#"):
            found.append((name, line.encode()))
    return found
