"""The text format of Java's `Properties.load`: names and values, with continuation lines and escapes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.|$)", re.DOTALL)
_WHITE = " \t\f"
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


@dataclass(frozen=True)
class Property:
    """A setting and the line where it begins; ``problem`` says what could not be read. Values may be secrets."""

    name: str
    line: int
    value: str = field(repr=False)
    problem: str = ""


def parse(text: str) -> list[Property]:
    """Read all settings in their order, as `java.util.Properties.load` does (its documentation is the grammar)."""
    return [_split(line, number) for line, number in _logical_lines(text)]


def _logical_lines(text: str) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    begun: str | None = None
    first = 0
    for number, natural in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        line = natural.lstrip(_WHITE)
        if begun is None:
            if not line or line[0] in "#!":
                continue
            begun, first = "", number
        begun += line
        if (len(line) - len(line.rstrip("\\"))) % 2:  # an odd number of backslashes continues the line
            begun = begun[:-1]
            continue
        found.append((begun, first))
        begun = None
    if begun:
        found.append((begun, first))
    return found


def _split(line: str, number: int) -> Property:
    end = 0
    while end < len(line) and line[end] not in "=:" + _WHITE:
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(_WHITE)
    if rest[:1] in {"=", ":"}:
        rest = rest[1:].lstrip(_WHITE)
    try:
        return Property(_unescape(line[:end]), number, _unescape(rest))
    except ValueError:
        return Property(
            line[:end].strip("\\"),
            number,
            "",
            "has a \\u that four hexadecimal digits do not follow",
        )


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        what = match[1]
        if what == "u":
            raise ValueError
        return chr(int(what[1:], 16)) if len(what) > 1 else _CONTROLS.get(what, what)

    return _ESCAPE.sub(one, text)
