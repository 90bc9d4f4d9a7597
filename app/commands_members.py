"""`sealwire members`, `sessions` and the charter of a node: what this site's workers believe of their project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from sealwire.app import options, screen
from sealwire.app.faults import CONFIGURATION, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sealwire.app.belief import Belief

NODE = click.argument("node_file", metavar="NODE.yaml", type=options.FILE)
JSON = click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")


@click.command()
@click.argument("node_file", metavar="[NODE.yaml]", required=False, type=options.FILE)
@click.option("--directory", "-d", type=options.DIRECTORY, help="Instead: what this project's books have.")
@JSON
def members(node_file: Path | None, directory: Path | None, *, as_json: bool) -> None:
    """Show who is a member now, as the workers of NODE.yaml believe, and what each may do on its channels.

    Read are the vault, whether or not a worker runs, and the project's control topic in the cloud. With --directory it
    is what the authority has in its books (who may do what, everywhere: sealwire charter show).
    """
    from sealwire.app import belief, roster  # noqa: PLC0415

    if (node_file is None) == (directory is None):
        raise Failure(
            "One of NODE.yaml and --directory is needed.",
            "sealwire members NODE.yaml, or at the authority: sealwire members --directory DIRECTORY",
            code=CONFIGURATION,
        )
    if directory is not None:
        places: list[tuple[str, str]] = []
        believed = belief.of_project(directory)
        found = roster.entries(believed, places)
    else:
        assert node_file is not None  # noqa: S101 - one of the two is there
        node = options.node(node_file, None)
        believed, places = belief.of_node(node), belief.places(node)
        found = roster.with_vetoes(node, roster.entries(believed, places))
    if as_json:
        told = [each.as_json(of_books=directory is not None) for each in found]
        _print_json(node_file, believed, members=told)
        return
    shown = [at for at, name in enumerate(roster.COLUMNS) if directory is None or name not in roster.OF_NODES]
    rows = [[each.cells(places)[at] for at in shown] for each in found]
    screen.console().print(screen.table(_title(believed), [roster.COLUMNS[at] for at in shown], rows))
    _print_notes(believed.notes)


@click.command()
@NODE
@JSON
def sessions(node_file: Path, *, as_json: bool) -> None:
    """Show the live sessions: whose they are, how many were granted them, and whether NODE.yaml's identity opens them.

    A session that no grant opens here is only claimed: its statement is signed, and nothing proves the secret.
    """
    from sealwire.app import belief, live  # noqa: PLC0415

    believed = belief.of_node(options.node(node_file, None), sessions=True)
    found, refused = live.sessions(believed)
    if as_json:
        _print_json(node_file, believed, sessions=[each.as_json() for each in found], refused_in_sessions=dict(refused))
        return
    rows = [each.cells(believed.now) for each in found]
    screen.console().print(screen.table(_title(believed), live.COLUMNS, rows))
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
    _print_notes([*believed.notes, *([f"grants and progress that are not believed: {told}"] if told else [])])


def show_charter(node_file: Path | None, directory: Path, *, as_json: bool) -> None:
    """Show the charter that the workers of a node go by, else that of a project's books: `charter show`."""
    from sealwire.app import belief  # noqa: PLC0415

    believed = belief.of_project(directory) if node_file is None else belief.of_node(options.node(node_file, None))
    charter, trust = believed.trust.charter, believed.trust
    if as_json:
        _print_json(
            node_file,
            believed,
            age_ms=believed.now - charter.as_of if charter.version else None,
            policies=[
                {
                    "channel": row.channel,
                    "cloud_topic": row.cloud_topic,
                    "produce": {name: list(values) for name, values in row.produce},
                    "consume": {name: list(values) for name, values in row.consume},
                    "backfill_ms": row.backfill,
                }
                for row in charter.policies
            ],
            refusals=[
                {
                    "member_id": row.member_id.hex(),
                    "name": trust.name_of(row.member_id),
                    "since_ms": row.since,
                    "why": row.why,
                }
                for row in charter.refusals
            ],
            min_suite=charter.min_suite,
            min_format=charter.min_format,
            max_age_ms=charter.max_age,
        )
        return
    console = screen.console()
    rows = [
        (row.channel, row.cloud_topic, _table(row.produce), _table(row.consume), _length(row.backfill))
        for row in charter.policies
    ]
    console.print(screen.table(_title(believed), ("channel", "cloud topic", "produce", "consume", "backfill"), rows))
    if charter.refusals:
        refused = [
            (trust.name_of(row.member_id), screen.when(row.since) if row.since else "ever", row.why)
            for row in charter.refusals
        ]
        console.print(screen.table("Refused", ("member", "since", "why"), refused))
    bounds = [f"max_age {_length(charter.max_age)}"] if charter.max_age else ["no max_age"]
    bounds += [f"min_suite {charter.min_suite}", f"min_format {charter.min_format}"]
    _print_notes([", ".join(bounds), *believed.notes])


def _title(believed: Belief) -> str:
    charter = believed.trust.charter
    since = (
        f"charter {charter.version} as of {screen.ago(believed.now - charter.as_of)} ago"
        if charter.version
        else "charter 0, which is built in"
    )
    return f"Project {believed.trust.root.project_name} as {believed.identity} sees it: {since} (times are UTC)"


def _table(table: Iterable[tuple[str, Iterable[str]]]) -> str:
    return " and ".join(f"{name}={'|'.join(values)}" for name, values in table) or "nobody"


def _length(ms: int) -> str:
    from sealwire.app.duration import shown  # noqa: PLC0415

    return "" if not ms else shown(ms // 1000)


def _print_json(node_file: Path | None, believed: Belief, **rest: Any) -> None:  # noqa: ANN401
    node = None if node_file is None else str(node_file)
    click.echo(json.dumps({"node": node, **believed.as_json(), **rest}, indent=2))


def _print_notes(lines: Iterable[str]) -> None:
    for line in lines:
        screen.console().print(Text(screen.plain(line)), soft_wrap=True)
