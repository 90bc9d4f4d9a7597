"""Options that several commands share, and how a command ends well."""

from __future__ import annotations

import functools
import shlex
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
            f"{node_file} has no mapping to {needs}, and this is about what it would {needs}.",
            f"Give the YAML of the {'receiving' if needs == 'open' else 'sending'} site.",
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


_CUSTODIES: Final[dict[str, dict[str, Any]]] = {
    "key-file": {"type": FILE, "help": "a key file"},
    "passphrase": {"is_flag": True, "help": "a passphrase: ask for it"},
    "passphrase-file": {"type": FILE, "help": "the passphrase in this file (mode 0600)"},
    "credential": {"metavar": "NAME", "help": "the credential that systemd hands to this unit under a name"},
    "key-command": {"metavar": "COMMAND", "help": "what this command prints; no shell reads it"},
}


def _custody_options(prefix: str, under: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, how in reversed(_CUSTODIES.items()):
            default = " Default: STATE/vault.key." if not prefix and name == "key-file" else ""
            command = click.option(f"--{prefix}{name}", **{**how, "help": f"{under} {how['help']}.{default}"})(command)
        return command

    return decorate


def _custody(values: dict[str, Any], prefix: str) -> Custody | None:
    """Take the options of a custody out of a command's values; None where none of them was given."""
    given = {name: values.pop(f"{prefix}{name}".replace("-", "_")) for name in _CUSTODIES}
    given = {name: value for name, value in given.items() if value is not None and value is not False}
    if len(given) > 1:
        options = [f"--{prefix}{name}" for name in _CUSTODIES]
        raise Failure(
            "A vault is under one thing.",
            f"Give one of {', '.join(options[:-1])} and {options[-1]}.",
            code=CONFIGURATION,
        )
    if not given:
        return None
    return Custody(
        given.get("key-file"),
        given.get("passphrase-file"),
        credential=given.get("credential"),
        command=_words(given.get("key-command"), f"--{prefix}key-command"),
    )


def _words(text: str | None, option: str) -> tuple[str, ...]:
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise Failure(f"{option} cannot be taken apart: {error}.", "Close its quotes.", code=CONFIGURATION) from None
    if not words or not words[0]:
        raise Failure(f"{option} names no program.", f"Like: {option} 'tpm2_unseal -c 0x81018001'", code=CONFIGURATION)
    return words


def identity(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--state` and the options of a custody, as `state` and `custody`."""

    @click.option("--state", type=DIRECTORY, help="Where identities live. Default: $SEALWIRE_STATE or ~/.sealwire.")
    @_custody_options("", "The vault is under")
    @functools.wraps(command)
    def wrapped(*args: Any, state: Path | None, **rest: Any) -> Any:  # noqa: ANN401
        state = state or default_state()
        custody = _custody(rest, "") or Custody(default_key_file(state))
        return command(*args, state=state, custody=custody, **rest)

    return wrapped


def agreed(question: str, *, yes: bool, otherwise: str = "Nothing was changed.") -> None:
    """Ask a person, unless told `--yes`; raises `Failure` where the answer is no, or nobody is there to answer.

    ``otherwise`` is what was not done then. An answer may be piped in; where there is none to be read the command line
    lacks `--yes`, and the exit code is that of a wrong one.
    """
    if yes:
        return
    try:
        sure = click.confirm(question, default=False, err=True)
    except (click.Abort, OSError, RuntimeError) as error:  # the last ones: standard input is closed
        if isinstance(error.__context__, KeyboardInterrupt):
            raise
        click.echo("", err=True)  # the question stands there without an end
        raise Failure(
            f"{otherwise} Nobody is there to answer: standard input ends, or is closed.",
            "Look at what is shown above. If it is right: the same again with --yes.",
            code=CONFIGURATION,
        ) from None
    if not sure:
        raise Failure(otherwise, "Answer y, or give --yes.")


def next_custody(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of another custody, `--to-key-file` and so on, as `following: Custody | None`."""

    @_custody_options("to-", "Put it under")
    @functools.wraps(command)
    def wrapped(*args: Any, **rest: Any) -> Any:  # noqa: ANN401
        return command(*args, following=_custody(rest, "to-"), **rest)

    return wrapped


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
