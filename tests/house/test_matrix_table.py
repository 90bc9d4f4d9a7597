"""The README says what passes in the words of the matrix."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from matrix_kinds import KINDS
from matrix_table import README, table, written
from matrix_writers import WRITERS


def test_the_table_of_what_passes_is_the_matrix() -> None:
    """`python tests/integration/matrix_table.py --write` makes it so."""
    readme = README.read_text(encoding="utf-8")
    assert table() in readme
    assert written(readme) == readme


def test_there_are_forty_kinds_of_topic_and_more_by_each_client() -> None:
    assert min(Counter(writer for kind in KINDS for writer in kind.writers)[writer] for writer in WRITERS) >= 40
    assert all(kind.writers for kind in KINDS)


def test_no_two_kinds_share_a_name_or_a_topic() -> None:
    assert len({kind.name for kind in KINDS}) == len({kind.slug for kind in KINDS}) == len(KINDS)
    assert all(set(kind.cannot) <= set(WRITERS) for kind in KINDS)
