"""A node's YAML: read whole, every fault named with its place, or a `Node` that is right as far as a file can tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from sealwire.agents.settings import Cluster, Direction, How, Lifetimes, Settings
from sealwire.app import clientfile, crossing, lifetimes, machine, names, together
from sealwire.app.document import Findings, Section, Word, read_document
from sealwire.app.faults import Fault, Faults
from sealwire.app.machine import DIRECTIONS, LOCALHOST, path_of
from sealwire.app.mapping import ENTRY, OpenMapping, SealMapping, delivery_of, read_mappings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sealwire.app.custody import Custody

LANES: Final = 16
MOST_LANES: Final = 256
LINGER_MS: Final = 10
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("text", "json")


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
    log_format: str = "text"
    web_host: str = LOCALHOST
    manage_topics: bool = False
    lifetimes: Lifetimes = field(default_factory=Lifetimes)

    @property
    def one_cluster(self) -> bool:
        """Whether local and cloud are the same cluster, as far as their addresses tell."""
        return bool(_addresses(self.local) & _addresses(self.cloud))

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

    @property
    def delivery(self) -> How:
        """How the site delivers: all its mappings say the same."""
        return self.opening[0].delivery if self.opening else delivery_of(embedded=self.local.embedded)

    def directory(self, direction: Direction) -> Path:
        """Where the worker of a direction keeps its vault, lock and working files."""
        return self.state / self.identities[direction]

    def settings(self, direction: Direction) -> Settings:
        """Give what the agents of a direction are told."""
        told = Settings(
            project=self.project,
            site=self.site,
            identity=self.identities[direction],
            direction=direction,
            state=self.directory(direction),
            local=self.local,
            cloud=self.cloud,
            manage_topics=self.manage_topics,
            delivery=self.delivery,
            lanes=self.lanes,
            linger_ms=self.linger_ms,
            lifetimes=self.lifetimes,
            web_port=self.web_ports[direction],
            web_host=self.web_host,
        )
        return crossing.mapped(told, self.sealing, self.opening, one_cluster=self.one_cluster)


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
    state = machine.state_directory(document, base)
    local = _cluster(document, "local", base, findings)
    cloud = _cluster(document, "cloud", base, findings)
    sections = document.sections("mappings", cure=ENTRY)
    embedded = local is not None and local.embedded
    one_cluster = local is not None and cloud is not None and bool(_addresses(local) & _addresses(cloud))
    entries = read_mappings(sections, embedded=embedded)
    together.check(entries, project, one_cluster=one_cluster)
    sealing = any(section.has("seal") for section in sections)
    opening = any(section.has("open") for section in sections)
    ways = tuple(way for way in DIRECTIONS if (sealing if way == "seal" else opening))
    identities = _identities(document, ways)
    ports = machine.web_ports(document, ways, project, identities)
    custody = machine.custody(document, base, state)
    lanes = document.number("lanes", LANES, 1, MOST_LANES)
    linger_ms = document.number("linger_ms", LINGER_MS, 0, 10_000)
    level = document.choice("log_level", LOG_LEVELS, "info")
    manage_topics = document.flag("manage_topics", default=False)
    log_format = document.choice("log_format", LOG_FORMATS, "text")
    web_host = machine.web_host(document)
    lives = lifetimes.read(document)
    document.close()
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
        log_format=log_format.text if log_format else "text",
        web_host=web_host,
        manage_topics=manage_topics,
        lifetimes=lives,
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
        return clientfile.read(path_of(base, config))
    except Faults as found:
        for fault in found.faults:
            if fault.line or fault.setting:
                findings.faults.append(fault)
            else:
                section.fault("kafka_config", f"{fault.file}: {fault.problem}", fault.cure)
    return None


def _addresses(cluster: Cluster) -> set[str]:
    return _split(cluster.bootstrap)


def _split(bootstrap: str) -> set[str]:
    return {address.strip().lower() for address in bootstrap.split(",") if address.strip()}
