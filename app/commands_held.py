"""What a person decides: `held`, `accept-gap`, `rewind`; and what was refused for good: `quarantine`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import click

from sealwire.agents.words import are, count
from sealwire.app import options, screen
from sealwire.app.faults import RUNTIME
from sealwire.app.status import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from sealwire.app.config import Node
    from sealwire.app.held import Partition, Site
    from sealwire.keys.order import Order

NODE = click.argument("node_file", metavar="NODE.yaml", type=options.FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
CONFIG = click.option("--kafka-config", "config", type=options.FILE, help="Client file of an operator's local login.")


def _meant(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that name a source partition, and who decides why."""
    for option in reversed(
        (
            click.option("--channel", "-c", required=True, help="The channel it belongs to."),
            click.option("--site", help="The site it is from; needed where several fit."),
            click.option("--topic", "-t", help="The topic at that site."),
            click.option("--partition", "-p", type=click.IntRange(0), help="Its number."),
            click.option("--topic-id", help="The topic's id, or how it begins: of a topic that was made anew."),
            click.option("--why", required=True, help="Why: kept with what was decided."),
            click.option("--who", help="Who decides. Default: this user at this machine."),
            click.option("--yes", "-y", is_flag=True, help="Do not ask."),
            CONFIG,
        )
    ):
        command = option(command)
    return command


@click.command("held")
@NODE
@CONFIG
@JSON
def held(node_file: Path, config: Path | None, *, as_json: bool) -> int:
    """List what waits or is held at the site of NODE.yaml: since when, why, which span, and what helps.

    The workers of NODE.yaml are asked, and the cursors of the whole site are read, so it answers while none runs.
    Exit code 1: something is held, or waits.
    """
    from sealwire.app.held import look  # noqa: PLC0415

    node = options.node(node_file, config)
    site = look(node)
    stuck = [each for each in site.partitions if each.stuck]
    if as_json:
        click.echo(json.dumps(_as_json(node, site, stuck), indent=2))
    else:
        _show(screen.console(), node, site, stuck)
    return RUNTIME if stuck or site.others else 0


def _as_json(node: Node, site: Site, stuck: Sequence[Partition]) -> dict[str, Any]:
    return {
        "node": str(node.path),
        "held": [each.as_json(site.helps(node, each)) for each in stuck],
        "others": [vars(each) for each in site.others],
        "parked": [vars(each) for each in site.parked],
        "silent": list(site.silent),
    }


def _show(console: Console, node: Node, site: Site, stuck: Sequence[Partition]) -> None:
    from sealwire.app.cures import cure  # noqa: PLC0415

    for name in site.silent:
        options.say(f"{name} does not answer: what follows is what is written down")
    for each in stuck:
        seen, known = each.expects, cure(each.expects.reason)
        since = f", for {screen.ago(now_ms() - each.since)}" if each.since else ""
        gap = f", {seen.gap}: {len(seen.gap):,} offsets" if seen.gap else ""
        _print(console, f"{each.source}: {seen.state}{since}: {seen.reason}{gap}", style="bold")
        at = "nothing is delivered yet" if seen.next is None else f"delivered up to {seen.next}"
        _print(console, f"  {known.happened if known else each.why}; {at}")
        if each.why and known and each.why not in {str(seen.reason), f"{seen.reason}: {seen.gap} is missing"}:
            _print(console, f"  {each.why}")
        if known:
            _print(console, f"  {known.do}")
        if command := site.helps(node, each):
            _print(console, f"  {command}")
    for other in site.others:
        _print(console, f"{other.name}: {other.state}: {other.why}", style="bold")
    for parked in site.parked:
        since = f", the first for {screen.ago(now_ms() - parked.since)}" if parked.since else ""
        lacking = f"{count(parked.sessions, 'session')} that {are(parked.sessions)} not known here"
        _print(console, f"{parked.topic}[{parked.partition}]: envelopes of {lacking} are parked{since}")
    if not (stuck or site.others or site.parked):
        _print(console, f"Nothing waits and nothing is held; {count(len(site.partitions), 'source partition')}.")


def _print(console: Console, words: str, style: str = "") -> None:
    # As one line each, however long: a command is to be copied.
    console.print(screen.plain(words), style=style, markup=False, soft_wrap=True)


@click.command("accept-gap")
@NODE
@_meant
@click.option("--up-to", type=click.IntRange(1), help="Pass only what lies before this source offset.")
@click.option("--all-no-start", is_flag=True, help="All of the channel that lack their beginning begin where they can.")
def accept_gap(
    node_file: Path,
    why: str,
    who: str | None,
    config: Path | None,
    up_to: int | None,
    *,
    yes: bool,
    all_no_start: bool,
    **named: Any,  # noqa: ANN401
) -> int:
    """Let a source partition pass the span that it waits for: those records never arrive, and it is on the record.

    `sealwire held NODE.yaml` gives the whole line. Exit code 1: nothing to decide, or no worker carried it out yet.
    """
    from sealwire.app import held as known  # noqa: PLC0415
    from sealwire.app import ordering  # noqa: PLC0415
    from sealwire.keys.order import Kind  # noqa: PLC0415

    node = options.node(node_file, config, needs="open")
    site = known.look(node)
    chosen = ordering.gaps(site, ordering.Where(**named), up_to, all_no_start=all_no_start)
    orders = ordering.make(Kind.ACCEPT_GAP, chosen, who or ordering.who_orders(), why, again=True)
    return _decide(node, site, orders, "These source offsets are passed: their records never arrive here", yes=yes)


@click.command("rewind")
@NODE
@_meant
@click.option("--to", type=click.IntRange(0), help="The next source offset to deliver. Default: where it stands.")
@click.option("--from-here", is_flag=True, help="Do not read the cloud again: what is missing comes by a reseal.")
def rewind(
    node_file: Path,
    why: str,
    who: str | None,
    config: Path | None,
    to: int | None,
    *,
    yes: bool,
    from_here: bool,
    **named: Any,  # noqa: ANN401
) -> int:
    """Let a source partition go back to a source offset, or go on from where it stands, and put that on the record.

    What lies between is asked for again, and stands twice at the sink if it was delivered there. It is the way on
    for what is held as regressed, implausible or sink-changed.
    """
    from sealwire.app import held as known  # noqa: PLC0415
    from sealwire.app import ordering  # noqa: PLC0415
    from sealwire.keys.order import Kind  # noqa: PLC0415

    node = options.node(node_file, config, needs="open")
    site = known.look(node)
    one = ordering.back(site, ordering.Where(**named), to)
    orders = ordering.make(Kind.REWIND, [one], who or ordering.who_orders(), why, again=not from_here)
    return _decide(node, site, orders, "These source offsets are delivered once more", yes=yes)


def _decide(node: Node, site: Site, orders: Sequence[Order], what: str, *, yes: bool) -> int:
    """Show, ask, write, and wait for a worker."""
    from sealwire.app import ordering  # noqa: PLC0415

    shown = [
        (
            str(each.source),
            str(each.expects.state),
            str(each.expects.reason or ""),
            str(each.span),
            f"{len(each.span):,}",
        )
        for each in orders
    ]
    screen.console().print(screen.table(what, ("source partition", "is", "why", "offsets", "how many#"), shown))
    options.agreed("Is that so decided?", yes=yes, otherwise="Nothing was decided.")
    ordering.write(node, orders)
    if site.silent:
        options.say(f"{', '.join(site.silent)}: no answer. It is written; a worker that runs carries it out.")
    left = ordering.await_all(node, orders)
    for order in orders:
        if order not in left:
            click.echo(f"{order.source}: done, order {order.id.hex()}, by {order.who}")
    if not left:
        return 0
    for order in left:
        click.echo(f"{order.source}: order {order.id.hex()} is written, and not carried out yet", err=True)
    click.echo(
        f"  cure: a worker carries it out when it runs, within a second, if {left[0].source} still stands as it was "
        f"shown; else nothing happens: look again with sealwire held {node.path}",
        err=True,
    )
    return RUNTIME


@click.group()
def quarantine() -> None:
    """Look at refused envelopes that members truly signed: kept still sealed, with their Reason and place."""


SHOWN: Final = 200  # envelopes in a table


@quarantine.command("list", short_help="List it: why, where in the cloud, and whose.")
@NODE
@CONFIG
@click.option("--last", type=click.IntRange(1), default=SHOWN, show_default=True, help="How many of the newest.")
@JSON
def quarantine_list(node_file: Path, config: Path | None, last: int, *, as_json: bool) -> int:
    """List the quarantine of the site of NODE.yaml: why each was refused, where in the cloud it stands, whose it is."""
    from sealwire.app.quarantine import read  # noqa: PLC0415

    node = options.node(node_file, config, needs="open")
    found, in_all = read(node, last)
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=2))
        return 0
    console = screen.console()
    if not found:
        _print(console, "The quarantine is empty.")
        return 0
    columns = ("since", "reason", "cloud place", "bytes#", "sender", "session", "what was seen")
    console.print(screen.table("Quarantine", columns, [each.cells(now_ms()) for each in found]))
    if in_all > len(found):
        _print(console, f"{in_all - len(found)} older ones: --last {in_all}")
    return 0
