"""What a site does to join a project: make an identity, and enrol it with a ticket."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from sealwire.app import options
from sealwire.app.cloudlog import CloudLog
from sealwire.app.custody import Kind, make_key_file
from sealwire.app.enrolment import WAIT_S, Enrolled, Enrolment, read_ticket
from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.inspect import stamp
from sealwire.app.names import identity_problem
from sealwire.app.options import say
from sealwire.app.project import now_ms
from sealwire.app.vault import Vault, create_vault, open_vault, vault_file
from sealwire.keys import identity as identities
from sealwire.keys.secrets import Secrets
from sealwire.keys.ticket import FILE_CAP

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.app.custody import Custody
    from sealwire.keys.ticket import Ticket

UNANSWERED: Final = 1  # the exit code of an enrolment that goes on waiting


@click.group()
def identity() -> None:
    """Make identities: one for each worker."""


@identity.command("create")
@click.argument("name")
@options.identity
def identity_create(name: str, state: Path, custody: Custody) -> None:
    """Make a new identity, in a vault of its own."""
    with _create(name, state, custody) as vault:
        click.echo(vault.load().fingerprint)
    say(f"Identity {name} is made in {vault.file.parent}; above is its fingerprint.")
    say(_keep(custody))
    say(f"Next: sealwire enroll {name}.ticket --identity {name}")


@identity.command("custody")
@click.argument("name")
@options.identity
@options.next_custody
def identity_custody(name: str, state: Path, custody: Custody, following: Custody | None) -> None:
    """Put the vault of an identity under another secret. Its worker must not run meanwhile.

    The vault is opened as the options without `to-` say, and sealed anew as those with `to-` say.
    """
    if following is None:
        raise Failure(
            "Under what shall it be?",
            "Give one of --to-key-file, --to-passphrase, --to-passphrase-file, --to-credential and --to-key-command.",
            code=CONFIGURATION,
        )
    with open_vault(vault_file(state, name), custody) as vault:
        _make_key_file(following)
        vault.put_under(following)
        same = vault.opens_with(custody)
    say(_keep(following))
    if same:
        say(f"It is the same secret as before: the {custody} opens it still, and older copies of it. Keep that.")
    else:
        say(f"The former {custody} opens it no more. It opens copies of the vault that were made before: destroy both.")
    say("If the node's YAML says otherwise: set its `vault:` before the worker is started.")


def _keep(custody: Custody) -> str:
    """Say what opens a vault now, and what follows for whoever has to keep that."""
    if custody.key_file:
        return f"Its vault opens with {custody.key_file}: keep that on another disk, and keep a copy."
    what = "the passphrase" if custody.kind is Kind.PASSPHRASE else f"what comes of {custody}"
    return f"Its vault opens with {what}: without that nothing opens it, so keep a copy where it is safe."


@click.command()
@click.argument("ticket", required=False)
@click.option("--identity", "name", required=True, metavar="NAME", help="Made first if there is none of this name.")
@options.identity
@options.cloud
@click.option("--wait", default=WAIT_S, show_default=True, metavar="SECONDS", help="How long to wait for the answer.")
@click.option("--request-file", type=options.FILE, help="By hand: write the request here, send nothing.")
@click.option("--answer", type=options.FILE, help="By hand: take the authority's answer from this file.")
def enroll(
    ticket: str | None,
    name: str,
    state: Path,
    custody: Custody,
    cloud: options.CloudOptions,
    wait: float,
    request_file: Path | None,
    answer: Path | None,
) -> int:
    """Enrol an identity with the TICKET in a file, or `-` for standard input. Run again, it goes on where it was."""
    if (ticket is None) == (answer is None) or (answer and request_file):
        raise Failure(
            "Give a TICKET (a file, or - for standard input), or by hand --answer FILE.",
            "Like: sealwire enroll producer1.ticket --identity producer1",
            code=CONFIGURATION,
        )
    found = None if ticket is None else read_ticket(*_text(ticket))
    with _open_or_create(name, state, custody, may_create=found is not None) as vault:
        enrolment = Enrolment(vault, name, now_ms)
        if answer:
            return _done(name, enrolment.take_answer(answer))
        if found is None:
            raise AssertionError
        before = enrolment.already(found)
        if before:
            return _done(name, before)
        if request_file:
            enrolment.write_request(found, request_file)
            say(f"The request is in {request_file}. At the authority: sealwire authority admit {request_file.name}")
            say(f"--answer OUT; then here: sealwire enroll --answer OUT --identity {name}")
            return 0
        return _over_the_cloud(name, enrolment, found, cloud, wait)


def _over_the_cloud(
    name: str, enrolment: Enrolment, ticket: Ticket, cloud: options.CloudOptions, seconds: float
) -> int:
    enrolment.request(ticket)  # into the vault before the cloud is even looked for
    with CloudLog(cloud.cluster(ticket.cloud_bootstrap), say) as log:
        enrolled = enrolment.over_the_cloud(ticket, log, say, seconds=seconds)
    if enrolled:
        return _done(name, enrolled)
    say(f"No answer within {seconds:.0f} s. The request stays in the cloud and in the vault: nothing is lost.")
    say("Is the authority running (sealwire authority run)? Then run the same command again: it takes the answer.")
    return UNANSWERED


def _done(name: str, enrolled: Enrolled) -> int:
    credential = enrolled.credential
    attributes = ", ".join(f"{key}={value}" for key, value in credential.attributes)
    say(f"Identity {name} is {'already ' if enrolled.before else ''}enrolled: {attributes}.")
    if credential.not_after < now_ms():
        say(f"Its credential {credential.serial} ended {stamp(credential.not_after)}:")
        say("its worker asks for the next one while the authority runs (sealwire authority run).")
    else:
        say(f"Its credential {credential.serial} holds until {stamp(credential.not_after)}; its worker renews it.")
    say(f"Next: name it in the node's YAML (identity: {name}, site: {credential.site}), then: sealwire up NODE.yaml")
    return 0


def _text(ticket: str) -> tuple[bytes, str]:
    if ticket == "-":
        return sys.stdin.buffer.read(FILE_CAP + 1), "What came on standard input"
    try:
        with open(ticket, "rb") as file:  # noqa: PTH123 - a name that was typed
            return file.read(FILE_CAP + 1), ticket
    except OSError as error:
        raise unusable(f"The ticket {ticket}", "read", error) from None


def _open_or_create(name: str, state: Path, custody: Custody, *, may_create: bool) -> Vault:
    if may_create and not vault_file(state, name).exists():
        vault = _create(name, state, custody)
        say(f"made identity {name} ({vault.load().fingerprint}) in {vault.file.parent}")
        return vault
    return open_vault(vault_file(state, name), custody)


def _create(name: str, state: Path, custody: Custody) -> Vault:
    problem = identity_problem(name)
    if problem:
        raise Failure(f"The identity's name {problem}.", code=CONFIGURATION)
    try:
        _make_key_file(custody)
        return create_vault(vault_file(state, name), custody, Secrets.begin(identities.create(os.urandom, now_ms())))
    except OSError as error:
        raise unusable("The identity", f"made in {state}", error) from None


def _make_key_file(custody: Custody) -> None:
    if custody.key_file:
        make_key_file(custody.key_file)
