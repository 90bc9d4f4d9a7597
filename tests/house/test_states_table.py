"""PROTOCOL.md says of a source partition's states what the code does."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from states_table import PROTOCOL, SIGNS, tables, written

from sealwire.keys.outlook import Sign


def test_the_tables_of_states_are_the_code_s() -> None:
    """`python tests/house/states_table.py --write` makes them so."""
    text = PROTOCOL.read_text(encoding="utf-8")
    assert tables() in text
    assert written(text) == text


def test_every_sign_of_staleness_has_its_words() -> None:
    assert set(SIGNS) == set(Sign)
