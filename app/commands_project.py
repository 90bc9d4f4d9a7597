"""What an administrator does: a project, its cloud topics, tickets, and the authority that answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from sealwire.app import authority as authorities
from sealwire.app import duration, options, topics
from sealwire.app import project as projects
from sealwire.app.clientfile import bootstrap_problem
from sealwire.app.cloudlog import CloudLog
from sealwire.app.commands_root import escrow_option
from sealwire.app.faults import Fault, Faults, unusable
from sealwire.app.files import refuse_existing, write_whole
from sealwire.app.names import plain_problem
from sealwire.app.office import publish_roots
from sealwire.app.options import say
from sealwire.app.project import BOOTSTRAP, now_ms
from sealwire.keys.wire import good_name

if TYPE_CHECKING:
    from pathlib import Path

_MOST_LIFE: Final = 90 * projects.DAY
_MOST_VALUE: Final = 200  # characters of an attribute's value


@click.group()
def project() -> None:
    """Make a project: one authority and its members."""


@project.command("create")
@click.argument("name")
@options.project_directory
@click.option("--root-keys", default=1, show_default=True, help="How many root keys there are, each in a file.")
@click.option("--threshold", type=int, help="How many of them must sign the next root. Default: more than half.")
@click.option("--escrow", multiple=True, metavar="NAME=PUBLIC_FILE", help="Name a key of `sealwire escrow create`.")
def project_create(name: str, directory: Path, root_keys: int, threshold: int | None, escrow: tuple[str, ...]) -> None:
    """Make a project here, offline: root, root keys, authority key and books."""
    named = [escrow_option(each) for each in escrow]
    made = projects.create(name, directory, root_keys=root_keys, threshold=threshold, escrow=named)
    click.echo(made.id.hex())
    say(f"Project {name} is made in {directory.resolve()}; above is its id.")
    files = [file.name for file in projects.root_key_files(directory, root_keys)]
    if root_keys == 1:
        say(f"Move {files[0]} to a place that is offline: only the next root needs it, the authority runs without.")
    else:
        say(f"Carry {', '.join(files)} away, each to another holder and disk, offline:")
        say(f"{made.root.threshold} of them sign the next root, and only that needs them: the authority runs without.")
    say("Next: sealwire project cloud --bootstrap HOST:PORT [--kafka-config FILE]")


@project.command("cloud")
@options.project_directory
@options.cloud
def project_cloud(directory: Path, cloud: options.CloudOptions) -> None:
    """Make the project's three topics in the cloud, and publish its root there. Runs again as often as you like."""
    opened = projects.open_project(directory)
    books = opened.books()
    cluster = cloud.cluster(books.setting(BOOTSTRAP) or "")
    made = topics.make_project_topics(cluster, opened.name)
    with CloudLog(cluster, say) as log:
        published = publish_roots(opened, log)
    books.note(BOOTSTRAP, cluster.bootstrap)
    books.close()
    say(f"topics made: {', '.join(made) or 'none, they were there'}")
    say(f"root {opened.root.version} {'published' if published else 'was there'}")
    say("Next: sealwire ticket create --attribute role=member --attribute site=SITE > NAME.ticket")
    say(f"and, where requests are to be answered: sealwire authority run --bootstrap {cluster.bootstrap}")


@click.group()
def ticket() -> None:
    """Make tickets: one enrolment each."""


@ticket.command("create")
@options.project_directory
@click.option(
    "--attribute", "-a", "attributes", multiple=True, metavar="NAME=VALUE", help="Say role=member and site=..."
)
@click.option(
    "--expires", default="24h", show_default=True, metavar="TIME", help="How long it can be spent: 30m, 24h, 7d."
)
@click.option("--bootstrap", "-b", metavar="HOST:PORT", help="The cloud's Kafka, as the site reaches it.")
@click.option("--out", type=options.FILE, help="Write to this file (mode 0600) instead of standard output.")
def ticket_create(
    directory: Path, attributes: tuple[str, ...], expires: str, bootstrap: str | None, out: Path | None
) -> None:
    """Make a one-time ticket, and print it: `> producer1.ticket`."""
    if out:
        refuse_existing(out)
    found, life = _asked(attributes, expires, bootstrap)
    with authorities.opened(directory) as judge:
        address = bootstrap or judge.books.setting(BOOTSTRAP) or ""
        text = judge.make_ticket(found, life, address, os.urandom, now_ms())
    if out:
        try:
            write_whole(out, text)
        except OSError as error:
            raise unusable(str(out), "written", error) from None
    else:
        options.standard_output(text)
    whom = f"site {found['site']}" if "site" in found else "a site named as the member"
    say(f"A ticket of project {judge.project.name} for {whom}, {expires}.")
    say("Whoever has it first can enrol with it: hand it over as you would a password.")
    if not address:
        say("It does not say where the cloud is: enroll needs --bootstrap (`project cloud` notes it for tickets).")
    if found.get("role") != "member":
        say("Its member may neither send nor read yet: without a charter that takes the attribute role=member.")


def _asked(pairs: tuple[str, ...], expires: str, bootstrap: str | None) -> tuple[dict[str, str], int]:
    """Read what a ticket shall say: attributes, and its life in ms. Raises `Faults`: all that cannot be."""
    found: dict[str, str] = {}
    faults: list[Fault] = []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        problem = _problem(name, equals, value, found)
        if problem:
            faults.append(_fault(f"--attribute {pair}", problem, "like --attribute site=berlin"))
        found[name] = value
    life = 1000 * (duration.length(expires) or 0)
    if not 0 < life <= _MOST_LIFE:
        limit = duration.shown(_MOST_LIFE // 1000)
        faults.append(_fault(f"--expires {expires}", f"is no time of up to {limit}", "like 30m, 24h or 7d"))
    unreachable = bootstrap_problem(bootstrap) if bootstrap else ""
    if unreachable:
        faults.append(_fault("--bootstrap", unreachable, "like --bootstrap cloud.example:9092"))
    if faults:
        raise Faults(faults)
    return found, life


def _fault(option: str, problem: str, cure: str) -> Fault:
    return Fault("command line", 0, 0, option, problem, cure)


def _problem(name: str, equals: str, value: str, before: dict[str, str]) -> str:
    """Say why a ticket cannot give an attribute; empty when it can."""
    return (
        "has no '='" if not equals
        else f"'{name}' cannot be an attribute's name" if not good_name(name)
        else f"gives '{name}' twice" if name in before
        else f"needs a value of 1 to {_MOST_VALUE} characters" if not 0 < len(value) <= _MOST_VALUE
        else f"names a site that {plain_problem(value)}" if name == "site" and plain_problem(value)
        else ""
    )  # fmt: skip
