"""A project's directory at its administrators: roots, root keys, authority keys, books.

root.1, root.2 ...  the roots, each signed as the one before it asks; public
root.key            signs the next root (root-1.key, root-2.key ... where there are several): it belongs offline
authority.key       signs credentials and charters; the authority needs it while it runs. One that a later root put
                    in its place is authority-N.key, N being that root's version
books.sqlite        tickets, members, charters
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.app import keyfiles
from sealwire.app.books import Books
from sealwire.app.faults import CONFIGURATION, Failure, unusable
from sealwire.app.files import write_whole
from sealwire.app.names import plain_problem
from sealwire.keys import root as roots
from sealwire.keys.reason import Misuse, Rejected

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sealwire.keys.primitives import SigningKey
    from sealwire.keys.root import Root

DAY: Final = 24 * 3600 * 1000  # ms
AUTHORITY_LIFE: Final = 400 * DAY  # a year and a month to make the next root in
NEAR_END: Final = 60 * DAY  # from when on an authority key's end is warned of
MOST_ROOT_KEYS: Final = 16

ROOT: Final = "root."  # and the version
AUTHORITY_KEYS: Final = "authority*.key"
BOOKS: Final = "books.sqlite"
BOOTSTRAP: Final = "bootstrap"  # the setting of the books that says where the cloud is


@dataclass(frozen=True)
class Project:
    """An open project directory, without its secrets: its newest root, and all roots from the first on."""

    directory: Path
    root: Root = field(repr=False)
    chain: tuple[bytes, ...] = field(repr=False)

    @property
    def name(self) -> str:
        """The name for people, and of its topics in the cloud."""
        return self.root.project_name

    @property
    def id(self) -> bytes:
        """The 32 bytes that every member pins."""
        return self.root.project_id

    def books(self) -> Books:
        """Open the books; raises `Failure`."""
        return Books(self.directory / BOOKS)

    def authority_key(self, now: int | None = None) -> SigningKey:
        """Give the authority key that signs now: of those here that the newest root names, the one that ends last.

        Raises `Failure` when there is none: missing, too open, damaged, ended, distrusted, or not the root's.
        """
        found = [keyfiles.read_signing_key(file) for file in sorted(self.directory.glob(AUTHORITY_KEYS))]
        signing = max(found, key=lambda each: self.end_of(each.public), default=None)
        if signing is None:
            raise Failure(
                f"There is no authority.key in {self.directory}.",
                "Put it back from where it is kept, or have the root name another: sealwire root draft.",
                code=CONFIGURATION,
            )
        if self.end_of(signing.public) < 0:
            raise Failure(
                f"{self.directory / AUTHORITY_KEYS} is not a key that the root of project {self.name} names.",
                "Put back the one that was made with it, or have the next root name this one: sealwire root draft.",
                code=CONFIGURATION,
            )
        if now is not None and now > self.end_of(signing.public):
            raise Failure(
                f"The authority key of project {self.name} has ended: members believe nothing that it signs now.",
                "Make the next root with another: sealwire root draft OUT --new-authority-key.",
                code=CONFIGURATION,
            )
        return signing

    def end_of(self, public: bytes) -> int:
        """Give the time (ms) at which an authority key ends; -1 where the newest root does not trust it at all."""
        distrusted = {each for each, _ in self.root.distrusted}
        ends = {each: until for _, each, until in self.root.authority_keys}
        return -1 if public in distrusted else ends.get(public, -1)


def root_file(directory: Path, version: int) -> Path:
    """Name the file of a root version."""
    return directory / f"{ROOT}{version}"


def now_ms() -> int:
    """Give the time as statements have it: ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def root_key_files(directory: Path, count: int) -> list[Path]:
    """Name the files in which a new project's root keys are made."""
    return [directory / ("root.key" if count == 1 else f"root-{number}.key") for number in range(1, count + 1)]


def create(
    name: str,
    directory: Path,
    *,
    root_keys: int = 1,
    threshold: int | None = None,
    escrow: Sequence[tuple[str, bytes]] = (),
) -> Project:
    """Make a project, offline, with so many root keys, of which a threshold (left out: more than half) must sign.

    `escrow` are (name, receiving key). Raises `Failure` where one is; a run that was killed is simply run again.
    """
    problem = plain_problem(name)
    if problem:
        raise Failure(f"The project's name {problem}.", code=CONFIGURATION)
    needed = root_keys // 2 + 1 if threshold is None else threshold
    if not 1 <= needed <= root_keys <= MOST_ROOT_KEYS:
        raise Failure(
            f"{needed} of {root_keys} root keys cannot sign a root.",
            f"At most {MOST_ROOT_KEYS} root keys, and a threshold from 1 to their number: --root-keys 3 --threshold 2",
            code=CONFIGURATION,
        )
    if root_file(directory, 1).exists():
        raise Failure(
            f"There is a project in {directory} already.", "Take another --directory: it is never overwritten.", code=2
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        signers = [keyfiles.make_signing_key(file) for file in root_key_files(directory, root_keys)]
        authority_key = keyfiles.make_signing_key(directory / "authority.key")
        Books(directory / BOOKS, create=True).close()
        (directory / BOOKS).chmod(0o600)
        now = now_ms()
        ends = [(authority_key.public, now + AUTHORITY_LIFE)]
        statement = roots.make_first(name, signers, needed, ends, escrow, now)
        write_whole(root_file(directory, 1), statement, 0o644)  # last: it is what says that there is a project
    except OSError as error:
        raise unusable("The project", f"made in {directory}", error) from None
    except Misuse as error:
        raise Failure(
            f"The project cannot be made: {error}.",
            "Name each escrow key once, under a name of its own.",
            code=CONFIGURATION,
        ) from None
    return open_project(directory)


def open_project(directory: Path) -> Project:
    """Open a project directory; raises `Failure` when there is none, or a root does not follow the one before it."""
    try:
        chain = [root_file(directory, 1).read_bytes()]
    except OSError:
        raise Failure(
            f"There is no project in {directory}.",
            "Name its directory with --directory, or make one: sealwire project create NAME",
            code=CONFIGURATION,
        ) from None
    file = root_file(directory, 1)
    try:
        root = roots.read_first(chain[0])
        while (file := root_file(directory, root.version + 1)).exists():
            chain.append(file.read_bytes())
            root = roots.read_next(chain[-1], root)
    except (Rejected, OSError) as refusal:
        words = refusal.strerror if isinstance(refusal, OSError) else refusal.detail or str(refusal.reason)
        raise Failure(
            f"{file} is damaged: {words}.",
            "It is public: copy it back from the cloud's control topic or from any member.",
            code=CONFIGURATION,
        ) from None
    return Project(directory, root, tuple(chain))


def take_root(project: Project, statement: bytes) -> Project:
    """Put the next root into the directory, if it follows; raises `Rejected` where it does not, and `Failure`."""
    root = roots.read_next(statement, project.root)
    try:
        write_whole(root_file(project.directory, root.version), statement, 0o644)
    except OSError as error:
        raise unusable(f"Root {root.version}", "written", error) from None
    return Project(project.directory, root, (*project.chain, statement))
