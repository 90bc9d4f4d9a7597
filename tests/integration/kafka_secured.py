"""The listeners of a test's Kafka where rights count (SASL_SSL, mutual TLS), beside the plain one where all may.

Who comes to the plain listener is User:ANONYMOUS, a super user, as are broker and controller to each other; everybody
else has the rights that an ACL gives, and no others (StandardAuthorizer, KIP-801).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from certificates import HOSTS, Authority

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLAIN_USERS: Final = ("sealer", "mirror", "authority", "administrator", "member", "nobody")
SECRET: Final = "Hunter2"  # noqa: S105 - what is looked for in logs: a part of every password here
STORE_PASSWORD: Final = "Hunter2-store"  # noqa: S105

_MODULES: Final = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}


def password(user: str) -> str:
    """The password of a user: with every letter that a properties file or a JAAS line might trip over."""
    return f'{SECRET} {user}=;#:"\\'


def jaas(mechanism: str, **options: str) -> str:
    """A login as a properties file holds it, escaped for JAAS and then for properties."""
    words = [f'{name}="{value.translate(_JAAS)}"' for name, value in options.items()]
    return " ".join([_MODULES[mechanism], "required", *words]).replace("\\", "\\\\") + ";"


_JAAS: Final = str.maketrans({"\\": "\\\\", '"': '\\"'})


class Secured:
    """What makes a Kafka of ours a secured one, and the client files that people get for it."""

    def __init__(self, name: str, directory: Path, ports: tuple[int, int]) -> None:
        self.authority = Authority(name)
        self.sasl, self.mutual = (f"127.0.0.1:{port}" for port in ports)
        self._directory = directory

    @property
    def listeners(self) -> tuple[str, ...]:
        return f"SASL_SSL://{self.sasl}", f"SSL://{self.mutual}"

    @property
    def authority_file(self) -> Path:
        return self._directory / "authority.pem"

    def write(self) -> None:
        """Write the broker's own certificate, and the authority that it believes."""
        self.authority.issue("broker", HOSTS).write(self._directory / "broker.pem")
        self.authority.write(self.authority_file)

    def settings(self) -> dict[str, str]:
        """What the broker's properties say of it."""
        found = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": ",".join(_MODULES),
            "listener.name.sasl_ssl.ssl.client.auth": "none",
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.ssl.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            "connection.failed.authentication.delay.ms": "100",
        }
        for mechanism in _MODULES:
            users = {f"user_{user}": password(user) for user in PLAIN_USERS} if mechanism == "PLAIN" else {}
            found[f"listener.name.sasl_ssl.{mechanism.lower()}.sasl.jaas.config"] = jaas(mechanism, **users)
        for listener in ("sasl_ssl", "ssl"):
            for store, file in (("keystore", self._directory / "broker.pem"), ("truststore", self.authority_file)):
                found[f"listener.name.{listener}.ssl.{store}.type"] = "PEM"
                found[f"listener.name.{listener}.ssl.{store}.location"] = str(file)
        return found

    def login_file(self, file: Path, user: str, mechanism: str = "PLAIN", *, word: str | None = None) -> Path:
        """A client file as Confluent Cloud shows it to Java programmers, with the authority that signs here."""
        return write_properties(
            file,
            {
                "bootstrap.servers": self.sasl,
                "security.protocol": "SASL_SSL",
                "sasl.jaas.config": jaas(mechanism, username=user, password=password(user) if word is None else word),
                "sasl.mechanism": mechanism,
                "ssl.endpoint.identification.algorithm": "https",
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority_file),
                "client.dns.lookup": "use_all_dns_ips",
                "session.timeout.ms": "45000",
                "acks": "all",
                "client.id": "ccloud-java-client-1",
            },
        )

    def certificate_file(self, file: Path, user: str) -> Path:
        """A client file of somebody who logs in by a certificate, its private key under a password."""
        store = self.authority.issue(user).write(file.with_suffix(".pem"), STORE_PASSWORD)
        return write_properties(
            file,
            {
                "bootstrap.servers": self.mutual,
                "security.protocol": "SSL",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": store.name,
                "ssl.key.password": STORE_PASSWORD,
                "ssl.truststore.type": "PEM",
                "ssl.truststore.location": str(self.authority_file),
            },
        )


def write_properties(file: Path, settings: Mapping[str, str]) -> Path:
    """Write a client file; only its owner may read it. Values are escaped already."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), newline="\n")
    return file
