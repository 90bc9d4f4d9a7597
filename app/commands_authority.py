"""What keeps an authority: running it, answering by hand, its backup, and going on after a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sealwire.app import authority as authorities
from sealwire.app import backup, catchup, options, papers
from sealwire.app import project as projects
from sealwire.app.books import RESTORED
from sealwire.app.cloudlog import CloudLog
from sealwire.app.custody import Custody
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, Faults
from sealwire.app.inspect import stamp
from sealwire.app.lockdir import DirectoryLock
from sealwire.app.names import project_topics
from sealwire.app.office import REACH_S, Office, publish_charter
from sealwire.app.options import say
from sealwire.app.project import BOOTSTRAP, now_ms
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from pathlib import Path

_PASSPHRASE = click.option(
    "--passphrase-file", type=options.FILE, help="The passphrase in this file (mode 0600). Default: ask."
)
_AT_LEAST = click.option(
    "--at-least",
    type=click.IntRange(0),
    default=0,
    metavar="VERSION",
    help="A charter version that some member knows; the cloud may hide it.",
)
_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.group()
def authority() -> None:
    """Answer requests by the books."""


@authority.command("run")
@options.project_directory
@options.cloud
@click.option("--once", is_flag=True, help="Answer what waits, then end.")
def authority_run(directory: Path, cloud: options.CloudOptions, *, once: bool) -> None:
    """Answer the requests that come over the cloud, until stopped."""
    projects.open_project(directory)
    lock = DirectoryLock(directory, "authority.lock", "authority")
    try:
        with authorities.opened(directory) as judge, options.ends_on_signals():
            cluster = cloud.cluster(judge.books.setting(BOOTSTRAP) or "")
            with CloudLog(cluster, say) as log:
                answered = Office(judge, log, now_ms, say).run(once=once)
            say(f"{answered} answered")
    finally:
        lock.close()


@authority.command("admit")
@click.argument("request", type=options.FILE)
@click.option("--answer", required=True, type=options.FILE, help="Where to write the answer.")
@options.project_directory
def authority_admit(request: Path, answer: Path, directory: Path) -> int:
    """Answer a request that came as a file. Exit code 1: it is refused, and the answer says so."""
    (statement, *_) = papers.read(papers.REQUEST, request)
    with authorities.opened(directory) as judge:
        try:
            verdict = judge.decide(statement, now_ms())
        except Rejected as refusal:
            raise Failure(
                f"{request} is no request to project {judge.project.name}: {refusal.detail or refusal.reason}.",
                "Is it of another project, or was it altered on its way?",
                code=CONFIGURATION,
            ) from None
    say(verdict.words)
    papers.put(papers.ANSWER, answer, [verdict.answer, *judge.project.chain])
    say(f"Bring {answer} back, and there: sealwire enroll --answer {answer.name} --identity NAME")
    if verdict.member is None:
        return RUNTIME
    say("Others hear of the member from the cloud: `sealwire authority run --once` publishes its credential.")
    return 0


@authority.command("backup")
@click.argument("file", type=options.FILE)
@options.project_directory
@_PASSPHRASE
def authority_backup(file: Path, directory: Path, passphrase_file: Path | None) -> None:
    """Write books, authority keys and roots into FILE, under a passphrase; the authority may run meanwhile."""
    opened = projects.open_project(directory)
    backup.write(opened, file, Custody(passphrase_file=passphrase_file), now_ms())
    say(f"The backup of project {opened.name} is in {file}. Keep it off this machine, and its passphrase elsewhere.")
    say("Root keys are not in it: each needs a copy of its own, offline.")


@authority.command("restore")
@click.argument("file", type=options.FILE)
@options.project_directory
@options.cloud
@_PASSPHRASE
@_AT_LEAST
@_YES
def authority_restore(
    file: Path,
    directory: Path,
    cloud: options.CloudOptions,
    passphrase_file: Path | None,
    at_least: int,
    *,
    yes: bool,
) -> int:
    """Put the backup FILE into an empty directory, and take over what the cloud knows of since."""
    opened, taken_at = backup.restore(file, directory, Custody(passphrase_file=passphrase_file))
    say(f"Project {opened.name} is restored as it was {stamp(taken_at)}.")
    return _catch_up(directory, cloud, at_least, yes=yes)


@authority.command("catch-up")
@options.project_directory
@options.cloud
@_AT_LEAST
@_YES
def authority_catch_up(directory: Path, cloud: options.CloudOptions, at_least: int, *, yes: bool) -> int:
    """Take over what the cloud knows and restored books do not: the charter, members, spent tickets."""
    return _catch_up(directory, cloud, at_least, yes=yes)


def _catch_up(directory: Path, cloud: options.CloudOptions, at_least: int, *, yes: bool) -> int:
    """Compare with the cloud, ask, and go on behind all that it knows."""
    lock = DirectoryLock(directory, "authority.lock", "authority")
    try:
        with authorities.opened(directory, restored=True) as judge:
            books = judge.books
            try:
                cluster = cloud.cluster(books.setting(BOOTSTRAP) or "")
                log = CloudLog(cluster, say)
                log.wait(project_topics(judge.project.name)[0], seconds=REACH_S)
            except (Failure, Faults) as error:
                say(f"NOT COMPARED WITH THE CLOUD: {error}")
                if books.setting(RESTORED):
                    say("The authority does not run before that: sealwire authority catch-up")
                return RUNTIME
            with log:
                return _take(judge, log, at_least, yes=yes)
    finally:
        lock.close()


def _take(judge: authorities.Authority, log: CloudLog, at_least: int, *, yes: bool) -> int:
    judge = judge.under(catchup.adopt_roots(judge.project, log, judge.note))
    news = catchup.look(judge.project, judge.books, log)
    if not news and not judge.books.setting(RESTORED) and at_least <= judge.charters.version:
        say("The books are the newest: nothing is to be taken over.")
        return 0
    click.echo("The cloud knows, and the books do not:")
    for line in news.told() or ["nothing more"]:
        click.echo(f"  {line}")
    say(f"The highest charter it names is {news.named}. Does a member know a higher one (its status says), the cloud")
    say("hides it: give that number with --at-least.")
    options.agreed("Take this over, and go on behind it?", yes=yes)
    version = catchup.take(judge, news, log, now_ms(), least=at_least)
    publish_charter(judge.project, judge.books, log, seconds=REACH_S)
    say(f"charter {version} is signed and published; the authority can run again.")
    say("Tickets that were made since the backup are unknown now: make new ones.")
    return 0
