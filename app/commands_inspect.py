"""`sealwire inspect`: one envelope, as the cloud sees it and as an entitled identity does."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from sealwire.agents.words import count
from sealwire.app import inspect as views
from sealwire.app import options, screen
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
    from collections.abc import Iterable
    from pathlib import Path

    from sealwire.app.custody import Custody
    from sealwire.keys.secrets import Secrets

LARGEST: Final = 16 << 20  # bytes of a file with an envelope
_NAMES: Final = 15  # columns of the names


@click.command()
@click.option("--topic", "-t", required=True, help="The cloud topic that it is from: an envelope is bound to it.")
@click.option("--partition", "-p", type=click.IntRange(0), default=0, show_default=True, help="Its partition.")
@click.option("--offset", "-o", type=click.IntRange(0), help="Its offset. Default: the newest record there.")
@click.option("--file", "file", type=options.FILE, help="Take the record's value from a file instead of the cloud.")
@click.option("--identity", "name", metavar="NAME", help="Open it as this identity would.")
@click.option("--records", "most", type=click.IntRange(0), default=3, show_default=True, help="Source records to show.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON: bytes in hex, times in ms.")
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
    *,
    as_json: bool,
) -> int:
    """Show an envelope: what the cloud sees, and with --identity what it opens to."""
    record = CloudRecord(offset or 0, 0, None, _content(file)) if file else None
    inside = None
    with contextlib.ExitStack() as held:
        log = held.enter_context(CloudLog(cloud.cluster(), say)) if name or not record else None
        if record is None:
            assert log is not None  # noqa: S101 - made above
            record = log.newest(topic, partition) if offset is None else log.read_one(topic, partition, offset)
        outside = views.from_the_cloud(record)
        if not as_json:
            _show_outside(outside, str(file) if file else f"{topic}/{partition} at offset {record.offset}")
        if name and log is not None and not outside.refused:
            with open_vault(vault_file(state, name), custody, lock=False) as vault:
                secrets = vault.load()
            inside = _inside(record, topic, partition, secrets, name, log, most)
    if as_json:
        place = {"topic": topic, "partition": partition, "offset": record.offset}
        opened = None if inside is None else inside.facts
        click.echo(json.dumps({**place, "cloud": outside.facts, "identity": name, "opened": opened}, indent=2))
    elif inside is not None:
        _show_inside(inside, f"What {name} sees")
    return RUNTIME if outside.refused else 0


def _show_outside(view: views.CloudView, place: str) -> None:
    _show(f"What the cloud sees: {place}", view.rows)
    for line in views.hex_dump(view.head):
        screen.console().print(Text(line, style="dim"))
    more = view.facts["size"] - len(view.head)
    if more > 0:
        screen.console().print(Text(f"... {count(more, 'byte')} more", style="dim"))


def _show_inside(view: views.PlainView, title: str) -> None:
    _show(title, view.rows)
    for found in view.records:
        rows = [
            ("timestamp", views.stamp(found.timestamp)),
            ("record key", views.text(found.record_key)),
            ("value", views.text(found.value)),
            *(("header", f"{name} = {views.text(value)}") for name, value in found.headers),
        ]
        _show(f"source offset {found.offset}", rows)
    if view.left_out:
        screen.console().print(Text(f"... {count(view.left_out, 'record')} more", style="dim"))


def _inside(
    record: CloudRecord, topic: str, partition: int, secrets: Secrets, name: str, log: CloudLog, most: int
) -> views.PlainView:
    """Open a record as an identity would; raises `Failure` where it cannot."""
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
        return views.to_the_entitled(views.opened(record, topic, partition, trust, secrets, now), most)
    except Rejected as refusal:
        raise Failure(
            f"Identity '{name}' cannot open it: {refusal}.",
            "Only readers of its channel can, at the place it was sealed for, while they hold its session.",
        ) from None


def _both(log: CloudLog, control: str, sessions: str) -> list[bytes]:
    return views.rows_of([*log.read_whole(control), *log.read_whole(sessions)])


def _show(title: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values, each value on one line however long, so that an id can be copied whole."""
    console = screen.console()
    console.print(Text(title, style="italic"), soft_wrap=True)
    for name, value in rows:  # as text: what strangers wrote is no markup
        console.print(Text.assemble((f"{name:<{_NAMES}}", "bold"), value), soft_wrap=True)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            content = source.read(LARGEST + 1)
    except OSError as error:
        raise unusable(str(file), "read", error) from None
    if len(content) > LARGEST:
        raise Failure(f"{file} is larger than any envelope ({LARGEST} bytes).", code=CONFIGURATION)
    return content
