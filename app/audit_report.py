"""What an audit came to: for people as tables and sentences, for programs as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from sealwire.app import screen

if TYPE_CHECKING:
    from rich.console import Console

    from sealwire.keys.comparison import Comparison, Finding, Left
    from sealwire.keys.digestfile import DigestFile
    from sealwire.keys.digests import Exported
    from sealwire.keys.source import Span

SHOWN: Final = 100  # findings shown to a person; JSON has all
CLEANED: Final = "differs as a cleaner makes it differ: the topic is compacted"


@dataclass(frozen=True)
class SinkRow:
    """One source partition at one sink partition; ``why`` says why there is no comparison."""

    where: tuple[str, int]
    exported: Exported
    comparison: Comparison | None = None
    why: str = ""
    compacted: bool = False

    @property
    def compared(self) -> int:
        """Records that were compared."""
        return self.comparison.compared if self.comparison is not None else 0

    @property
    def cleaned(self) -> bool:
        """Whether a cleaner may have removed records at either side, which nobody can tell from a loss."""
        return self.compacted or self.exported.compacted

    @property
    def findings(self) -> list[Finding]:
        """What is wrong, in the order of the source offsets."""
        found = self.comparison.findings if self.comparison is not None and not self.cleaned else []
        return sorted(found, key=lambda finding: finding.span)

    @property
    def left(self) -> list[tuple[Span, str]]:
        """The source offsets that were not compared, and why."""
        if self.comparison is None:
            return [(self.exported.span, self.why)]
        found = [(left.span, left.why) for left in self.comparison.left]
        if self.cleaned:
            found += [(finding.span, CLEANED) for finding in self.comparison.findings]
        return sorted(found)

    @property
    def passed(self) -> list[Left]:
        """The spans that were passed on the record: lost by their source, or a gap that a person accepted."""
        return self.comparison.passed if self.comparison is not None else []


@dataclass
class Report:
    """All of an audit.

    ``foreign`` counts records of other producers, ``unlooked`` those beyond what is looked at, ``superseded`` what a
    rewind left behind, ``stamped`` records with the time of the sink's broker.
    """

    told: DigestFile
    wanted: tuple[Exported, ...]
    rows: list[SinkRow] = field(default_factory=list)
    foreign: int = 0
    superseded: int = 0
    unlooked: int = 0
    stamped: int = 0

    @property
    def nowhere(self) -> list[Exported]:
        """The source partitions of which nothing was ever delivered here, though they have records."""
        there = {row.exported.source for row in self.rows}
        return [each for each in self.wanted if each.source not in there and each.blocks]

    @property
    def compared(self) -> int:
        """Records that were compared."""
        return sum(row.compared for row in self.rows)

    @property
    def findings(self) -> int:
        """How many things are wrong."""
        return sum(len(row.findings) for row in self.rows)

    @property
    def good(self) -> bool:
        """Whether something was compared, and nothing is wrong."""
        return not self.findings and (self.compared > 0 or not any(each.blocks for each in self.wanted))

    def as_json(self) -> dict[str, Any]:
        """Give all of it for programs: offsets are [first, next), times in ms."""
        told = self.told
        return {
            "file": {
                "by": told.credential.name,
                "site": told.credential.site,
                "made_at": told.made_at,
                "cluster": told.cluster,
            },
            "ok": self.good,
            "records": self.compared,
            "findings": self.findings,
            "foreign": self.foreign,
            "superseded": self.superseded,
            "foreign_not_looked_at": self.unlooked,
            "times_of_the_sink": self.stamped,
            "partitions": [_row(row) for row in self.rows] + [_nowhere(each) for each in self.nowhere],
        }


def _row(row: SinkRow) -> dict[str, Any]:
    return {
        **_source(row.exported),
        "sink_topic": row.where[0],
        "sink_partition": row.where[1],
        "records": row.compared,
        "findings": [
            {
                "kind": str(finding.kind),
                "source_offsets": _pair(finding.span),
                "sink_offsets": _pair(finding.sink),
                "records": finding.records or None,
                "extra": list(finding.extra),
            }
            for finding in row.findings
        ],
        "not_compared": [{"source_offsets": _pair(span), "why": why} for span, why in row.left],
        "passed": [
            {"source_offsets": _pair(left.span), "records": left.records, "why": left.why} for left in row.passed
        ],
    }


def _nowhere(exported: Exported) -> dict[str, Any]:
    left = {"source_offsets": _pair(exported.span), "why": "nothing of it was delivered here"}
    return {**_source(exported), "records": 0, "findings": [], "not_compared": [left], "passed": []}


def _source(exported: Exported) -> dict[str, Any]:
    return {**exported.source.fields, "exported": _pair(exported.span)}


def _pair(span: Span) -> list[int]:
    return [span.first, span.next]


# For people


def show(console: Console, report: Report) -> None:
    """Print what was compared, what was not, and what is wrong last, where the eye ends."""
    told = report.told
    made = datetime.fromtimestamp(told.made_at / 1000, UTC)
    console.print(
        Text(f"Signed by {told.credential.name} of {told.credential.site} at {made:%Y-%m-%d %H:%M:%S} UTC", "bold")
    )
    rows = [
        (
            row.exported.source.channel,
            f"{row.exported.source.topic}-{row.exported.source.partition}",
            f"{row.where[0]}-{row.where[1]}",
            f"{row.compared:,}",
            f"{len(row.findings):,}",
        )
        for row in report.rows
    ]
    if rows:
        console.print(screen.table("Compared", ("channel", "source", "sink", "records#", "findings#"), rows))
    for line in _notes(report):
        console.print(Text(screen.plain(line)))
    told_of = [(row, finding) for row in report.rows for finding in row.findings]
    for row, finding in told_of[:SHOWN]:
        console.print(Text(screen.plain(f"! {sentence(row, finding)}"), style="bold red"))
    if len(told_of) > SHOWN:
        console.print(Text(f"! ... and {len(told_of) - SHOWN:,} more: --json has all", style="bold red"))
    if report.good:
        console.print(Text(f"{report.compared:,} records are at the sink as they are at the source.", style="green"))
    elif not told_of:
        console.print(Text("Nothing could be compared.", style="bold red"))


def _notes(report: Report) -> list[str]:
    """Say what was not compared, what was passed on the record, and who else writes there."""
    lines = [f"not compared: {_name(row.exported)} {span}: {why}" for row in report.rows for span, why in row.left]
    lines += [f"not compared: {_name(each)} {each.span}: nothing of it was delivered here" for each in report.nowhere]
    lines += [
        f"passed on the record: {_name(row.exported)} {left.span}, {left.records:,} records: {left.why}"
        for row in report.rows
        for left in row.passed
    ]
    if report.foreign or report.unlooked:
        lines.append(f"other producers' records in these sink partitions: {report.foreign + report.unlooked:,}")
    if report.superseded:
        lines.append(f"records that a rewind left behind, delivered again since: {report.superseded:,}")
    if report.stamped:
        lines.append(
            f"{report.stamped:,} records have the time of the sink's broker (message.timestamp.type=LogAppendTime), "
            "not their own: they count as altered"
        )
    return lines


def sentence(row: SinkRow, finding: Finding) -> str:
    """Say what is wrong, and where to look, at both sides."""
    count = f"{finding.records:,} records " if finding.records > 1 else "a record " if finding.records else "records "
    where = f"{_name(row.exported)} {finding.span}: {count}{finding.kind}, at sink {row.where[0]}-{row.where[1]}"
    if finding.extra:
        some = ", ".join(str(offset) for offset in finding.extra[:5]) + (", ..." if len(finding.extra) > 5 else "")  # noqa: PLR2004
        return f"{where} offset {some}"
    return f"{where} {finding.sink}"


def _name(exported: Exported) -> str:
    return str(exported.source)
