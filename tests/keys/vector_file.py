"""The text form of a test vector: `name: value` lines; a value of bytes follows its name, indented, in base64.

Written and read here alone, so that what is in the folder is what the tests run.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Self

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
SHORT = 64  # bytes that stand in one line, in hex


@dataclass(frozen=True)
class Vector:
    """One case: what it is named for, what must happen, and its inputs in order; a name may come more than once."""

    name: str
    comment: str
    expect: str
    inputs: tuple[tuple[str, str | int | bytes], ...]

    def render(self) -> str:
        """Write it as text."""
        lines = [f"name: {self.name}", *_folded("comment", self.comment), f"expect: {self.expect}", ""]
        for name, value in self.inputs:
            if not isinstance(value, bytes):
                lines.append(f"{name}: {value}")
            elif len(value) <= SHORT:
                lines.append(f"{name}: hex {value.hex()}".rstrip())
            else:
                lines.append(f"{name}: base64")
                lines += [f"  {line}" for line in wrap(base64.b64encode(value).decode(), 100)]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `render` wrote."""
        pairs: list[tuple[str, str]] = []
        for line in text.splitlines():
            if line.startswith("  "):
                name, value = pairs.pop()
                joint = " " if name == "comment" else ""
                pairs.append((name, value + joint + line.strip()))
            elif line:
                name, _, value = line.partition(":")
                pairs.append((name, value.strip()))
        heads = dict(pairs[:3])
        return cls(heads["name"], heads["comment"], heads["expect"], tuple((n, _value(v)) for n, v in pairs[3:]))

    def all(self, name: str) -> tuple[bytes, ...]:
        """Give every input of bytes with this name."""
        return tuple(value for each, value in self.inputs if each == name and isinstance(value, bytes))

    def octets(self, name: str) -> bytes:
        """Give the one input of bytes with this name."""
        (value,) = self.all(name)
        return value

    def text(self, name: str) -> str:
        """Give the one input with this name as text."""
        (value,) = (value for each, value in self.inputs if each == name)
        return str(value)

    def number(self, name: str) -> int:
        """Give the one input with this name as a number."""
        return int(self.text(name))

    def has(self, name: str) -> bool:
        """Tell whether there is such an input."""
        return any(each == name for each, _ in self.inputs)


def _folded(name: str, value: str) -> list[str]:
    first, *rest = wrap(value, 108, initial_indent=f"{name}: ", subsequent_indent="  ")
    return [first, *rest]


def _value(text: str) -> str | int | bytes:
    if text.startswith("hex"):
        return bytes.fromhex(text[3:])
    if text.startswith("base64"):
        return base64.b64decode(text[6:])
    return int(text) if text.lstrip("-").isdigit() else text


def load() -> dict[str, Vector]:
    """Read the whole folder: path below it -> vector."""
    return {str(p.relative_to(FOLDER)): Vector.parse(p.read_text()) for p in sorted(FOLDER.glob("*/*.txt"))}
