"""What can be wrong before anything runs, in words for the person who must mend it."""

from __future__ import annotations

import difflib
import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIGURATION = 2  # exit code: what was asked for cannot be: mend the file or the command line
RUNTIME = 1  # exit code: what was asked for failed: try again when the cause is gone


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong in a file: where it stands, which setting, why it cannot be, and the likely cure.

    ``line`` and ``column`` count from 1; 0 means the file as a whole.
    """

    file: str
    line: int
    column: int
    setting: str
    problem: str
    cure: str = ""

    def __str__(self) -> str:
        """``file:line:column: setting: problem (cure)``, the form that editors jump to."""
        place = self.file
        if self.line:
            place += f":{self.line}:{self.column}" if self.column else f":{self.line}"
        about = f"{self.setting}: " if self.setting else ""
        return f"{place}: {about}{self.problem}" + (f" ({self.cure})" if self.cure else "")


class Faults(Exception):
    """Everything that is wrong in the files read, at once; never empty."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        """Keep the faults in the order of their places."""
        self.faults = tuple(sorted(faults))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Failure(Exception):
    """An expected failure of a command: its cause, its cure, and the exit code that says whose move it is.

    Raised anywhere under the command line; the guard there prints cause and cure and nothing else.
    """

    def __init__(self, cause: str, cure: str = "", *, code: int = RUNTIME) -> None:
        """Take the words that the user reads."""
        self.cause = cause
        self.cure = cure
        self.code = code
        super().__init__(f"{cause} ({cure})" if cure else cause)


def unusable(what: str, deed: str, error: OSError, *, code: int = CONFIGURATION) -> Failure:
    """Say that a file cannot be read, or written, as ``deed`` says, with the cure that fits what the disk said."""
    absent = "Is the name right?" if deed == "read" else "Is its directory there? Make it, or name another place."
    cures = {
        errno.ENOENT: absent,
        errno.ENOTDIR: f"Its directory is a file. {absent}",
        errno.EACCES: "Run as a user that may, or name another.",
        errno.EPERM: "Run as a user that may, or name another.",
        errno.ENOSPC: "Make room on its disk.",
        errno.EDQUOT: "Make room on its disk.",
        errno.EROFS: "Its disk is read-only: name another place.",
    }
    cure = cures.get(error.errno or 0, "Look at its disk, or name another.")
    return Failure(f"{what} cannot be {deed}: {error.strerror or error}.", cure, code=code)


def nearest(word: str, known: Iterable[str]) -> str:
    """Give the known word that a mistyped one was probably meant to be, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Offer the known word that is nearest to a mistyped one, or say something else."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else otherwise
