"""How the demo looks: steps with their times, and each followed record in three panels side by side."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from sealwire.app.demo_check import headers
from sealwire.app.demo_stage import SITES
from sealwire.app.inspect import stamp, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from confluent_kafka import Message

    from sealwire.app.demo_stage import Stage
    from sealwire.app.demo_watch import Views

PLAIN_WIDTH: Final = 120  # columns, where there is no terminal
NARROW: Final = 78  # below this, panels stand one above the other
SHOWN: Final = 400  # characters of a value
DUMPED: Final = 48  # bytes of an envelope


class Screen:
    """Writes to standard output: with colours and motion on a terminal, plainly elsewhere."""

    def __init__(self) -> None:
        """Look at what standard output is."""
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")
        self.terminal = sys.stdout.isatty()
        self.console = Console(width=None if self.terminal else PLAIN_WIDTH, highlight=False, emoji=False)
        self._fancy = self.console.encoding.lower().startswith("utf")

    def title(self) -> None:
        """Say what is about to be seen."""
        arrow = "──▶" if self._fancy else "-->"
        line = Text("sealwire", style="bold")
        line.append(f"   site A ({SITES[0]}) {arrow} seal {arrow} ", "green")
        line.append("the cloud, which sees none of it", "red")
        line.append(f" {arrow} open {arrow} site B ({SITES[1]})\n", "green")
        self.console.print(line)

    @contextmanager
    def step(self, words: str) -> Iterator[None]:
        """Show that something is being done, and then how long it took."""
        began = time.monotonic()
        label = Text(words)
        with self.console.status(label, spinner="dots" if self._fancy else "line"):
            try:
                yield
            except BaseException:
                self._line("✗" if self._fancy else "x", "bold red", label, began)
                raise
        self._line("✓" if self._fancy else "*", "green", label, began)

    def _line(self, mark: str, style: str, label: Text, began: float) -> None:
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(width=1)
        line.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
        line.add_column(justify="right", style="dim", no_wrap=True)
        line.add_row(Text(mark, style), label, f"{time.monotonic() - began:.1f} s")
        self.console.print(line)

    def addresses(self, stage: Stage) -> None:
        """Say where the three brokers listen, for whoever wants to look with tools of their own."""
        places = (
            f"site A {stage.source.bootstrap}",
            f"cloud {stage.cloud.bootstrap}",
            f"site B {stage.sink.bootstrap}",
        )
        self.console.print(
            Text(f"  {'   '.join(places)}   files in {stage.directory}", "dim"),
            soft_wrap=True,
        )

    def views(self, views: Views) -> None:
        """Show a record as produced, as stored and as delivered."""
        total = self.console.width
        narrow = total < NARROW
        width = total if narrow else total // 3
        line, stored, delivered = views.line, views.stored, views.delivered
        size = len(stored.value() or b"")
        panels = [
            _panel(
                "produced at site A",
                views.produced,
                _record(line.record_key, line.timestamp, line.headers, line.value),
                "by an ordinary client",
                "green",
            ),
            _panel(
                "stored in the cloud",
                stored,
                _dump(stored, width - 4),
                f"{size:,} bytes, {views.stored_ms:.0f} ms later",
                "red",
            ),
            _panel(
                "delivered at site B",
                delivered,
                _record(delivered.key(), delivered.timestamp()[1], headers(delivered), delivered.value()),
                f"{views.delivered_ms:.0f} ms after producing",
                "green",
            ),
        ]
        if narrow:
            self.console.print(*panels, sep="\n")
            return
        options = self.console.options.update_width(width)
        height = max(len(self.console.render_lines(panel, options)) for panel in panels)
        grid = Table.grid()
        for panel in panels:
            panel.height, panel.width = height, width
            grid.add_column(width=width)
        grid.add_row(*panels)
        self.console.print(grid)

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[int, int], None]]:
        """Show how far the stream is, on a terminal; gives what to call with records produced and delivered."""
        columns = (
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,}"),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not self.terminal) as bars:
            produced = bars.add_task("produced", total=total)
            delivered = bars.add_task("delivered", total=total)

            def show(sent: int, came: int) -> None:
                bars.update(produced, completed=sent)
                bars.update(delivered, completed=came)

            yield show

    def say(self, words: str, style: str = "") -> None:
        """Write a line."""
        self.console.print(Text(words, style), soft_wrap=True)

    def failed(self, words: str, tail: Sequence[str]) -> None:
        """Say what went wrong, with the last log lines of that part."""
        self.console.print(Text(f"\n{words}", "bold red"), soft_wrap=True)
        for line in tail:
            self.console.print(Text(f"    {_printable(line)}", "dim"), soft_wrap=True)

    def last(self, line: str) -> None:
        """Write the last line exactly as it is, whatever the terminal's width."""
        self.console.file.write(line + "\n")
        self.console.file.flush()


def _panel(title: str, place: Message, body: Text, below: str, colour: str) -> Panel:
    words = Text.assemble((f"{place.topic()}[{place.partition()}] offset {place.offset()}\n", "bold"))
    return Panel(
        words.append_text(body),
        title=Text(title, colour),
        title_align="left",
        subtitle=Text(below, "dim"),
        subtitle_align="right",
        border_style=colour,
    )


def _record(
    record_key: bytes | None, timestamp: int, its_headers: Iterable[tuple[str, bytes | None]], value: bytes | None
) -> Text:
    body = Text()
    rows = [("record key", text(record_key)), ("timestamp", stamp(timestamp).removesuffix(" UTC"))]
    rows += [("header", f"{name}={text(of)}") for name, of in its_headers]
    for name, shown in rows:
        body.append(f"{name:<11}", "dim").append(f"{shown}\n")
    return body.append(text(value, SHOWN), "bold")


def _dump(stored: Message, width: int) -> Text:
    envelope = stored.value() or b""
    body = Text().append(f"record key {text(stored.key())}, {len(stored.headers() or ())} headers\n", "dim")
    across = max(4, min(16, (width - 1) // 4))
    for at in range(0, min(len(envelope), DUMPED), across):
        piece = envelope[at : at + across]
        readable = "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in piece)  # noqa: PLR2004
        body.append(f"{piece.hex(' '):<{across * 3 - 1}}  ").append(readable + "\n", "red")
    return body.append("..." if len(envelope) > DUMPED else "", "dim")


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in line)
