r"""One line of the audit trail, and the rule of its chain, which needs no program of ours to be checked.

A line is one JSON object of ASCII alone, without spaces, its members in this order:

    n           its number in the chain, from 1
    at          when, UTC: 2026-01-31T12:00:00.123Z
    event       what happened
    ...         what it was about, by names of lower-case letters; texts, and numbers below 2^53
    previous    the `digest` of line n - 1, over files; sixty-four zeros in line 1
    digest      SHA-256, as 64 hex digits, of the line's own bytes without `,"digest":"..."` and without its line feed

So it is the digest of what `jq -acj 'del(.digest)'` prints of the line. It shows that a line was altered, left out or
moved; whoever may write the file can make a whole chain anew, so note the last digest elsewhere, now and then.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

ORIGIN: Final = "0" * 64  # what line 1 follows
LONGEST: Final = 1 << 16  # bytes of a line, its line feed included: above what may be noted
MOST_TEXT: Final = 200  # characters of a text
MOST_FIELDS: Final = 24
MOST_NUMBER: Final = (1 << 53) - 1  # what every reader of JSON keeps exact
OWN: Final = frozenset({"n", "at", "event", "previous", "digest"})
EVENTS: Final = (
    "admitted", "renewed", "refused", "charter", "root", "held-for-age", "identity-in-use-twice", "granted", "rotated",
    "torn",
)  # fmt: skip
NAME: Final = re.compile(r"[a-z][a-z_]{0,31}")
_BEGINNING: Final = datetime.fromtimestamp(0, UTC)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Line(NamedTuple):
    """A whole and true line: its digest is that of its bytes."""

    n: int
    at: int  # ms since 1970 UTC
    event: str
    fields: dict[str, str | int]
    previous: str
    digest: str

    def follows(self, n: int, digest: str) -> bool:
        """Tell whether it is the line after number ``n``, whose digest is ``digest``."""
        return self.n == n + 1 and self.previous == digest


def make(n: int, at: int, event: str, fields: dict[str, str | int], previous: str) -> tuple[bytes, str]:
    """Give the bytes of a line, with its line feed, and its digest. ``fields`` are `fit`."""
    body = _json({"n": n, "at": moment(at), "event": event, **fields, "previous": previous})
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + b',"digest":"%s"}\n' % digest.encode(), digest


def read(content: bytes) -> Line | None:
    """Read a line with its line feed; None where it is not one, to the byte, or its digest is not its own."""
    try:
        found = json.loads(content)
        n, at, event = found.pop("n"), milliseconds(found.pop("at")), found.pop("event")
        previous, digest = found.pop("previous"), found.pop("digest")
        told = {type(value) for value in found.values()}
        if not (type(n) is int and n > 0 and type(event) is str and told <= {str, int} and _DIGEST.fullmatch(previous)):
            return None
        # Made again it has the same bytes: no space, no order, no escape and no member twice can hide anything.
        if make(n, at, event, found, previous) != (content, digest):
            return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    return Line(n, at, event, found, previous, digest)


def fit(fields: dict[str, Any]) -> dict[str, str | int]:
    """Give what may stand in a line: texts (cut, and printable) and numbers under plain names.

    All else, bytes before all, is left out, and `left_out` says how many were.
    """
    found: dict[str, str | int] = {}
    for name, value in fields.items():
        if name in OWN or not NAME.fullmatch(name) or len(found) >= MOST_FIELDS:
            continue
        if isinstance(value, str):
            found[name] = plain(value)
        elif isinstance(value, int) and abs(value) <= MOST_NUMBER:
            found[name] = int(value)
    return found if len(found) == len(fields) else {**found, "left_out": len(fields) - len(found)}


def plain(text: object) -> str:
    """Give a text as a line may have it: cut to its most, and what is not printable as a question mark."""
    return "".join(char if char.isprintable() else "?" for char in str(text)[:MOST_TEXT])


def moment(at: int) -> str:
    """Write a time (ms since 1970 UTC) as a line has it."""
    whole, ms = divmod(at, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def milliseconds(text: str) -> int:
    """Read a time as a line has it; raises `ValueError` where it is not one."""
    return (datetime.fromisoformat(text) - _BEGINNING) // timedelta(milliseconds=1)


def _json(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")
