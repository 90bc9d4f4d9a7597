"""What statements' bodies are written in: msgpack in its one canonical form, and what each field may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

Check = Callable[[Any], Any]

WORDS = """
    foreign truncated malformed too-large unknown-type unknown-version unknown-suite unknown-extension
    layout-reserved other-project unknown-signer bad-signature bad-ciphertext bad-key bad-commitment spliced
    not-authorised refused-member unknown-member expired ahead outdated fork pardoned distrusted unknown-ticket
    spent name-taken changed-request unknown-session no-grant too-many misplaced implausible below-floor regressed
    lost-span no-start gap sink-changed sink-refused old-format cursors-lost charter-old
"""
REASONS = frozenset(WORDS.split())
DEPTH = 8  # no body nests deeper than 5


class Refused(Exception):
    """Why bytes were refused: one of FORMAT.md's Reasons, as its word."""


def ensure(right: object, reason: str) -> None:
    """Refuse with this Reason unless it is right."""
    if not right:
        raise Refused(reason)


class Reader:
    """Bytes, taken from the front; an end that comes too early is refused with the given Reason."""

    def __init__(self, octets: bytes, at_end: str) -> None:
        self.octets, self.at, self.at_end = octets, 0, at_end

    def take(self, count: int) -> bytes:
        ensure(self.at + count <= len(self.octets), self.at_end)
        self.at += count
        return self.octets[self.at - count : self.at]

    def integer(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "big", signed=signed)

    @property
    def left(self) -> int:
        return len(self.octets) - self.at


def unpack(body: bytes) -> Any:
    """The one value that these bytes are the canonical msgpack of; anything else is `malformed`."""
    reader = Reader(body, "malformed")
    value = _value(reader, 0)
    ensure(not reader.left, "malformed")
    return value


def _value(reader: Reader, depth: int) -> Any:  # noqa: PLR0911
    ensure(depth < DEPTH, "malformed")
    lead = reader.integer(1)
    if lead <= 0x7F:
        return lead
    if lead >= 0xE0:
        return lead - 256
    if lead == 0xC0:
        return None
    if 0xCC <= lead <= 0xCF:
        value = reader.integer(size := 1 << lead - 0xCC)
        ensure(value > 0x7F if size == 1 else value >> 4 * size, "malformed")  # no shorter form has it
        return value
    if 0xD0 <= lead <= 0xD3:
        value = reader.integer(size := 1 << lead - 0xD0, signed=True)
        ensure(value < -32 if size == 1 else value < -1 << 4 * size - 1, "malformed")  # zero and above: unsigned forms
        return value
    if 0xA0 <= lead <= 0xBF or 0xD9 <= lead <= 0xDB:
        try:
            return reader.take(_length(reader, lead, 0xA0, 0xD9, 31)).decode()
        except UnicodeDecodeError:
            raise Refused("malformed") from None
    if 0xC4 <= lead <= 0xC6:
        return reader.take(_length(reader, lead, None, 0xC4, -1))
    if 0x90 <= lead <= 0x9F or 0xDC <= lead <= 0xDD:
        return [_value(reader, depth + 1) for _ in range(_length(reader, lead, 0x90, 0xDB, 15))]
    raise Refused("malformed")  # floats, maps, booleans, extensions, and the byte that msgpack never uses


def _length(reader: Reader, lead: int, short: int | None, first: int, most_short: int) -> int:
    """A length after its lead byte; `first` is the lead byte whose length has one byte (arrays begin at two)."""
    if short is not None and lead < 0xC0:
        return lead - short
    length = reader.integer(size := 1 << lead - first)
    shorter = most_short if size == 1 or (first == 0xDB and size == 2) else (1 << 4 * size) - 1
    ensure(length > shorter, "malformed")
    return length


def integer(low: int, high: int) -> Check:
    """An integer from low to high, both included."""

    def check(value: Any) -> Any:
        ensure(isinstance(value, int) and low <= value <= high, "malformed")
        return value

    return check


def octets(low: int, high: int | None = None) -> Check:
    """Bytes, low of them, or low to high."""

    def check(value: Any) -> Any:
        ensure(isinstance(value, bytes) and low <= len(value) <= (low if high is None else high), "malformed")
        return value

    return check


def text(pattern: str) -> Check:
    """A string that the pattern matches whole."""
    compiled = re.compile(pattern, re.DOTALL)

    def check(value: Any) -> Any:
        ensure(isinstance(value, str) and compiled.fullmatch(value), "malformed")
        return value

    return check


def nil_or(inside: Check) -> Check:
    """Nil, or what the other check takes."""
    return lambda value: None if value is None else inside(value)


def array(*fields: Check) -> Check:
    """An array of exactly these fields."""

    def check(value: Any) -> Any:
        ensure(isinstance(value, list) and len(value) == len(fields), "malformed")
        return [field(each) for field, each in zip(fields, value, strict=True)]

    return check


def rows(row: Check, low: int, high: int) -> Check:
    """Low to high rows."""

    def check(value: Any) -> Any:
        ensure(isinstance(value, list) and low <= len(value) <= high, "malformed")
        return [row(each) for each in value]

    return check


def rise(marks: Iterable[Any]) -> None:
    """Refuse as `malformed` what does not rise, each once."""
    ensure(all(one < other for one, other in pairwise(marks)), "malformed")


TIME = COUNTER = integer(0, 2**53)
OFFSET = integer(0, 2**63 - 1)
ID, PUBLIC, SHORT_ID = octets(32), octets(32), octets(16)
NAME = text(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")
CHANNEL = text(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}")
TOPIC = text(r"[a-zA-Z0-9._-]{1,249}")
ATTRIBUTES = rows(array(NAME, text(r".{1,200}")), 0, 32)
