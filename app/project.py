"""A project's directory at its administrators: root, root key, authority key, books.

root.1          root version 1, the beginning of all trust; public
root.key        signs the next root; belongs offline, on another disk than the authority's
authority.key   signs credentials; the authority needs it while it runs
books.sqlite    tickets and members
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.app.books import Books
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import check_private, write_whole
from sealwire.app.names import plain_problem
from sealwire.keys import root as roots
from sealwire.keys.primitives import SEED_SIZE, SigningKey
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.keys.root import Root

DAY: Final = 24 * 3600 * 1000  # ms
AUTHORITY_LIFE: Final = 400 * DAY  # a year and a month to make the next root in

ROOT: Final = "root.1"
ROOT_KEY: Final = "root.key"
AUTHORITY_KEY: Final = "authority.key"
BOOKS: Final = "books.sqlite"


@dataclass(frozen=True)
class Project:
    """An open project directory, without its secrets."""

    directory: Path
    root: Root = field(repr=False)

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

    def authority_key(self) -> SigningKey:
        """Read the authority's key; raises `Failure` when it is missing, too open, damaged or not the root's."""
        signing = SigningKey.from_seed(_read_seed(self.directory / AUTHORITY_KEY))
        if signing.public not in {public for _, public, _ in self.root.authority_keys}:
            raise Failure(
                f"{self.directory / AUTHORITY_KEY} is not a key that the root of project {self.name} names.",
                "Put back the one that was made with it.",
                code=CONFIGURATION,
            )
        return signing


def now_ms() -> int:
    """Give the time as statements have it: ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def create(name: str, directory: Path) -> Project:
    """Make a project, offline. Raises `Failure` where one is; a run that was killed is simply run again."""
    problem = plain_problem(name)
    if problem:
        raise Failure(f"The project's name {problem}.", code=CONFIGURATION)
    if (directory / ROOT).exists():
        raise Failure(
            f"There is a project in {directory} already.", "Take another --directory: it is never overwritten.", code=2
        )
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        root_key = _make_seed(directory / ROOT_KEY)
        authority_key = _make_seed(directory / AUTHORITY_KEY)
        Books(directory / BOOKS, create=True).close()
        (directory / BOOKS).chmod(0o600)
        now = now_ms()
        statement = roots.make_first(name, [root_key], 1, [(authority_key.public, now + AUTHORITY_LIFE)], [], now)
        write_whole(directory / ROOT, statement, 0o644)  # last: it is what says that there is a project
    except OSError as error:
        raise Failure(f"The project cannot be made in {directory}: {error.strerror}.", code=CONFIGURATION) from None
    return open_project(directory)


def open_project(directory: Path) -> Project:
    """Open a project directory; raises `Failure` when there is none, or its root is damaged."""
    try:
        statement = (directory / ROOT).read_bytes()
    except OSError:
        raise Failure(
            f"There is no project in {directory}.",
            "Name its directory with --directory, or make one: sealwire project create NAME",
            code=CONFIGURATION,
        ) from None
    try:
        return Project(directory, roots.read_first(statement))
    except Rejected as refusal:
        raise Failure(
            f"{directory / ROOT} is damaged: {refusal.detail or refusal.reason}.",
            "It is public: copy it back from the cloud's control topic or from any member.",
            code=CONFIGURATION,
        ) from None


def _make_seed(file: Path) -> SigningKey:
    if not file.exists():
        write_whole(file, base64.b64encode(os.urandom(SEED_SIZE)) + b"\n")
    return SigningKey.from_seed(_read_seed(file))


def _read_seed(file: Path) -> bytes:
    try:
        check_private(file, "signing key", file.stat().st_mode)
        seed = base64.b64decode(file.read_bytes().strip(), validate=True)
    except OSError as error:
        raise Failure(
            f"The signing key {file} cannot be read: {error.strerror}.",
            "Run as its owner, in the project's directory; or put it back from where it is kept.",
            code=CONFIGURATION,
        ) from None
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_SIZE:
        raise Failure(f"The signing key {file} is damaged.", "Put it back from where it is kept.", code=CONFIGURATION)
    return seed
