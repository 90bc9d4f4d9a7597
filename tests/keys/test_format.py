"""FORMAT.md and the code say the same numbers and the same words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sealwire.keys
from sealwire.keys import envelope, grant, inner, lastfield, opening, progress, reseal, session, wire
from sealwire.keys.reason import Reason

TEXT = (Path(sealwire.keys.__file__).parent / "FORMAT.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Give the cells of the table below a heading."""
    section = re.split(r"^#+ ", TEXT.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_every_type_stands_with_its_number_label_and_cap() -> None:
    said = {name: (int(number, 16), int(cap)) for name, number, cap in rows("Types and caps")}
    assert said == {kind.name.lower().replace("_", " "): (kind.value, wire.CAPS[kind]) for kind in wire.Type}
    for name, (number, _) in said.items():
        assert wire.LABELS[wire.Type(number)] == f"sealwire v1 {name}".encode().ljust(32, b"\0")


def test_every_reason_stands_in_the_order_of_the_code() -> None:
    assert [word for word, _ in rows("Reasons")] == [reason.value for reason in Reason]


def test_every_caps_number_is_the_codes() -> None:
    caps = opening.Caps()
    assert [int(number) for _, number in rows("Caps of envelopes")] == [
        caps.envelope,
        caps.uncompressed,
        caps.records,
        caps.batches,
    ]


def test_every_hkdf_label_of_the_code_stands_in_the_table() -> None:
    folder = Path(sealwire.keys.__file__).parent
    used = {label for path in folder.glob("*.py") for label in re.findall(r'"(sealwire v1 [a-z ]+)"', path.read_text())}
    said = {label for label, *_ in rows("HKDF labels")}
    assert used - {grant.LABEL} == said
    assert {progress.LABEL, reseal.LABEL, session.COMMITMENT} <= said
    assert grant.LABEL in TEXT


@pytest.mark.parametrize("kind", wire.Type)
def test_every_type_has_its_chapter(kind: wire.Type) -> None:
    assert f"(0x{kind.value:02x})\n" in TEXT


def test_the_envelopes_own_numbers_are_the_codes() -> None:
    assert envelope.HEADER_SIZE == 52
    assert envelope.OVERHEAD == 132
    assert envelope.RECORD_KEY_CAP == 1024
    assert lastfield.SALT_SIZE == envelope.SALT_SIZE == 16
    for enum, words in (
        (inner.Kind, "1 records, 2 lost"),
        (inner.Compression, "0 none, 1 zstd"),
        (inner.Layout, "1 batch, 2 record"),
        (inner.Cause, "0 none, 1 deleted, 2 truncated, 3 unreadable"),
    ):
        assert words == ", ".join(f"{each.value} {each.name.lower()}" for each in enum)
        assert words in TEXT
    assert f"{inner.LOG_START} log start, {inner.RESEAL} reseal" in TEXT
