"""A project on clusters where rights count: every login its own, with the rights of docs/RIGHTS.md and no others."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka_secured import password
from kafka_world import LANES, Node, Running, World, free_port, sealwire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kafka_cluster import KafkaCluster

RIGHTS: Final = Path(__file__).parents[2] / "docs" / "RIGHTS.md"
_BLOCK: Final = r"<!-- rights: {} -->\n```sh\n(.*?)```"


class Right(NamedTuple):
    """One line of docs/RIGHTS.md, with its names filled in."""

    operation: str
    kind: str
    name: str
    pattern: str = "literal"


def rights(role: str, **names: str) -> list[Right]:
    """The rights of a role, as a shell reads them out of docs/RIGHTS.md."""
    found = re.search(_BLOCK.format(role), RIGHTS.read_text(), re.DOTALL)
    assert found, f"docs/RIGHTS.md has no rights of {role}"
    script = 'set -eu\nright() { printf "%s\\t%s\\t%s\\t%s\\n" "$1" "$2" "$3" "${4:-literal}"; }\n' + found[1]
    told = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env={**names, "PATH": os.environ["PATH"]}
    )
    return [Right(*line.split("\t")) for line in told.stdout.splitlines()]


def allow(cluster: KafkaCluster, user: str, granted: Iterable[Right]) -> None:
    """Grant rights, through the plain listener, where everything may be done."""
    admin = _administrator(cluster)  # kept until it has answered
    _done(admin.create_acls([_binding(AclBinding, user, right) for right in granted]))


def withdraw(cluster: KafkaCluster, user: str, right: Right) -> None:
    """Take a right away."""
    admin = _administrator(cluster)
    _done(admin.delete_acls([_binding(AclBindingFilter, user, right)]))


def rights_of(cluster: KafkaCluster, user: str) -> set[Right]:
    """What a user has been granted."""
    kind = ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY
    admin = _administrator(cluster)
    found = admin.describe_acls(AclBindingFilter(*kind, AclPermissionType.ANY)).result(20)
    return {
        Right(each.operation.name, each.restype.name, each.name, each.resource_pattern_type.name.lower())
        for each in found
    }


def function_of_kafka() -> str:
    """The function of docs/RIGHTS.md that runs Kafka's own tool."""
    found = re.search(r"<!-- right: kafka -->\n```sh\n(.*?)```", RIGHTS.read_text(), re.DOTALL)
    assert found
    return found[1]


def give_scram(cluster: KafkaCluster, user: str, word: str | None = None) -> None:
    """Let a user log in by SCRAM, with either hash, by its password or by another."""
    admin = _administrator(cluster)
    for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):
        info = ScramCredentialInfo(mechanism, 4096)
        changed = UserScramCredentialUpsertion(user, info, (word or password(user)).encode())
        _done(admin.alter_user_scram_credentials([changed]))


def _administrator(cluster: KafkaCluster) -> AdminClient:
    return AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})


def _done(answers: dict[Any, Any]) -> None:
    for answer in answers.values():
        answer.result(20)


def _binding(kind: type, user: str, right: Right) -> Any:  # noqa: ANN401
    return kind(
        ResourceType[right.kind.upper().replace("-", "_")],
        right.name,
        ResourcePatternType[right.pattern.upper()],
        f"User:{user}",
        "*",
        AclOperation[re.sub("(?<=[a-z])(?=[A-Z])", "_", right.operation).upper()],
        AclPermissionType.ALLOW,
    )


@dataclass
class SecureWorld(World):
    """Every process speaks to its clusters by a client file; no address stands anywhere else.

    `local` and `logins` name the client files: of a site's workers at home, of each login in the cloud.
    """

    local: dict[str, Path] = field(default_factory=dict)
    logins: dict[str, Path] = field(default_factory=dict)

    def found(self) -> SecureWorld:
        self.directory.mkdir(parents=True, exist_ok=True)
        sealwire("project", "create", self.project, "--directory", self._home)
        sealwire("project", "cloud", "--directory", self._home, "--kafka-config", self.logins["administrator"])
        self._run(
            "authority", "authority", "run", "--directory", self._home, "--kafka-config", self.logins["authority"]
        )
        return self

    def admit(self, site: str, name: str) -> None:
        ticket = self.ticket(site, name)
        login = self.logins[name]
        sealwire("enroll", ticket, "--identity", name, "--state", self.state(name), "--kafka-config", login)

    def _node(self, direction: str, site: str, name: str, _local: str, maps: Sequence[str]) -> Node:
        file, port = self.directory / f"{name}.yaml", free_port()
        head = [
            f"project: {self.project}",
            f"site: {site}",
            f"identity: {name}",
            f"state: {self.state(name)}",
            f"local: {{kafka_config: {self.local[name]}}}",
            f"cloud: {{kafka_config: {self.logins[name]}}}",
            f"web_port: {port}",
            f"lanes: {LANES}",
            "mappings:",
        ]
        file.write_text("\n".join([*head, *maps, ""]))
        up = Running(("up", file), self.directory / f"{name}.log")
        self.running.append(up)
        return Node(file, direction, name, port, up)
