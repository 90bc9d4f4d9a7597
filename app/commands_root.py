"""What the holders of root keys do, each on a machine of their own: draft, look at, sign and finish the next root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from sealwire.app import keyfiles, options, papers, rootchange, rootwords
from sealwire.app import project as projects
from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.files import refuse_existing
from sealwire.app.moment import length, past
from sealwire.app.options import say
from sealwire.app.project import now_ms
from sealwire.app.trail import FILE, Trail
from sealwire.keys import root as roots
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import good_name

if TYPE_CHECKING:
    from sealwire.app.project import Project
    from sealwire.keys.root import Draft, Root

YES: Final = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
DRAFT: Final = click.argument("draft_file", metavar="DRAFT", type=options.FILE)


@click.group()
def root() -> None:
    """Change the root: which root keys sign, who is the authority, which escrow keys there are."""


@root.command("key")
@click.argument("file", type=options.FILE)
def root_key(file: Path) -> None:
    """Make a root key in FILE (mode 0600), and its public half in FILE.pub for whoever drafts the next root."""
    public = keyfiles.public_file(file)
    refuse_existing(file, public)
    try:
        signing = keyfiles.make_signing_key(file)
    except OSError as error:
        raise unusable(str(file), "written", error) from None
    keyfiles.write_public(public, keyfiles.ROOT, signing.public)
    click.echo(rootwords.fingerprint(signing.public))
    say(f"Root key made; above is its fingerprint. Keep {file} offline, and a copy. It counts once a root names it:")
    say(f"sealwire root draft OUT --add-root-key {public.name}")


@root.command("draft")
@click.argument("out", type=options.FILE)
@options.project_directory
@click.option(
    "--add-root-key", multiple=True, metavar="PUBLIC_FILE", type=options.FILE, help="Name a key of `sealwire root key`."
)
@click.option("--remove-root-key", multiple=True, metavar="FINGERPRINT", help="Name this root key no more.")
@click.option("--threshold", type=int, help="How many root keys must sign the root after it.")
@click.option("--new-authority-key", is_flag=True, help="Make another authority key here, to be named by the root.")
@click.option(
    "--until", default="400d", show_default=True, metavar="TIME", help="How long the new authority key counts."
)
@click.option("--drop-authority-key", multiple=True, metavar="FINGERPRINT", help="Name this authority key no more.")
@click.option("--distrust-authority-key", multiple=True, metavar="FINGERPRINT", help="This authority key was stolen.")
@click.option("--since", metavar="TIME", help="Distrust only what it dates later; a thief dates as it likes.")
@click.option("--escrow", multiple=True, metavar="NAME=PUBLIC_FILE", help="Name a key of `sealwire escrow create`.")
@click.option("--remove-escrow", multiple=True, metavar="NAME", help="Name this escrow key no more.")
def root_draft(
    out: Path,
    directory: Path,
    add_root_key: tuple[Path, ...],
    remove_root_key: tuple[str, ...],
    threshold: int | None,
    until: str,
    drop_authority_key: tuple[str, ...],
    distrust_authority_key: tuple[str, ...],
    since: str | None,
    escrow: tuple[str, ...],
    remove_escrow: tuple[str, ...],
    *,
    new_authority_key: bool,
) -> None:
    """Draft the next root into OUT: the present one with changes. It counts for nothing until enough have signed."""
    now = now_ms()
    if since is not None and not distrust_authority_key:
        raise Failure(
            "--since goes with --distrust-authority-key.",
            "Leave it out where the key was stolen: a thief dates what it signs as it likes.",
            code=CONFIGURATION,
        )
    start = 0 if since is None else past(since, "--since", now)
    distrust = dict.fromkeys(distrust_authority_key, start) if distrust_authority_key else None
    life = length(until, "--until")
    found = [(keyfiles.read_public(file, keyfiles.ROOT)) for file in add_root_key]
    named = [escrow_option(each) for each in escrow]
    project = projects.open_project(directory)
    _spare(out, project)
    wanted = rootchange.Changes(
        add_root_keys=found,
        remove_root_keys=remove_root_key,
        threshold=threshold,
        add_authority_key=(_next_authority_key(project), now + life) if new_authority_key else None,
        drop_authority_keys=drop_authority_key,
        distrust=distrust,
        add_escrow=named,
        remove_escrow=remove_escrow,
    )
    statement = rootchange.draft(project.root, wanted, now)
    _write(out, statement, project.chain)
    drafted = roots.read_draft(statement, project.root)
    _show(drafted)
    _warn(project, drafted)
    say(f"Bring {out} to the holders of the root keys; there: sealwire root sign {out.name} --root-key FILE")


@root.command("show")
@click.argument("draft_file", metavar="[DRAFT]", required=False, type=options.FILE)
@options.project_directory
def root_show(draft_file: Path | None, directory: Path) -> None:
    """Show in what DRAFT differs from the root before it, and who has signed; without DRAFT the present root."""
    if draft_file is None:
        present = projects.open_project(directory)
        click.echo(f"root {present.root.version} of project {present.name} ({present.id.hex()})")
        click.echo("\n".join(rootwords.said(present.root)))
        return
    drafted, _ = _read(draft_file, directory)
    _show(drafted)


@root.command("sign")
@DRAFT
@click.option("--root-key", "key_file", required=True, type=options.FILE, help="The holder's own root key.")
@click.option("--out", type=options.FILE, help="Write the signed draft there. Default: in place of DRAFT.")
@options.project_directory
@YES
def root_sign(draft_file: Path, key_file: Path, out: Path | None, directory: Path, *, yes: bool) -> None:
    """Sign DRAFT with a root key, after showing what it changes. Needs no project directory: the draft has it all."""
    drafted, chain = _read(draft_file, directory)
    signing = keyfiles.read_signing_key(key_file)
    try:
        signed = roots.sign(drafted, signing)
    except Rejected:
        raise Failure(
            f"{key_file} is no root key of project {drafted.fields.project_name}: neither root "
            f"{drafted.former.version} nor the draft names {rootwords.fingerprint(signing.public)}.",
            "Take the root key itself; `sealwire root show DRAFT` has the fingerprints.",
            code=CONFIGURATION,
        ) from None
    _show(drafted)
    if drafted.signed_by(signing.public):
        say("This key has signed it already.")
        return
    options.agreed("Sign this?", yes=yes)
    _write(out or draft_file, signed.statement, chain)
    say(rootwords.lacking(signed))


@root.command("finish")
@click.argument("draft_files", metavar="DRAFT...", nargs=-1, required=True, type=options.FILE)
@options.project_directory
def root_finish(draft_files: tuple[Path, ...], directory: Path) -> None:
    """Put the root that enough have signed into the project; copies that were signed apart are joined."""
    project = projects.open_project(directory)
    statements = [papers.read(papers.DRAFT, file)[0] for file in draft_files]
    try:
        drafted = roots.read_draft(statements[0], project.root, *statements[1:])
        taken = projects.take_root(project, drafted.statement) if drafted.lacking == (0, 0) else None
    except Rejected as refusal:
        raise _no_draft(draft_files[0], project.root, refusal) from None
    if taken is None:
        former, new = drafted.lacking
        raise Failure(
            f"Too few have signed root {drafted.fields.version}: it lacks {former} more of the keys of root "
            f"{project.root.version}, and {new} more of its own.",
            f"sealwire root sign {draft_files[0].name} --root-key FILE, at their holders.",
        )
    trail = Trail(directory / FILE)
    trail.note("root", version=taken.root.version)
    trail.settle()
    say(f"Root {taken.root.version} is in {taken.directory}. A running authority")
    say("publishes it within a second; else: sealwire project cloud")


@click.group()
def escrow() -> None:
    """Make escrow keys: they open all sessions from the root on that names them."""


@escrow.command("create")
@click.argument("file", type=options.FILE)
def escrow_create(file: Path) -> None:
    """Make a receiving key pair: the private half in FILE (mode 0600), the public one in FILE.pub."""
    public = keyfiles.make_escrow(file)
    click.echo(rootwords.fingerprint(keyfiles.read_public(public, keyfiles.ESCROW)))
    say(f"Escrow key made; above is its fingerprint. {file} opens whatever the project seals: keep it offline, on a")
    say("disk of its own, and a copy. Only a root names escrow keys:")
    say(f"sealwire project create NAME --escrow NAME={public.name}, or sealwire root draft OUT with the same")


def escrow_option(text: str) -> tuple[str, bytes]:
    """Read NAME=PUBLIC_FILE; raises `Failure`."""
    name, equals, file = text.partition("=")
    if not equals or not good_name(name):
        raise Failure(
            f"--escrow {text} is not NAME=PUBLIC_FILE.", "Like: --escrow vault=escrow.pub", code=CONFIGURATION
        )
    return name, keyfiles.read_public(Path(file), keyfiles.ESCROW)


def _next_authority_key(project: Project) -> bytes:
    file = project.directory / f"authority-{project.root.version + 1}.key"
    try:
        public = keyfiles.make_signing_key(file).public
    except OSError as error:
        raise unusable(str(file), "written", error) from None
    say(f"{file} signs once the root counts: leave it there.")
    return public


def _read(file: Path, directory: Path) -> tuple[Draft, tuple[bytes, ...]]:
    """Read a draft with the roots that came with it; where a project is in the directory, it must be of that one."""
    statement, *chain = papers.read(papers.DRAFT, file)
    former = None
    try:
        former = roots.read_first(chain[0] if chain else b"")
        for each in chain[1:]:
            former = roots.read_next(each, former)
        if projects.root_file(directory, 1).exists():
            present = projects.open_project(directory).root
            roots.read_draft(statement, present)
        drafted = roots.read_draft(statement, former)
    except Rejected as refusal:
        raise _no_draft(file, former, refusal) from None
    return drafted, tuple(chain)


def _no_draft(file: Path, former: Root | None, refusal: Rejected) -> Failure:
    """Say why a draft is none here."""
    cure = {
        Reason.OUTDATED: "The draft is outdated, or was made for a later root: draft it anew from the present one.",
        Reason.FORK: "It is another draft than the other file, or follows another root: draft anew, sign that one.",
        Reason.OTHER_PROJECT: "It is of another project: name that one's directory.",
        Reason.UNKNOWN_SIGNER: "Somebody signed it whose key neither root names: begin again from the draft.",
        Reason.BAD_SIGNATURE: "It was altered after it was signed: begin again from the draft.",
    }.get(refusal.reason, "It is damaged: copy it again, or draft it anew.")
    after = f" after root {former.version}" if former else ""
    return Failure(f"{file} is no draft{after}: {refusal.detail or refusal.reason}.", cure, code=CONFIGURATION)


def _show(drafted: Draft) -> None:
    former, fields = drafted.former, drafted.fields
    click.echo(f"root {fields.version} of project {fields.project_name} ({former.project_id.hex()}),")
    click.echo(f"following root {former.version}:")
    for line in rootwords.differences(former, fields) or ["nothing but its date is different"]:
        click.echo(f"  {line}")
    click.echo("\n".join(rootwords.progress(drafted)))


def _warn(project: Project, drafted: Draft) -> None:
    distrusted = {public for public, _ in drafted.fields.distrusted}
    left = {public: until for _, public, until in drafted.fields.authority_keys if public not in distrusted}
    if not left:
        say("warning: no authority key counts under it: nobody is admitted or renewed. --new-authority-key makes one.")
    elif max(left.values()) - now_ms() < projects.NEAR_END:
        say("warning: its authority key ends soon. --new-authority-key makes another.")
    if drafted.fields.threshold == 1 and project.root.threshold > 1:
        say("warning: one root key alone will sign the next root.")


def _spare(out: Path, project: Project) -> None:
    """Raise `Failure` where a draft would be written over what is none, or over one that a holder has signed."""
    if not out.exists():
        return
    try:
        drafted = roots.read_draft(papers.read(papers.DRAFT, out)[0], project.root)
    except Failure:
        refuse_existing(out)
    except Rejected:
        return  # it is done with: of another root than the present one
    else:
        if any(drafted.signed_by(public) for _, public in (*drafted.former.root_keys, *drafted.fields.root_keys)):
            refuse_existing(out)


def _write(file: Path, statement: bytes, chain: tuple[bytes, ...]) -> None:
    papers.put(papers.DRAFT, file, [statement, *chain])
