"""Statements as files, to be carried by hand: text that survives a mail, and says when it was cut.

    BEGIN line | base64 of (u32 length | statement) each | END line

A request's file holds one statement; an answer's holds the answer and the roots that its reader needs to check it, from
the first on; a root draft's holds the draft and the roots that it follows.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import TYPE_CHECKING, Final

from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.files import refuse_foreign, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

REQUEST: Final = "REQUEST"
ANSWER: Final = "ANSWER"
DRAFT: Final = "ROOT DRAFT"
MOST: Final = 4 << 20  # bytes: a chain of a hundred roots, each with escrow keys
_LENGTH: Final = struct.Struct(">I")
_LINE: Final = 64


def write(kind: str, statements: Sequence[bytes]) -> bytes:
    """Give the text of a file with these statements."""
    packed = b"".join(_LENGTH.pack(len(statement)) + statement for statement in statements)
    encoded = base64.b64encode(packed).decode()
    lines = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
    return "\n".join([_line("BEGIN", kind), *lines, _line("END", kind), ""]).encode()


def put(kind: str, file: Path, statements: Sequence[bytes]) -> None:
    """Write these statements into a file; raises `Failure` where there is one that is no such paper, or cannot be."""
    try:
        refuse_foreign(file, _line("BEGIN", kind).encode(), f"not {_article(kind)} file")
        write_whole(file, write(kind, statements), 0o644)
    except OSError as error:
        raise unusable(str(file), "written", error) from None


def read(kind: str, file: Path) -> tuple[bytes, ...]:
    """Read the statements of a file; nothing of them is believed. Raises `Failure` for another or a cut file."""
    try:
        with file.open("rb") as source:
            content = source.read(MOST + 1)
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    lines = content.decode("ascii", "replace").replace("\r", "").strip().split("\n")
    if lines[0].strip() != _line("BEGIN", kind):
        raise Failure(
            f"{file} is not {_article(kind)} file: it does not begin as one.",
            f"It begins with '{_line('BEGIN', kind)}'.",
            code=CONFIGURATION,
        )
    if lines[-1].strip() != _line("END", kind) or len(content) > MOST:
        raise _cut(file, kind)
    try:
        packed = base64.b64decode("".join(line.strip() for line in lines[1:-1]), validate=True)
    except binascii.Error:
        raise _cut(file, kind) from None
    statements: list[bytes] = []
    at = 0
    while at < len(packed):
        if at + _LENGTH.size > len(packed):
            raise _cut(file, kind)
        (size,) = _LENGTH.unpack_from(packed, at)
        at += _LENGTH.size + size
        if at > len(packed):
            raise _cut(file, kind)
        statements.append(packed[at - size : at])
    if not statements:
        raise _cut(file, kind)
    return tuple(statements)


def _line(which: str, kind: str) -> str:
    return f"-----{which} SEALWIRE {kind}-----"


def _article(kind: str) -> str:
    return f"an {kind.lower()}" if kind == ANSWER else f"a {kind.lower()}"


def _cut(file: Path, kind: str) -> Failure:
    return Failure(
        f"{file} is {_article(kind)} file of which a part is missing.", "Copy it again, whole.", code=CONFIGURATION
    )
