"""The README's table of what passes, made from the kinds of the matrix: `python tests/integration/matrix_table.py`.

With ``--write`` it is put between its marks in README.md. A test of the house asks whether it stands there.
"""

from __future__ import annotations

import argparse
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))

from matrix_kinds import KINDS
from matrix_writers import WRITERS

if TYPE_CHECKING:
    from matrix_kinds import Kind

README: Final = Path(__file__).resolve().parents[2] / "README.md"
MARKS: Final = re.compile(r"(?<=<!-- matrix -->\n).*?(?=<!-- /matrix -->)", re.DOTALL)
CLIENTS: Final = {"java": "Java", "librdkafka": "librdkafka", "aiokafka": "aiokafka"}


def table() -> str:
    """Make the table; kinds of one group that pass in one way, by the same clients, share a row."""
    lines = [
        f"| {len(KINDS)} kinds of topic | pass | {' | '.join(CLIENTS[writer] for writer in WRITERS)} |",
        f"| --- | --- |{' --- |' * len(WRITERS)}",
    ]
    for group, kinds in groupby(KINDS, key=lambda kind: kind.group):
        rows: dict[tuple[str, ...], list[Kind]] = {}
        for kind in kinds:
            rows.setdefault(_alike(kind), []).append(kind)
        lines += [
            f"| **{group}**: {'; '.join(kind.name for kind in together)} | {' | '.join(alike)} |"
            for alike, together in rows.items()
        ]
    return "".join(line + "\n" for line in lines)


def _alike(kind: Kind) -> tuple[str, ...]:
    return (str(kind.way), *(f"- ({kind.cannot[writer]})" if writer in kind.cannot else "yes" for writer in WRITERS))


def written(readme: str) -> str:
    """Give the README with the table in its place."""
    assert MARKS.search(readme), "README.md has no <!-- matrix --> ... <!-- /matrix -->"
    return MARKS.sub(lambda _: table(), readme)


def main() -> int:
    """Print the table, or write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put it into README.md")
    if parser.parse_args().write:
        README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
