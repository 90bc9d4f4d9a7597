"""How a client file says to log in and whom to trust on the line: Java's settings in, librdkafka's out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sealwire.app.faults import Fault, did_you_mean
from sealwire.app.jaas import jaas_words
from sealwire.app.pemfiles import authority_problem, login_problem, other_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.app.properties import Property

# What a file for producers, consumers and tools may say that is no business of a bridge: it has its own of each.
IRRELEVANT = frozenset(
    """acks allow.auto.create.topics auto.commit.interval.ms auto.include.jmx.reporter auto.offset.reset batch.size
    buffer.memory exclude.internal.topics group.protocol group.remote.assignor interceptor.classes metadata.max.idle.ms
    metadata.recovery.rebootstrap.trigger.ms metadata.recovery.strategy metric.reporters
    partitioner.adaptive.partitioning.enable partitioner.availability.timeout.ms partitioner.ignore.keys
    basic.auth.credentials.source basic.auth.user.info check.crcs client.dns.lookup client.id client.rack
    compression.type connections.max.idle.ms default.api.timeout.ms delivery.timeout.ms enable.auto.commit
    enable.idempotence enable.metrics.push fetch.max.bytes fetch.max.wait.ms fetch.min.bytes group.id
    group.instance.id heartbeat.interval.ms isolation.level key.deserializer key.serializer linger.ms max.block.ms
    max.in.flight.requests.per.connection max.partition.fetch.bytes max.poll.interval.ms max.poll.records
    max.request.size metadata.max.age.ms metrics.num.samples metrics.recording.level metrics.sample.window.ms
    partition.assignment.strategy partitioner.class receive.buffer.bytes reconnect.backoff.max.ms
    reconnect.backoff.ms request.timeout.ms retries retry.backoff.max.ms retry.backoff.ms send.buffer.bytes
    session.timeout.ms socket.connection.setup.timeout.max.ms socket.connection.setup.timeout.ms
    socket.keepalive.enable transaction.timeout.ms value.deserializer value.serializer""".split()  # noqa: SIM905
)
IRRELEVANT_FAMILIES = (
    "schema.registry.",
    "confluent.monitoring.",
    "confluent.telemetry.",
    "compression.",
)

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_MODULES = {
    "org.apache.kafka.common.security.plain.PlainLoginModule": ("PLAIN",),
    "org.apache.kafka.common.security.scram.ScramLoginModule": (
        "SCRAM-SHA-256",
        "SCRAM-SHA-512",
    ),
}
_OTHER_LOGIN = "logins are by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"

_SETTINGS = tuple(
    """bootstrap.servers security.protocol sasl.mechanism sasl.mechanisms sasl.jaas.config sasl.username
    sasl.password ssl.ca.location ssl.certificate.location ssl.cipher.suites ssl.enabled.protocols
    ssl.endpoint.identification.algorithm ssl.key.location ssl.key.password ssl.keystore.certificate.chain
    ssl.keystore.key ssl.keystore.location ssl.keystore.password ssl.keystore.type ssl.protocol
    ssl.truststore.certificates ssl.truststore.location ssl.truststore.password ssl.truststore.type""".split()  # noqa: SIM905
)


class Reading:
    """The settings of one client file, looked through: ``security`` as librdkafka wants it, and every fault."""

    def __init__(self, path: Path, properties: list[Property]) -> None:
        """Take what was parsed; ``path`` is what faults name."""
        self.path = path
        self.faults: list[Fault] = []
        self.ignored: list[str] = []
        self.security: dict[str, str] = {}
        self._found: dict[str, Property] = {}
        for entry in properties:
            if entry.problem:
                self._fault(entry.line, entry.name, entry.problem)
            elif entry.name in self._found:
                first = self._found[entry.name].line
                self._fault(
                    entry.line,
                    entry.name,
                    f"stands twice, first in line {first}",
                    "keep one of them",
                )
            else:
                self._found[entry.name] = entry

    def text(self, name: str) -> str:
        """Give a setting's value, empty when it is missing."""
        entry = self._found.get(name)
        return entry.value if entry else ""

    def fault(self, name: str, problem: str, cure: str = "") -> None:
        """Note what is wrong with a setting, where it stands."""
        entry = self._found.get(name)
        self._fault(entry.line if entry else 0, name, problem, cure)

    def _fault(self, line: int, name: str, problem: str, cure: str = "") -> None:
        self.faults.append(Fault(str(self.path), line, 0, name, problem, cure))

    def read(self) -> None:
        """Look at every setting; afterwards ``faults`` holds all that is wrong."""
        self._names()
        protocol = self._protocol()
        if protocol.startswith("SASL_"):
            self._sasl()
        else:
            self._without_effect("sasl.", protocol, "SASL_SSL")
        if protocol.endswith("SSL"):
            self._tls()
        else:
            self._without_effect("ssl.", protocol, "SASL_SSL or SSL")

    def _without_effect(self, family: str, protocol: str, cure: str) -> None:
        for name in self._found:
            if name.startswith(family):
                self.fault(name, f"has no effect with security.protocol {protocol}", f"set security.protocol={cure}")
                return

    def _names(self) -> None:
        for name, entry in self._found.items():
            if name in _SETTINGS:
                if not entry.value and name != "ssl.endpoint.identification.algorithm":
                    self.fault(name, "is empty", "give it a value or remove the line")
                elif re.search(r"\{\{.*\}\}|\$\{.*\}|YOUR_[A-Z_]+|<[A-Z_ -]+>", entry.value):
                    self.fault(
                        name,
                        "still holds a placeholder",
                        "put in what your cluster's page shows",
                    )
            elif name in IRRELEVANT or name.startswith(IRRELEVANT_FAMILIES):
                self.ignored.append(name)
            elif name.startswith(("sasl.oauthbearer.", "sasl.kerberos.", "sasl.login.")):
                self.fault(name, "is not in this release", _OTHER_LOGIN)
            else:
                self.fault(
                    name,
                    "is not a setting that sealwire knows",
                    did_you_mean(name, (*_SETTINGS, *IRRELEVANT)),
                )

    def _protocol(self) -> str:
        protocol = self.text("security.protocol") or "PLAINTEXT"
        if protocol.upper() not in PROTOCOLS:
            self.fault(
                "security.protocol",
                "must be " + " or ".join(PROTOCOLS),
                did_you_mean(protocol.upper(), PROTOCOLS),
            )
        self.security["security.protocol"] = protocol.upper()
        return protocol.upper()

    def _sasl(self) -> None:
        named = "sasl.mechanisms" if "sasl.mechanisms" in self._found else "sasl.mechanism"
        mechanism = self.text(named)
        if not mechanism:
            self.fault(
                "sasl.mechanism",
                "is missing",
                "Confluent Cloud wants sasl.mechanism=PLAIN",
            )
        elif mechanism not in MECHANISMS:
            self.fault(
                named,
                f"'{mechanism}' is not in this release",
                did_you_mean(mechanism, MECHANISMS, _OTHER_LOGIN),
            )
        username, password = self.text("sasl.username"), self.text("sasl.password")
        if "sasl.jaas.config" in self._found:
            username, password = self._jaas(mechanism)
        elif not username or not password:
            self.fault(
                "sasl.jaas.config",
                "is missing",
                "it holds the login's username and password",
            )
        self.security |= {
            "sasl.mechanism": mechanism,
            "sasl.username": username,
            "sasl.password": password,
        }

    def _jaas(self, mechanism: str) -> tuple[str, str]:
        name = "sasl.jaas.config"
        words = jaas_words(self.text(name))
        if words is None:
            self.fault(
                name,
                "cannot be understood",
                'MODULE required username="..." password="...";',
            )
            return "", ""
        module, options = words
        if module not in _MODULES:
            self.fault(name, "names a login module that is not in this release", _OTHER_LOGIN)
        elif mechanism in MECHANISMS and mechanism not in _MODULES[module]:
            self.fault(
                name,
                f"names a login module that does not fit sasl.mechanism {mechanism}",
            )
        for option in options:
            if option not in {"username", "password"}:
                self.fault(name, f"has an option that is not in this release: {option}")
        for option in ("username", "password"):
            if not options.get(option):
                self.fault(name, f"has no {option}", 'username="..." password="...";')
        return options.get("username", ""), options.get("password", "")

    def _tls(self) -> None:
        self._store("truststore", {"ssl.ca.location": "location", "ssl.ca.pem": "certificates"})
        self._store("keystore", {"ssl.certificate.location": "location"})
        if "ssl.certificate.location" in self.security:  # one file of both
            self.security["ssl.key.location"] = self.security["ssl.certificate.location"]
        if "ssl.key.password" in self._found:
            self.security["ssl.key.password"] = self.text("ssl.key.password")
        for name in ("ssl.keystore.certificate.chain", "ssl.keystore.key"):
            if name in self._found:
                self.fault(name, "is not read from here", "put both into a PEM file: ssl.keystore.location, .type=PEM")
        for name in ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"):
            if name in self._found:
                self.security[name] = self._file(name)
        self._papers()
        self._tls_rules()

    def _papers(self) -> None:
        """Look into the PEM files, which a broker would refuse in fewer words."""
        given = self.security
        found: dict[str, tuple[str, str]] = {}
        if Path(authorities := given.get("ssl.ca.location", "")).is_file():
            found["truststore"] = authority_problem(Path(authorities))
        certificate, key = given.get("ssl.certificate.location", ""), given.get("ssl.key.location", "")
        if Path(certificate).is_file() and Path(key).is_file():
            found["keystore"] = login_problem(Path(certificate), Path(key), given.get("ssl.key.password", ""))
        elif certificate and not key:
            found["keystore"] = "has no private key beside it", "set ssl.key.location"
        for store, (problem, cure) in found.items():
            if problem:
                other = "ssl.ca.location" if store == "truststore" else "ssl.certificate.location"
                location = f"ssl.{store}.location"
                self.fault(location if location in self._found else other, problem, cure)

    def _tls_rules(self) -> None:
        algorithm = "ssl.endpoint.identification.algorithm"
        if algorithm in self._found:
            value = self.text(algorithm).lower()
            if value not in {"", "none", "https"}:
                self.fault(
                    algorithm,
                    "must be https, or empty to trust any host of that authority",
                )
            self.security[algorithm] = "https" if value == "https" else "none"
        for name in ("ssl.protocol", "ssl.enabled.protocols"):
            versions = {version.strip() for version in self.text(name).split(",") if version.strip()}
            if versions - {"TLSv1.2", "TLSv1.3"}:
                self.fault(name, "only TLSv1.2 and TLSv1.3 are spoken")
            elif name in self._found:
                self.ignored.append(name)
        if "ssl.cipher.suites" in self._found:
            self.fault(
                "ssl.cipher.suites",
                "is not in this release",
                "remove it: TLS 1.2 and 1.3 choose among good ones",
            )

    def _store(self, store: str, names: Mapping[str, str]) -> None:
        form, password = f"ssl.{store}.type", f"ssl.{store}.password"
        for ours, theirs in names.items():
            name = f"ssl.{store}.{theirs}"
            if name not in self._found:
                continue
            if theirs != "location":
                self.security[ours] = self.text(name)
                continue
            path = self._file(name)
            if self.text(form).upper() == "PEM" or (form not in self._found and _is_pem(path)):
                self.security[ours] = path
            elif Path(path).is_file():
                self.fault(name, *other_store(Path(path), store))
        if password in self._found and not any(fault.setting.startswith(f"ssl.{store}.") for fault in self.faults):
            self.fault(
                password,
                "has no meaning for PEM",
                "remove it, or set ssl.key.password for the private key",
            )
        if form in self._found and self.text(form).upper() not in {
            "PEM",
            "JKS",
            "PKCS12",
        }:
            self.fault(form, "must be PEM")

    def _file(self, name: str) -> str:
        path = self.path.parent / self.text(name)
        if not path.is_file():
            self.fault(name, f"there is no file {path}")
        return str(path)


def _is_pem(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return b"-----BEGIN" in file.read(64 << 10)
    except OSError:
        return False
