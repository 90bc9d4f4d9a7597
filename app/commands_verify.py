"""`sealwire verify`: an audit from end to end, of two sites that never meet."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealwire.agents.words import count
from sealwire.app import options, screen
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, unusable
from sealwire.app.options import say
from sealwire.app.verify_export import Asked, Bound

if TYPE_CHECKING:
    from sealwire.app.config import Node

_OFFSET = re.compile(r"\d{1,18}")


class BoundType(click.ParamType):
    """A source offset, or a time in ISO 8601 (UTC where it names no zone)."""

    name = "bound"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Bound:
        """Read it from the command line."""
        if isinstance(value, Bound):
            return value
        text = str(value)
        if _OFFSET.fullmatch(text):
            return Bound(int(text))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"'{text}' is neither an offset nor a time such as 2026-01-31T12:00", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return Bound(int(moment.timestamp() * 1000), is_time=True)


@click.command("verify")
@click.argument("node_file", metavar="NODE.yaml", type=click.Path(path_type=Path))
@click.option("--export", "export", metavar="FILE", type=options.FILE, help="At the source: sign what it has, in FILE.")
@click.option("--against", metavar="FILE", type=options.FILE, help="At the sink: compare with what FILE says.")
@click.option("--topic", "-t", "topics", metavar="T", multiple=True, help="Only this source topic; may be repeated.")
@click.option("--from", "begin", metavar="WHEN", type=BoundType(), help="Export from an offset, or a time (ISO 8601).")
@click.option(
    "--to", "end", metavar="WHEN", type=BoundType(), help="Export up to an offset, or a time, and without it."
)
@click.option(
    "--kafka-config", "config", type=options.FILE, help="Client file of a login that may read the local topics."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(
    node_file: Path,
    export: Path | None,
    against: Path | None,
    topics: tuple[str, ...],
    begin: Bound | None,
    end: Bound | None,
    config: Path | None,
    *,
    as_json: bool,
) -> int:
    """Prove that the sink has what the source has, record by record, though no machine reaches both.

    At the sending site --export reads the topics that NODE.yaml seals and writes signed digests of their records, 1,000
    source offsets each. Bring FILE to the receiving site: there --against reads the ledger and the sink topics and
    names every record that was altered, is missing, was delivered twice, or is out of order.

    Exit code 1: something is wrong, or nothing could be compared. Exit code 2: a wrong file or configuration.
    """
    if (export is None) == (against is None):
        raise Failure(
            "One of --export FILE (at the source) and --against FILE (at the sink) is needed.",
            "sealwire verify --help shows both.",
            code=CONFIGURATION,
        )
    if export is not None:
        return _export(options.node(node_file, config), export, Asked(topics, begin, end), as_json=as_json)
    assert against is not None  # noqa: S101 - one of them is there
    if begin or end:
        raise Failure("--from and --to are for --export.", "The file says what is compared.", code=CONFIGURATION)
    return _against(options.node(node_file, config), against, topics, as_json=as_json)


def _export(node: Node, file: Path, asked: Asked, *, as_json: bool) -> int:
    from sealwire.app.files import refuse_foreign, write_whole  # noqa: PLC0415
    from sealwire.app.project import now_ms  # noqa: PLC0415
    from sealwire.app.verify_export import exported  # noqa: PLC0415
    from sealwire.keys.digestfile import MAGIC  # noqa: PLC0415

    try:
        refuse_foreign(file, MAGIC, "no export of digests")  # before the topics are read, which takes long
    except OSError as error:
        raise unusable(str(file), "written", error) from None
    content, partitions = exported(
        node, asked, now_ms(), lambda each: say(f"read {each.source} {each.span}: {each.count:,} records")
    )
    try:
        write_whole(file, content)
    except OSError as error:
        raise unusable(str(file), "written", error) from None
    records = sum(each.count for each in partitions)
    if as_json:
        rows = [{"source": str(each.source), "first": each.span.first, "next": each.span.next} for each in partitions]
        click.echo(json.dumps({"file": str(file), "records": records, "partitions": rows}, indent=2))
    else:
        of = f"{count(records, 'record')} of {count(len(partitions), 'source partition')}"
        click.echo(f"{file}: {of}, {len(content):,} bytes")
        click.echo("Bring it to the receiving site. There: sealwire verify --against FILE NODE.yaml")
    return 0


def _against(node: Node, file: Path, topics: tuple[str, ...], *, as_json: bool) -> int:
    from sealwire.app import audit_report  # noqa: PLC0415
    from sealwire.app.project import now_ms  # noqa: PLC0415
    from sealwire.app.verify_against import compared, read_file  # noqa: PLC0415

    report = compared(node, read_file(node, file, now_ms()), topics, say)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        audit_report.show(screen.console(), report)
    return 0 if report.good else RUNTIME
