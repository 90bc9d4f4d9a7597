"""A node's YAML: read whole, every fault named with its place, or a `Node` that is right as far as a file can tell."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml

from sealwire.agents.settings import Cluster, Direction, Settings
from sealwire.app import clientfile, names
from sealwire.app.custody import Custody, default_key_file, default_state
from sealwire.app.document import Findings, Section, Word, read_document
from sealwire.app.faults import Fault, Faults
from sealwire.app.mapping import ENTRY, OpenMapping, SealMapping, read_mappings

if TYPE_CHECKING:
    from collections.abc import Mapping

LANES: Final = 16
MOST_LANES: Final = 256
LINGER_MS: Final = 10
DIRECTIONS: Final[tuple[Direction, Direction]] = ("seal", "open")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LATER: Final = (("manage_topics", "remove it, and run `sealwire topics apply`"),)


@dataclass(frozen=True)
class Node:
    """The workers of one YAML file on one machine. Secrets: only the clusters', never shown."""

    path: Path
    project: str
    site: str
    identities: Mapping[Direction, str]
    state: Path
    local: Cluster
    cloud: Cluster
    mappings: tuple[SealMapping | OpenMapping, ...]
    custody: Custody
    web_ports: Mapping[Direction, int]
    lanes: int = LANES
    linger_ms: int = LINGER_MS
    log_level: str = "info"

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that have mappings: one worker each."""
        return tuple(way for way in DIRECTIONS if (self.sealing if way == "seal" else self.opening))

    @property
    def sealing(self) -> tuple[SealMapping, ...]:
        """The mappings of the sealing side."""
        return tuple(mapping for mapping in self.mappings if isinstance(mapping, SealMapping))

    @property
    def opening(self) -> tuple[OpenMapping, ...]:
        """The mappings of the opening side."""
        return tuple(mapping for mapping in self.mappings if isinstance(mapping, OpenMapping))

    def directory(self, direction: Direction) -> Path:
        """Where the worker of a direction keeps its vault, lock and working files."""
        return self.state / self.identities[direction]

    def settings(self, direction: Direction) -> Settings:
        """Give what the agents of a direction are told."""
        return Settings(
            project=self.project,
            site=self.site,
            identity=self.identities[direction],
            direction=direction,
            state=self.directory(direction),
            local=self.local,
            cloud=self.cloud,
            seal=tuple(mapping.route() for mapping in self.sealing) if direction == "seal" else (),
            open=tuple(mapping.route() for mapping in self.opening) if direction == "open" else (),
            lanes=self.lanes,
            linger_ms=self.linger_ms,
            web_port=self.web_ports[direction],
        )


def load(path: Path) -> Node | list[Fault]:
    """Read a node's YAML and the client files it names; gives every fault at once, in the order of their places."""
    findings = Findings(str(path))
    document = read_document(path, findings)
    node = _read_node(document, path, findings) if document is not None else None
    if findings.faults:
        return sorted(findings.faults)
    assert node is not None  # noqa: S101 - nothing is left out without a fault
    return node


def require(path: Path) -> Node:
    """Read a node's YAML; raises `Faults` with every fault."""
    node = load(path)
    if isinstance(node, Node):
        return node
    raise Faults(node)


def _read_node(document: Section, path: Path, findings: Findings) -> Node | None:
    base = path.absolute().parent
    project = _name(document, "project", names.plain_problem, "the name given to `sealwire project create`")
    site = _name(document, "site", names.plain_problem, "the site named by the identity's ticket")
    state = _state(document, base)
    local = _cluster(document, "local", base, findings)
    cloud = _cluster(document, "cloud", base, findings)
    sections = document.sections("mappings", cure=ENTRY)
    embedded = local is not None and local.embedded
    one_cluster = local is not None and cloud is not None and bool(_addresses(local) & _addresses(cloud))
    entries = read_mappings(sections, project, embedded=embedded, one_cluster=one_cluster)
    sealing = any(section.has("seal") for section in sections)
    opening = any(section.has("open") for section in sections)
    ways = tuple(way for way in DIRECTIONS if (sealing if way == "seal" else opening))
    identities = _identities(document, ways)
    ports = _web_ports(document, ways, project, identities)
    custody = _custody(document, base, state)
    lanes = document.number("lanes", LANES, 1, MOST_LANES)
    linger_ms = document.number("linger_ms", LINGER_MS, 0, 10_000)
    level = document.choice("log_level", LOG_LEVELS, "info")
    document.close(LATER)
    if findings.faults or local is None or cloud is None:
        return None
    return Node(
        path=path.absolute(),
        project=project,
        site=site,
        identities=identities,
        state=state,
        local=local,
        cloud=cloud,
        mappings=tuple(entry.mapping for entry in entries),
        custody=custody,
        web_ports=ports,
        lanes=lanes,
        linger_ms=linger_ms,
        log_level=level.text if level else "info",
    )


def _name(section: Section, setting: str, problem_of: names.Rule, cure: str) -> str:
    word = section.word(setting, required=True, cure=cure)
    if word is None:
        return ""
    problem = problem_of(word.text)
    if problem:
        section.fault(setting, problem)
        return ""
    return word.text


def _identities(document: Section, ways: tuple[Direction, ...]) -> dict[Direction, str]:
    example = "identity: {seal: producer1, open: consumer1}"
    value = document.value("identity", required=True, cure=example if len(ways) > 1 else "identity: NAME")
    if value is None:
        return {}
    found: dict[Direction, str] = {}
    section = document.section("identity") if isinstance(value, yaml.MappingNode) else None
    if section is None:
        name = _name(document, "identity", names.identity_problem, example)
        if name and len(ways) > 1:
            document.fault("identity", "one name for two workers: sealing and opening have an identity each", example)
        return dict.fromkeys(ways, name)
    for way in DIRECTIONS:
        if way in ways or section.has(way):
            found[way] = _name(section, way, names.identity_problem, f"the mappings {way}: name who does it")
    if "seal" in found and found["seal"] and found["seal"] == found.get("open"):
        section.fault("open", f"'{found['open']}' is the sealing identity too: each worker has one of its own", example)
    section.close()
    return found


def _web_ports(
    document: Section, ways: tuple[Direction, ...], project: str, identities: Mapping[Direction, str]
) -> dict[Direction, int]:
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


def _custody(document: Section, base: Path, state: Path) -> Custody:
    section = document.section("vault")
    if section is None:
        return Custody(key_file=default_key_file(state))
    key_file = section.word("key_file")
    passphrase_file = section.word("passphrase_file")
    asked = section.choice("passphrase", ("ask",), "a key file")
    if section.has("passphrase") and asked is None and section.node.value:
        section.fault("passphrase", "a passphrase never stands in a YAML", "name its file: passphrase_file: FILE")
    given = [name for name in ("key_file", "passphrase_file", "passphrase") if section.has(name)]
    if len(given) > 1:
        section.fault(given[1], f"stands beside {given[0]}", "keep one of them")
    section.close()
    if not given:
        section.fault("key_file", "neither key_file nor passphrase_file is there", "vault: {key_file: FILE}")
    if key_file:
        return Custody(key_file=_path(base, key_file))
    return Custody(passphrase_file=_path(base, passphrase_file)) if passphrase_file else Custody()


def _state(document: Section, base: Path) -> Path:
    word = document.word("state")
    if word is None:
        return default_state()
    state = _path(base, word)
    above = state
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        document.fault("state", f"{above} is not a directory", "name a directory")
    elif not os.access(above, os.W_OK | os.X_OK):
        document.fault("state", f"this user cannot write into {above}", "run as its owner, or name another directory")
    return state


def _cluster(document: Section, setting: str, base: Path, findings: Findings) -> Cluster | None:
    section = document.section(setting, required=True, cure=setting + ': {bootstrap: "HOST:PORT"}')
    if section is None:
        return None
    broker = section.choice("broker", ("kafka", "embedded"), "kafka")
    config = section.word("kafka_config")
    client: clientfile.ClientFile | None = None
    if config is not None:
        client = _client_file(section, config, base, findings)
    bootstrap = section.word("bootstrap", required=config is None, cure='bootstrap: "HOST:PORT"')
    section.close()
    address = bootstrap.text if bootstrap else ""
    if bootstrap is not None and (problem := clientfile.bootstrap_problem(address)):
        section.fault("bootstrap", problem, "host:port, several with a comma between them")
    if client is not None and client.bootstrap:
        if address and _split(address) != _split(client.bootstrap):
            section.fault(
                "bootstrap", f"is another one than bootstrap.servers in {config.text if config else ''}", "keep one"
            )
        address = address or client.bootstrap
    elif client is not None and not address and not section.has("bootstrap"):
        section.fault("bootstrap", "is missing here and in kafka_config", 'bootstrap: "HOST:PORT"')
    return Cluster(address, broker is not None and broker.text == "embedded", client.security if client else {})


def _client_file(section: Section, config: Word, base: Path, findings: Findings) -> clientfile.ClientFile | None:
    try:
        return clientfile.read(_path(base, config))
    except Faults as found:
        for fault in found.faults:
            if fault.line or fault.setting:
                findings.faults.append(fault)
            else:
                section.fault("kafka_config", f"{fault.file}: {fault.problem}", fault.cure)
    return None


def _path(base: Path, word: Word) -> Path:
    """Take a path as relative to the YAML, so that it does not matter from where a command is run."""
    return Path(os.path.normpath(base / Path(word.text).expanduser()))


def _addresses(cluster: Cluster) -> set[str]:
    return _split(cluster.bootstrap)


def _split(bootstrap: str) -> set[str]:
    return {address.strip().lower() for address in bootstrap.split(",") if address.strip()}
