"""`sealwire audit`: the audit trails of identities and authorities, checked and shown."""

from __future__ import annotations

import json
import re
from itertools import starmap
from typing import TYPE_CHECKING

import click
from rich.text import Text

from sealwire.agents.words import count
from sealwire.app import options, screen
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, did_you_mean
from sealwire.app.moment import past
from sealwire.app.project import now_ms

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.app.trail_check import Part
    from sealwire.app.trail_line import Line

FILES = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=options.FILE)
_DIGEST = re.compile(r"[0-9a-f]{64}")


@click.group()
def audit() -> None:
    """Check and show audit trails: `<state>/<identity>/trail.jsonl`, and `trail.jsonl` of a project's directory."""


@audit.command("verify")
@FILES
@click.option("--last", "noted", metavar="DIGEST", multiple=True, help="A last digest that you noted; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def verify(files: tuple[Path, ...], noted: tuple[str, ...], *, as_json: bool) -> int:
    """Check that no line of audit trails was altered, left out or moved, and give the last digest of each.

    Note that digest where nobody who can write the file can reach it, and give it with --last next time: then a tail
    that was cut off is noticed, and a chain that was made anew. Files that were put aside (trail-NUMBER.jsonl) are
    given together with the one that goes on. Exit code 1: something is wrong.
    """
    from sealwire.app.trail_check import check  # noqa: PLC0415

    for digest in noted:
        if not _DIGEST.fullmatch(digest):
            raise Failure(
                f"--last {digest[:80]} is no digest: it has 64 hex digits.",
                "As `sealwire audit verify` gave it.",
                code=CONFIGURATION,
            )
    checked = check(files, noted)
    if as_json:
        told = {"whole": checked.whole, "files": [part.as_json() for part in checked.parts], "lost": checked.lost}
        click.echo(json.dumps(told, indent=2))
        return 0 if checked.whole else RUNTIME
    console = screen.console()
    for part in checked.parts:
        for line in _words(part):
            console.print(Text(screen.plain(line), style="bold red" if part.wrong else ""), soft_wrap=True)
    for digest in checked.lost:
        words = f"{digest} is in none of them: a tail was cut off, the chain was made anew, or a file is not given"
        console.print(Text(words, style="bold red"), soft_wrap=True)
    return 0 if checked.whole else RUNTIME


def _words(part: Part) -> list[str]:
    from sealwire.app.trail_line import moment  # noqa: PLC0415

    if part.first is None or part.last is None:
        return [f"{part.file}: {part.wrong or 'empty: nothing was noted yet'}"]
    first, last = part.first, part.last
    found = [
        f"{part.file}: {part.wrong or 'whole'}",
        f"  {count(part.lines, 'line')}, number {first.n} to {last.n}, {moment(first.at)} to {moment(last.at)}"
        + (" before that" if part.wrong else ""),
    ]
    if part.missing:
        found.append(f"  {count(part.missing, 'event')} could not be written: a disk was full, or slow")
    if part.torn:
        torn = count(part.torn, "time")
        found.append(f"  {torn} a crash left a line unwhole: torn-trail.jsonl beside it has its bytes")
    return [*found, f"  last digest {last.digest}"]


@audit.command("show")
@FILES
@click.option("--event", "-e", "events", metavar="EVENT", multiple=True, help="Only these events; may be repeated.")
@click.option("--where", "-w", metavar="NAME=VALUE", multiple=True, help="Only where that stands; may be repeated.")
@click.option("--since", metavar="TIME", help="Only since 2026-01-31T12:00 (UTC), or 3h for three hours ago.")
@click.option("--newest", type=click.IntRange(1), help="Only the newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, as they stand in the file.")
def show(
    files: tuple[Path, ...],
    events: tuple[str, ...],
    where: tuple[str, ...],
    since: str | None,
    newest: int | None,
    *,
    as_json: bool,
) -> int:
    """Show what audit trails tell, in the order of time. Exit code 1: one of the files is not whole.

    Lines that are not true are left out. What is before the first line of a file is not asked: `audit verify` does.
    """
    from sealwire.app import trail_check, trail_line  # noqa: PLC0415

    begin = None if since is None else past(since, "--since", now_ms())
    wanted = [pair.partition("=") for pair in where]
    for name, equals, _ in wanted:
        if not equals:
            raise Failure(f"--where {name} has no '='.", "Like: --where channel=orders", code=CONFIGURATION)

    def fits(line: Line) -> bool:
        return (
            (not events or line.event in events)
            and (begin is None or line.at >= begin)
            and all(str(line.fields.get(name)) == value for name, _, value in wanted)
        )

    found = {file: list(trail_check.lines(file)) for file in files}
    read = [line for of_file in found.values() for line in of_file]
    true = [line for line in read if not isinstance(line, bytes)]
    shown = sorted((line for line in true if fits(line)), key=lambda line: line.at)[-(newest or 0) :]
    if as_json:
        for line in shown:
            click.echo(trail_line.make(line.n, line.at, line.event, line.fields, line.previous)[0], nl=False)
    else:
        rows = [
            (
                trail_line.moment(line.at),
                line.event,
                " ".join(f"{name}={value}" for name, value in line.fields.items()),
            )
            for line in shown
        ]
        if rows:
            screen.console().print(screen.table("Audit trail", ("at", "event", "of what"), rows))
    if not shown:
        unknown = [did_you_mean(each, trail_line.EVENTS) for each in events if each not in trail_line.EVENTS]
        options.say(" ".join([f"Nothing of {count(len(true), 'line')} is shown.", *filter(None, unknown)]))
    left_out = len(read) - len(true)
    if left_out:
        options.say(f"left out, since not true: {count(left_out, 'line')}")
    wrong = [part for part in starmap(trail_check.part_of, found.items()) if part.wrong]
    for part in wrong:
        options.say(f"warning: {screen.plain(f'{part.file}: {part.wrong}')}")
    return RUNTIME if wrong else 0
