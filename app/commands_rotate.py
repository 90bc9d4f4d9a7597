"""`rotate`: what a node's workers are to make anew now, before its time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sealwire.agents.rotation import WHAT
from sealwire.app import options
from sealwire.app.config import require
from sealwire.app.faults import RUNTIME

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rotate")
@click.argument("node_file", metavar="NODE.yaml", type=options.FILE)
@click.argument("what", type=click.Choice([*WHAT, "all"]))
@click.option("--within", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds to wait for it.")
def rotate(node_file: Path, what: str, within: int) -> int:
    """Have the workers of NODE.yaml make WHAT anew now: all of it happens by itself as well, when it is due.

    sessions: a new session secret and signing key on each channel that is sealed. receiving: new receiving keys for
    every window that was announced. credential: the authority is asked for the next one. identity: a new identity key,
    which counts when the authority's next credential names it. Records flow on meanwhile.

    No Kafka and no port is needed: the order is a file in the worker's directory. Exit code 1: a worker has not
    answered yet; it carries the order out all the same, at its next start if it does not run.
    """
    from sealwire.app.rotating import order  # noqa: PLC0415

    late = False
    for answer in order(require(node_file), what, within):
        name = f"{answer.direction} {answer.identity}"
        for each, words in answer.done or ():
            click.echo(f"{name}: {each}: {words}")
        if answer.done is None:
            late = True
            when = "it has not answered yet" if answer.runs else "it does not run: it will be done at its next start"
            click.echo(f"{name}: ordered; {when}")
    return RUNTIME if late else 0
