"""`sealwire provenance`: what was delivered at a site from one member, as its own ledger has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import click
from rich.text import Text

from sealwire.app import options, screen
from sealwire.app.moment import past
from sealwire.app.project import now_ms
from sealwire.keys import identity as identities

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sealwire.app.provenance import Ledger
    from sealwire.keys.provenance import Sender

SHOWN: Final = 200  # stretches in a table


@click.command()
@click.argument("node_file", metavar="NODE.yaml", type=options.FILE)
@click.argument("member", required=False)
@click.option("--since", metavar="TIME", help="Only since 2026-01-31T12:00 (UTC), or 3h for three hours ago.")
@click.option("--channel", "-c", help="Only this channel.")
@click.option("--kafka-config", "config", type=options.FILE, help="Client file of an operator's local login.")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def provenance(
    node_file: Path,
    member: str | None,
    since: str | None,
    channel: str | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """List what was delivered from MEMBER at the site of NODE.yaml: source offsets, sink offsets, times, sessions.

    MEMBER is a name, or a member id (or how it begins) as `sealwire members` shows it; without it all senders are
    listed. Read is the site's own ledger, while its mirror runs or not; the cloud is asked for a name alone.
    """
    from sealwire.app import provenance as ledgers  # noqa: PLC0415

    node = options.node(node_file, config, needs="open")
    begin = None if since is None else past(since, "--since", now_ms())
    names = ledgers.Names(node, options.say)
    asked = (lambda _sender: False) if member is None else names.asked(member)
    ledger = ledgers.read(node, asked, begin, channel)
    senders = {each: sender for each, sender in ledger.told.senders.items() if member is None or asked(each)}
    notes = ledger.cannot_tell(senders.values(), begin)
    if as_json:
        told = {
            "node": str(node_file),
            "site": node.site,
            "ledger": ledger.topic,
            "ledger_first_ms": ledger.first_at,
            "since_ms": begin,
            "channel": channel,
            "senders": [
                ledgers.sender_json(each, names.known.get(each, ""), sender) for each, sender in senders.items()
            ],
            "delivered": [
                {"member_id": each.hex(), **ledgers.stretch_json(stretch, ledger.sink_is(stretch))}
                for each, sender in senders.items()
                for stretch in sender.stretches
            ],
            "cannot_tell": notes,
        }
        click.echo(json.dumps(told, indent=2))
        return
    _show(ledger, senders, names.known)
    for line in notes:
        screen.console().print(Text(screen.plain(line)), soft_wrap=True)


def _show(ledger: Ledger, senders: Mapping[bytes, Sender], names: Mapping[bytes, str]) -> None:
    console = screen.console()
    columns = (
        "member id",
        "name",
        "first",
        "last",
        "deliveries#",
        "source offsets#",
        "sessions#",
        "source partitions#",
    )
    rows = [
        (
            identities.fingerprint(each),
            names.get(each, "?"),
            screen.when(sender.first_at),
            screen.when(sender.last_at),
            f"{sender.deliveries:,}",
            f"{sender.offsets:,}",
            f"{len(sender.sessions):,}",
            f"{len({source for _, source in sender.places}):,}",
        )
        for each, sender in senders.items()
    ]
    if not rows:
        console.print("Nothing was delivered from it, as far as the ledger tells.")
        return
    console.print(screen.table("Delivered here, as the ledger has it (times are UTC)", columns, rows))
    stretches = [stretch for sender in senders.values() for stretch in sender.stretches]
    if not stretches:
        return
    columns = ("source partition", "source offsets", "sink", "sink offsets", "first", "last", "deliveries#", "")
    shown = [
        (
            str(each.source),
            str(each.span),
            f"{each.sink_topic}-{each.source.partition}",
            "" if each.lost else str(each.sink),
            screen.when(each.first_at),
            screen.when(each.last_at),
            f"{each.deliveries:,}",
            ", ".join(
                word
                for word, fits in (
                    ("lost at the source, it said", each.lost),
                    ("again", each.again),
                    ("shared", each.shared),
                    (f"topic {ledger.sink_is(each)}", ledger.sink_is(each) != "there"),
                )
                if fits
            ),
        )
        for each in sorted(stretches, key=lambda each: (each.source, each.first_at))[:SHOWN]
    ]
    console.print(screen.table("From where to where", columns, shown))
    if len(stretches) > SHOWN:
        console.print(f"... and {len(stretches) - SHOWN:,} more: --json has all, --since and --channel show fewer")
