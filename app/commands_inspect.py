"""`sealwire inspect`: one envelope, as the cloud sees it and as an entitled identity does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealwire.app import inspect as views
from sealwire.app import options
from sealwire.app.cloudlog import CloudLog
from sealwire.app.cloudrecord import CloudRecord
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, unusable
from sealwire.app.names import project_topics
from sealwire.app.options import say
from sealwire.app.project import now_ms
from sealwire.app.vault import open_vault, vault_file
from sealwire.keys import root as roots
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.app.custody import Custody
    from sealwire.keys.secrets import Secrets

LARGEST = 16 << 20  # bytes of a file with an envelope


@click.command()
@click.option("--topic", "-t", required=True, help="The cloud topic that it is from: an envelope is bound to it.")
@click.option("--partition", "-p", type=click.IntRange(0), default=0, show_default=True, help="Its partition.")
@click.option("--offset", "-o", type=click.IntRange(0), help="Its offset. Default: the newest record there.")
@click.option("--file", "file", type=options.FILE, help="Take the record's value from a file instead of the cloud.")
@click.option("--identity", "name", metavar="NAME", help="Open it as this identity would.")
@click.option("--records", "most", type=click.IntRange(0), default=3, show_default=True, help="Source records to show.")
@options.identity
@options.cloud
def inspect(
    topic: str,
    partition: int,
    offset: int | None,
    file: Path | None,
    name: str | None,
    most: int,
    state: Path,
    custody: Custody,
    cloud: options.CloudOptions,
) -> int:
    """Show an envelope: what the cloud sees, and with --identity what it opens to."""
    console = Console(highlight=False)
    if file:
        record = CloudRecord(offset or 0, 0, None, _content(file))
        if name is None:
            return _show_outside(console, record, str(file))
    cluster = cloud.cluster()
    with CloudLog(cluster, say) as log:
        if not file:
            newest = offset is None
            record = log.newest(topic, partition) if newest else log.read_one(topic, partition, offset or 0)
        outcome = _show_outside(console, record, f"{topic}/{partition} at offset {record.offset}")
        if name is None or outcome:
            return outcome
        with open_vault(vault_file(state, name), custody, lock=False) as vault:
            secrets = vault.load()
        return _show_inside(console, record, topic, partition, secrets, name, log, most)


def _show_outside(console: Console, record: CloudRecord, place: str) -> int:
    view = views.from_the_cloud(record)
    console.print(_table(f"What the cloud sees: {place}", view.rows))
    for line in views.hex_dump(view.head):
        console.print(Text(line, style="dim"))
    if len(record.value) > len(view.head):
        console.print(Text(f"... {len(record.value) - len(view.head)} bytes more", style="dim"))
    return RUNTIME if view.refused else 0


def _show_inside(
    console: Console,
    record: CloudRecord,
    topic: str,
    partition: int,
    secrets: Secrets,
    name: str,
    log: CloudLog,
    most: int,
) -> int:
    if secrets.root is None or secrets.credential is None:
        raise Failure(
            f"Identity '{name}' is no member of a project yet, so it opens nothing.",
            f"sealwire enroll TICKET --identity {name}",
            code=CONFIGURATION,
        )
    control, sessions, _ = project_topics(roots.trusted(secrets.root).project_name)
    try:
        now = now_ms()
        trust, secrets = views.learn(secrets, views.rows_of(log.read_whole(control)), now)
        if not views.session_known(record.value, secrets):
            trust, secrets = views.learn(secrets, _both(log, control, sessions), now)
        view = views.to_the_entitled(views.opened(record, topic, partition, trust, secrets, now), most)
    except Rejected as refusal:
        raise Failure(
            f"Identity '{name}' cannot open it: {refusal}.",
            "Only readers of its channel can, at the place it was sealed for, while they hold its session.",
        ) from None
    console.print(_table(f"What {name} sees", view.rows))
    for found in view.records:
        console.print(_record(found))
    if view.left_out:
        console.print(Text(f"... {view.left_out} records more", style="dim"))
    return 0


def _both(log: CloudLog, control: str, sessions: str) -> list[bytes]:
    return views.rows_of([*log.read_whole(control), *log.read_whole(sessions)])


def _record(found: views.PlainRecord) -> Table:
    rows = [
        ("timestamp", views.stamp(found.timestamp)),
        ("record key", views.text(found.record_key)),
        ("value", views.text(found.value)),
        *(("header", f"{name} = {views.text(value)}") for name, value in found.headers),
    ]
    return _table(f"source offset {found.offset}", tuple(rows))


def _table(title: str, rows: tuple[tuple[str, str], ...]) -> Table:
    table = Table(title=Text(title), title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(Text(name), Text(value))  # as text: what strangers wrote is no markup
    return table


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(LARGEST + 1)
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    if len(content) > LARGEST:
        raise Failure(f"{file} is larger than any envelope ({LARGEST} bytes).", code=CONFIGURATION)
    return content
