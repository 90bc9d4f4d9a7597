"""Options that several commands share, and how a command ends well."""

from __future__ import annotations

import functools
import signal
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from sealwire.app import clientfile
from sealwire.app.custody import Custody, default_key_file, default_state
from sealwire.app.faults import CONFIGURATION, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from sealwire.agents.settings import Cluster, Direction
    from sealwire.app.config import Node

FILE: Final = click.Path(path_type=Path, dir_okay=False)
DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)


class Stopped(BaseException):
    """A signal asked this process to end. Not an error: everything it does can be cut off anywhere."""


def say(words: str) -> None:
    """Write a line for the person at the terminal: to standard error, so that output can be piped on."""
    click.echo(words, err=True)


def node(node_file: Path, config: Path | None, *, needs: Direction | None = None) -> Node:
    """Read NODE.yaml, with another login for its local cluster where a client file is given.

    Raises `Faults`, and `Failure` where it has no mapping in the direction that is needed.
    """
    from sealwire.app.config import require  # noqa: PLC0415

    found = require(node_file)
    if needs is not None and needs not in found.directions:
        raise Failure(
            f"{node_file} has no mapping to {needs}: there is nothing of it to decide here.",
            "It is decided at the receiving site." if needs == "open" else "",
            code=CONFIGURATION,
        )
    if config is None:
        return found
    local = clientfile.cluster(None, config, otherwise=found.local.bootstrap, embedded=found.local.embedded)
    return replace(found, local=local)


def project_directory(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--directory`, as `directory`."""
    return click.option(
        "--directory", "-d", type=DIRECTORY, default=Path(), show_default="here", help="The project's directory."
    )(command)


def cloud(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--bootstrap`, `--kafka-config` and `--embedded`, as `cloud: CloudOptions`."""

    @click.option(
        "--bootstrap", "-b", metavar="HOST:PORT", help="The cloud's Kafka. Default: the ticket's or project's."
    )
    @click.option("--kafka-config", type=FILE, help="A Java-style client file with the login for it.")
    @click.option("--embedded", is_flag=True, help="The cloud is the embedded broker of the demo.")
    @functools.wraps(command)
    def wrapped(*args: Any, bootstrap: str | None, kafka_config: Path | None, embedded: bool, **rest: Any) -> Any:  # noqa: ANN401
        return command(*args, cloud=CloudOptions(bootstrap, kafka_config, embedded=embedded), **rest)

    return wrapped


class CloudOptions:
    """What a command line said of the cloud."""

    def __init__(self, bootstrap: str | None, kafka_config: Path | None, *, embedded: bool) -> None:
        """Keep it; read the file when it is needed."""
        self._bootstrap = bootstrap
        self._kafka_config = kafka_config
        self._embedded = embedded

    def cluster(self, otherwise: str = "") -> Cluster:
        """Give the cluster, at another address where the command line and client file name none; raises `Faults`."""
        return clientfile.cluster(self._bootstrap, self._kafka_config, otherwise=otherwise, embedded=self._embedded)


def identity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--state`, `--key-file`, `--passphrase` and `--passphrase-file`, as `state` and `custody`."""

    @click.option("--state", type=DIRECTORY, help="Where identities live. Default: $SEALWIRE_STATE or ~/.sealwire.")
    @click.option("--key-file", type=FILE, help="The vault's key file. Default: STATE/vault.key.")
    @click.option("--passphrase", is_flag=True, help="The vault is under a passphrase: ask for it.")
    @click.option("--passphrase-file", type=FILE, help="The vault is under the passphrase in this file (mode 0600).")
    @functools.wraps(command)
    def wrapped(
        *args: Any,  # noqa: ANN401
        state: Path | None,
        key_file: Path | None,
        passphrase: bool,
        passphrase_file: Path | None,
        **rest: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        if sum((key_file is not None, passphrase, passphrase_file is not None)) > 1:
            raise Failure(
                "A vault is under one thing.",
                "Give one of --key-file, --passphrase and --passphrase-file.",
                code=CONFIGURATION,
            )
        state = state or default_state()
        custody = Custody(key_file, passphrase_file)
        if not (key_file or passphrase or passphrase_file):
            custody = Custody(default_key_file(state))
        return command(*args, state=state, custody=custody, **rest)

    return wrapped


def agreed(question: str, *, yes: bool) -> None:
    """Ask a person, unless told `--yes`; raises `Failure` where the answer is no, or there is nobody to ask."""
    try:
        sure = yes or click.confirm(question, default=False, err=True)
    except click.Abort:
        sure = False
    if not sure:
        raise Failure("Nothing was changed.", "Answer y, or give --yes.")


@contextmanager
def ends_on_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the block quietly."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Stopped:
        say("stopped")
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def standard_output(content: bytes) -> None:
    """Write bytes to standard output as they are."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
