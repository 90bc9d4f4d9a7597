"""Whether the files of an audit trail are whole: each line true, each after the one before, over all files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - dataclass fields
from typing import TYPE_CHECKING, Any

from sealwire.app import trail_line
from sealwire.app.faults import unusable
from sealwire.app.trail_line import LONGEST, ORIGIN, Line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence


@dataclass
class Part:
    """One file: its lines up to the first that is wrong, and what is wrong, in words; "" where nothing is."""

    file: Path
    first: Line | None = None
    last: Line | None = None
    lines: int = 0
    missing: int = 0  # events that could not be written, as later lines tell
    torn: int = 0  # lines that a crash left unwhole, as later lines tell
    noted: set[str] = field(default_factory=set)  # those of the digests asked for that it has
    wrong: str = ""
    end: Line | None = None  # its last true line, also behind what is wrong

    def as_json(self) -> dict[str, Any]:
        """Give it as `audit verify --json` prints it."""
        first, last = self.first, self.last
        return {
            "file": str(self.file),
            "whole": not self.wrong,
            "wrong": self.wrong,
            "lines": self.lines,
            "first": first and first.n,
            "last": last and last.n,
            "first_at": first and trail_line.moment(first.at),
            "last_at": last and trail_line.moment(last.at),
            "last_digest": last and last.digest,
            "missing": self.missing,
            "torn": self.torn,
        }


@dataclass(frozen=True)
class Checked:
    """All files, in the order of their chains, and the digests asked for that are in none of them."""

    parts: tuple[Part, ...]
    lost: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.lost and not any(part.wrong for part in self.parts)


def check(files: Sequence[Path], noted: Collection[str] = ()) -> Checked:
    """Check files, of one chain or of several; ``noted`` are digests that someone wrote down earlier.

    Each must be found again, else the tail was cut or the chain made anew; each also vouches for a beginning, where
    older files were removed on purpose. Raises `Failure` where a file cannot be read.
    """
    parts = sorted((part_of(file, lines(file), noted) for file in dict.fromkeys(files)), key=_place)
    ends = {part.end.digest: part.end.n for part in parts if part.end is not None}
    used: set[str] = set()
    for part in parts:
        first = part.first
        if first is None or first.follows(0, ORIGIN):
            continue
        at = f"line 1 is number {first.n} of its chain"
        if first.previous in used:
            part.wrong = part.wrong or f"{at}, and another file goes on from there, too"
        elif not (first.follows(ends.get(first.previous, -1), first.previous) or first.previous in noted):
            part.wrong = part.wrong or f"{at}: what was before is cut off, or in a file that is not given"
        used.add(first.previous)
    found = {digest for part in parts for digest in part.noted}
    return Checked(tuple(parts), tuple(digest for digest in noted if digest not in found | used))


def lines(file: Path) -> Iterator[Line | bytes]:
    """Read a file: each line, or the bytes of one that is not a whole and true one. Raises `Failure`."""
    try:
        with file.open("rb") as opened:
            while content := opened.readline(LONGEST):
                yield trail_line.read(content) or content
    except OSError as error:
        raise unusable(str(file), "read", error) from None


def _place(part: Part) -> tuple[int, str]:
    return (part.first.n if part.first else 0, str(part.file))


def part_of(file: Path, found: Iterable[Line | bytes], noted: Collection[str] = ()) -> Part:
    """Judge what `lines` gave of a file, by itself: what was before its first line is not asked."""
    part = Part(file)
    for number, line in enumerate(found, 1):
        part.end = part.end if isinstance(line, bytes) else line
        if part.wrong:
            continue
        if isinstance(line, bytes):
            torn = not line.endswith(b"\n")
            part.wrong = f"line {number} is not whole: {_TORN}" if torn else f"line {number} was altered: {_ALTERED}"
            continue
        last = part.last
        if last is not None and not line.follows(last.n, last.digest):
            part.wrong = _gap(number, last, line)
            continue
        part.first, part.last, part.lines = part.first or line, line, number
        part.missing += _count(line, "missing")
        part.torn += line.event == "torn"
        part.noted |= {line.digest} & set(noted)
    return part


_TORN = "its writer was killed, or is writing now; when it starts again it puts that aside and says so"
_ALTERED = "its digest is not that of its bytes"


def _gap(number: int, last: Line, line: Line) -> str:
    if line.n > last.n + 1:
        return f"cut at line {number}: the lines of number {last.n + 1} to {line.n - 1} are gone"
    if line.n == last.n + 1:
        return f"line {number} does not follow line {number - 1}: one of the two was altered"
    return f"line {number} was moved or added: it is number {line.n}, after number {last.n}"


def _count(line: Line, name: str) -> int:
    value = line.fields.get(name, 0)
    return value if isinstance(value, int) else 0
