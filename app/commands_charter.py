"""What an administrator decides: the charter, a YAML file that is checked and shown before it is signed; who leaves."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

import click

from sealwire.app import authority as authorities
from sealwire.app import charterfile, commands_members, dryrunwords, leaving, options
from sealwire.app.cloudlog import CloudLog
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, Faults, unusable
from sealwire.app.files import write_whole
from sealwire.app.inspect import stamp
from sealwire.app.leaving import Way
from sealwire.app.moment import past
from sealwire.app.names import project_topics
from sealwire.app.office import REACH_S, OldBooks, publish_charter, refuse_older
from sealwire.app.options import say
from sealwire.app.project import BOOTSTRAP, now_ms
from sealwire.keys import charter as charters
from sealwire.keys import dryrun

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.app.authority import Authority
    from sealwire.keys.charter import CharterFields

FORCE: Final = click.option("--force", is_flag=True, help="Sign it although it warns.")
YES: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
WHY: Final = click.option("--why", required=True, help="Stands in the charter for ever, for all members to read.")
FILE: Final = click.argument("file", metavar="FILE", type=options.FILE)


@click.group()
def charter() -> None:
    """Decide who may send and who may read."""


@charter.command("show")
@click.argument("node_file", metavar="[NODE.yaml]", required=False, type=options.FILE)
@options.project_directory
@click.option("--history", is_flag=True, help="List all versions, and what each changed.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def charter_show(node_file: Path | None, directory: Path, *, history: bool, as_json: bool) -> None:
    """Show the charter that holds: its YAML, who may what under it, and who is refused.

    With NODE.yaml it is the charter that the workers of that node go by, as the cloud shows it to them.
    """
    if history and (as_json or node_file is not None):
        raise Failure(
            "--history has no --json." if as_json else "--history is for a project's directory.",
            "sealwire charter show --directory DIRECTORY --history",
            code=CONFIGURATION,
        )
    if as_json or node_file is not None:
        commands_members.show_charter(node_file, directory, as_json=as_json)
        return
    with authorities.opened(directory) as authority:
        books = authority.books
        if history:
            if not books.charters():
                say("charter 0 is built in; no charter is signed yet.")
            for each in books.charters():
                click.echo(f"{each.version}\t{stamp(each.signed_at)}\t{each.words}")
            return
        present, row = authority.charters.present, books.charter()
        click.echo(
            f"charter {present.version}, as of {stamp(present.as_of)}, signed {stamp(row.signed_at)}"
            if row
            else "charter 0: built in, none is signed yet"
        )
        click.echo(charterfile.write(present, authority.project.name), nl=False)
        for line in leaving.refused(present, books):
            click.echo(line)
        everybody = leaving.members(books, authority.project.id)
        click.echo("\n".join(dryrunwords.rights(dryrun.compare(present, present, everybody, now_ms()))))


@charter.command("diff")
@FILE
@options.project_directory
def charter_diff(file: Path, directory: Path) -> None:
    """Show what FILE would change: for the charter, and for each member by name. Signs nothing."""
    with authorities.opened(directory) as authority:
        _show(authority, _read(authority, file))


@charter.command("sign")
@FILE
@options.project_directory
@options.cloud
@FORCE
@YES
def charter_sign(file: Path, directory: Path, cloud: options.CloudOptions, *, force: bool, yes: bool) -> int:
    """Sign FILE as the next charter, after showing what it changes, and publish it."""
    with authorities.opened(directory) as authority:
        return _sign(authority, file, cloud, force=force, yes=yes)


@charter.command("edit")
@click.option(
    "--file", type=options.FILE, help="The file to edit; one that is there is gone on with. Default: in the project."
)
@options.project_directory
@options.cloud
@FORCE
@YES
def charter_edit(file: Path | None, directory: Path, cloud: options.CloudOptions, *, force: bool, yes: bool) -> int:
    """Edit the charter's YAML with $EDITOR; then it is checked, shown as a difference, and signed if you agree."""
    with authorities.opened(directory) as authority:
        present = authority.charters.present
        chosen = file or directory / "charter.yaml"
        if not chosen.exists():
            refused = tuple(leaving.refused(present, authority.books))
            try:
                write_whole(chosen, charterfile.write(present, authority.project.name, refused).encode(), 0o644)
            except OSError as error:
                raise unusable(str(chosen), "written", error) from None
        try:
            click.edit(filename=str(chosen))
        except click.ClickException as error:
            raise Failure(
                f"No editor could be run: {error.format_message()}",
                f"Set $EDITOR; or edit {chosen} yourself, then: sealwire charter sign {chosen}",
                code=CONFIGURATION,
            ) from None
        try:
            code = _sign(authority, chosen, cloud, force=force, yes=yes)
        except (Failure, Faults):
            say(f"What you wrote is in {chosen}: the same command goes on with it; remove the file to begin anew.")
            raise
        if file is None:
            chosen.unlink(missing_ok=True)
        return code


@click.command()
@click.argument("member")
@WHY
@options.project_directory
@options.cloud
@FORCE
def revoke(member: str, why: str, directory: Path, cloud: options.CloudOptions, *, force: bool) -> int:
    """Refuse MEMBER altogether: nothing of it that is not delivered yet is delivered, whatever its date."""
    return _refuse(member, Way.REVOKE, why, directory, cloud, force=force)


@click.command()
@click.argument("member")
@WHY
@options.project_directory
@options.cloud
@FORCE
def retire(member: str, why: str, directory: Path, cloud: options.CloudOptions, *, force: bool) -> int:
    """Let MEMBER go, as a good leaver: what it made until now counts on, and nothing from now on."""
    return _refuse(member, Way.RETIRE, why, directory, cloud, force=force)


@click.command()
@click.argument("member")
@click.option("--since", required=True, metavar="TIME", help="2026-01-31T12:00 (UTC), or 3h for three hours ago.")
@WHY
@options.project_directory
@options.cloud
@FORCE
def exclude(member: str, since: str, why: str, directory: Path, cloud: options.CloudOptions, *, force: bool) -> int:
    """Refuse what MEMBER made since its keys were stolen, from 130 minutes before: so far back may a thief date it.

    Where the node was off by then, name its last run; in doubt, revoke.
    """
    return _refuse(member, Way.EXCLUDE, why, directory, cloud, force=force, since=since)


def _refuse(
    word: str, way: Way, why: str, directory: Path, cloud: options.CloudOptions, *, force: bool, since: str = ""
) -> int:
    now = now_ms()
    start = past(since, "--since", now) if way is Way.EXCLUDE else 0
    with authorities.opened(directory) as authority:
        books, project = authority.books, authority.project
        leaver = leaving.find(books, word)
        row = leaving.refusal(leaver, way, why, now, start)
        present = authority.charters.present
        warned = leaving.locks_out(present, row, leaving.members(books, project.id), now)
        _warn(dryrunwords.warnings(warned, present), force=force)
        signed = authority.charters.refuse(row, f"{way.value} {leaver.name}: {row.why}", now)
        if signed is None:
            say(f"{leaver.name} is refused already, since then or earlier. Rows are never taken back.")
        else:
            say(f"charter {signed.version}: {signed.words}")
            for line in leaving.consequences(leaver, way, row, books, project.id, present):
                say(line)
        return _publish(authority, cloud)


def _read(authority: Authority, file: Path) -> CharterFields:
    """Read a charter's file; refuses one that was made from a charter whose policies changed since."""
    present = authority.charters.present
    fields, follows = charterfile.read(file, present)
    made_from = next((row for row in authority.books.charters() if row.version == follows), None)
    if follows is None or follows == present.version:
        return fields
    former = charters.BUILT_IN if made_from is None else charters.peek(made_from.statement, authority.project.id)
    if follows > present.version or _decided(former) != _decided(present):
        raise Failure(
            f"{file} follows charter {follows}, and charter {present.version} holds, which says something else.",
            "See what changed (sealwire charter show --history), put it into the file, and say in it: "
            f"follows: {present.version}",
            code=CONFIGURATION,
        )
    return fields


def _decided(fields: CharterFields) -> tuple[object, ...]:
    return fields.policies, fields.min_suite, fields.min_format, fields.max_age


def _show(authority: Authority, fields: CharterFields) -> list[str]:
    """Show what would change; gives the warnings."""
    present, project = authority.charters.present, authority.project
    before, after = (charterfile.write(each, project.name).splitlines() for each in (present, fields))
    for line in difflib.unified_diff(before, after, f"charter {present.version}", "the file", lineterm="", n=2):
        click.echo(line)
    everybody = leaving.members(authority.books, project.id)
    now = now_ms()
    click.echo("\n".join(dryrunwords.differences(dryrun.compare(present, fields, everybody, now))))
    warned = dryrunwords.warnings(dryrun.concerns(present, fields, everybody, now), fields)
    for line in warned:
        click.echo(f"warning: {line}", err=True)
    return warned


def _warn(lines: list[str], *, force: bool) -> None:
    for line in lines:
        click.echo(f"warning: {line}", err=True)
    if lines and not force:
        raise Failure("Nothing was signed, because of what is warned of above.", "If it is meant so: --force")


def _sign(authority: Authority, file: Path, cloud: options.CloudOptions, *, force: bool, yes: bool) -> int:
    fields = _read(authority, file)
    if _decided(fields) == _decided(authority.charters.present) and authority.charters.version:
        say("The file says what holds already; nothing was signed.")
        return 0
    if _show(authority, fields) and not force:
        raise Failure("Nothing was signed, because of what is warned of above.", "If it is meant so: --force")
    options.agreed("Sign this?", yes=yes)
    row = authority.charters.sign(fields, f"from {file.name}", now_ms())
    say(f"charter {row.version} is signed")
    return _publish(authority, cloud)


def _publish(authority: Authority, cloud: options.CloudOptions) -> int:
    """Publish the newest charter; where the cloud cannot be reached, say what will."""
    books, project = authority.books, authority.project
    try:
        cluster = cloud.cluster(books.setting(BOOTSTRAP) or "")
        with CloudLog(cluster, say) as log:
            log.wait(project_topics(project.name)[0], seconds=REACH_S)
            refuse_older(project, books, log)
            version = publish_charter(project, books, log, seconds=REACH_S)
    except OldBooks as error:
        say(f"NOT PUBLISHED: {error}")
        say("It is in these books, and goes on from there: sealwire authority catch-up publishes it.")
        return RUNTIME
    except (Failure, Faults) as error:
        say(f"NOT PUBLISHED: {error}")
        say("It is in the books. A running authority of this directory publishes it within a second of reaching the")
        say("cloud; else run this again: sealwire authority run --once")
        return RUNTIME
    say(f"charter {version} is published")
    return 0
