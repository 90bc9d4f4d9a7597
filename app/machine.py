"""What a node's YAML says of its own machine: ports, state, and what opens the vault."""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from sealwire.app import names
from sealwire.app.custody import Custody, default_key_file, default_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.agents.settings import Direction
    from sealwire.app.document import Section, Word

DIRECTIONS: Final[tuple[Direction, Direction]] = ("seal", "open")
LOCALHOST: Final = "127.0.0.1"
CUSTODIES: Final = ("key_file", "passphrase_file", "credential", "command", "passphrase")  # one of them opens a vault


def web_ports(
    document: Section, ways: tuple[Direction, ...], project: str, identities: Mapping[Direction, str]
) -> dict[Direction, int]:
    """Read the local port of each worker: as told, else one that follows from its names."""
    ports = {way: names.web_port(project, identities.get(way, ""), way) for way in ways}
    if len(set(ports.values())) < len(ports):
        ports["open"] += 1  # two of 4,000 met: the next one, for ever
    if not document.has("web_port"):
        document.value("web_port")
        return ports
    value = document.value("web_port")
    section = document.section("web_port") if value is not None and isinstance(value, yaml.MappingNode) else None
    if value is not None and section is None:
        port = document.number("web_port", 0, 1, 65535)
        if len(ways) > 1:
            document.fault("web_port", "one port for two workers", "web_port: {seal: 6066, open: 6067}")
        return dict.fromkeys(ways, port)
    if section is not None:
        for way in DIRECTIONS:
            if section.has(way) or way in ways:
                ports[way] = section.number(way, ports.get(way, 0), 1, 65535)
        if len(set(ports.values())) < len(ports):
            section.fault("open", f"{ports['open']} is the sealing worker's port too", "give each its own")
        section.close()
    return ports


def web_host(document: Section) -> str:
    """Read the address that the ports are opened at."""
    word = document.word("web_host")
    if word is None:
        return LOCALHOST
    try:
        return str(ipaddress.ip_address(word.text))
    except ValueError:
        if word.text == "localhost":
            return LOCALHOST
        document.fault("web_host", f"'{word.text}' is no IP address", "0.0.0.0 for all interfaces; left out: localhost")
        return LOCALHOST


def custody(document: Section, base: Path, state: Path) -> Custody:
    """Read what opens the vault."""
    section = document.section("vault")
    if section is None:
        return Custody(key_file=default_key_file(state))
    key_file = section.word("key_file")
    passphrase_file = section.word("passphrase_file")
    credential = section.word("credential")
    command = section.words("command", cure="the program and each of its arguments: [tpm2_unseal, -c, 0x81018001]")
    asked = section.choice("passphrase", ("ask",), "a key file")
    if section.has("passphrase") and asked is None and section.node.value:
        section.fault("passphrase", "a passphrase never stands in a YAML", "name its file: passphrase_file: FILE")
    given = [name for name in CUSTODIES if section.has(name)]
    for more in given[1:]:
        section.fault(more, f"stands beside {given[0]}", "keep one of them")
    section.close()
    if not given:
        section.fault("key_file", "nothing says what opens the vault", "vault: {key_file: FILE}")
    if credential and "/" in credential.text:
        section.fault("credential", "is a path", "the name that LoadCredential= gives it, or: key_file: FILE")
    if command and not command[0].text:
        section.fault("command", "names no program", "begin with one")
    return Custody(
        path_of(base, key_file) if key_file else None,
        path_of(base, passphrase_file) if passphrase_file else None,
        credential=credential.text if credential else None,
        command=tuple(_program(base, command[0]) if not at else word.text for at, word in enumerate(command)),
    )


def _program(base: Path, word: Word) -> str:
    """Take a program with a '/' as relative to the YAML, as every path in it; one without is looked for in PATH."""
    return str(path_of(base, word)) if "/" in word.text or word.text.startswith("~") else word.text


def state_directory(document: Section, base: Path) -> Path:
    """Read where identities, vaults and working files are kept."""
    word = document.word("state")
    if word is None:
        return default_state()
    state = path_of(base, word)
    above = state
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        document.fault("state", f"{above} is not a directory", "name a directory")
    elif not os.access(above, os.W_OK | os.X_OK):
        document.fault("state", f"this user cannot write into {above}", "run as its owner, or name another directory")
    return state


def path_of(base: Path, word: Word) -> Path:
    """Take a path as relative to the YAML, so that it does not matter from where a command is run."""
    return Path(os.path.normpath(base / Path(word.text).expanduser()))
