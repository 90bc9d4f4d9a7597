"""How tables look on a terminal, and in a file."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDE: Final = 200  # columns, where there is no terminal whose width counts


def console(*, stderr: bool = False) -> Console:
    """Give a console on what standard output (or error) is now."""
    file = sys.stderr if stderr else sys.stdout
    return Console(file=file, width=None if file.isatty() else WIDE, highlight=False, soft_wrap=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Make a table; column names that end in '#' are numbers, set to the right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        number = column.endswith("#")
        made.add_column(column.removesuffix("#"), justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))  # as text: no markup of rich's either
    return made


def ago(ms: int) -> str:
    """Say a span of time in its largest unit: 850 ms, 12 s, 5 min, 3 h, 2 d."""
    seconds = max(ms, 0) / 1000
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(ms, 0)} ms"


def when(ms: int) -> str:
    """Write a time (ms since 1970 UTC) to the minute, UTC; one that is in no calendar as it is."""
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def plain(text: str) -> str:
    """Make a text safe to show: a name from the cloud must not paint our terminal with control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)
