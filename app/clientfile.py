"""The client file that people already have: Java's properties, read into what librdkafka calls the same things."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.agents.settings import Cluster
from sealwire.app.faults import Fault, Faults
from sealwire.app.properties import parse
from sealwire.app.security import Reading

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST = 1 << 20  # bytes
MOST_PORT = 65535


@dataclass(frozen=True)
class ClientFile:
    """What a client file says: ``security`` under librdkafka's names (it may hold secrets and is never shown).

    ``ignored`` names the settings that are no business of a bridge.
    """

    bootstrap: str
    security: Mapping[str, str] = field(repr=False)
    ignored: tuple[str, ...] = ()


def read(path: Path) -> ClientFile:
    """Read a client file; raises `Faults` with everything that is wrong in it, and never shows a value of it."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        what = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise Faults([Fault(str(path), 0, 0, "", what, "name the client file of this cluster")]) from None
    if len(content) > LARGEST:
        raise Faults([Fault(str(path), 0, 0, "", f"is larger than {LARGEST} bytes", "is it another file?")])
    return read_text(content.decode("latin-1"), path)  # as Java reads it; other characters are written \\uXXXX


def read_text(text: str, path: Path) -> ClientFile:
    """Read the text of a client file; ``path`` is what faults name, and what its files are relative to."""
    reading = Reading(path, parse(text))
    reading.read()
    bootstrap = reading.text("bootstrap.servers")
    if bootstrap and (problem := bootstrap_problem(bootstrap)):
        reading.fault("bootstrap.servers", problem)
    if reading.faults:
        raise Faults(reading.faults)
    return ClientFile(bootstrap.strip(), reading.security, tuple(reading.ignored))


def cluster(
    bootstrap: str | None, kafka_config: Path | None, *, otherwise: str = "", embedded: bool = False
) -> Cluster:
    """Make a cluster of a command's options; raises `Faults`.

    Its address is ``bootstrap``, else what the client file says (another login may have another listener), else
    ``otherwise``.
    """
    client = read(kafka_config) if kafka_config else ClientFile("", {})
    address = bootstrap or client.bootstrap or otherwise
    if not address:
        where = str(kafka_config) if kafka_config else "command line"
        cure = "name the cluster with --bootstrap HOST:PORT"
        raise Faults([Fault(where, 0, 0, "bootstrap.servers", "is missing", cure)])
    problem = bootstrap_problem(address)
    if problem:
        raise Faults([Fault("command line" if bootstrap else str(kafka_config), 0, 0, "bootstrap", problem)])
    return Cluster(address, embedded, client.security)


def bootstrap_problem(addresses: str) -> str:
    """Say what is wrong with a list of `host:port`, comma between them; empty when nothing is."""
    for address in addresses.split(","):
        match = re.fullmatch(
            r"\s*(?:[A-Za-z_]+://)?(\[[0-9a-fA-F:.%a-z]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\s*",
            address,
        )
        if not match:
            return f"'{address.strip()}' is not host:port"
        if "://" in address:
            return f"'{address.strip()}' is an address of another kind: Kafka's are host:port"
        if not 0 < int(match[2]) <= MOST_PORT:
            return f"'{address.strip()}' has no possible port"
    return ""
