"""Members by the hundred: admitted by the project's authority, each with its key package and without a worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from sealwire.agents.renewal import package_key
from sealwire.agents.topic_names import project_topics
from sealwire.app.office import member_key
from sealwire.app.project import now_ms, open_project
from sealwire.keys import credential, identity, keypackage

if TYPE_CHECKING:
    from pathlib import Path


def admit(project_directory: Path, bootstrap: str, count: int) -> None:
    """Publish the statements of so many new members, and return when the cloud has them."""
    project, now = open_project(project_directory), now_ms()
    authority, (control, *_) = project.authority_key(), project_topics(project.name)
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2})
    for number in range(count):
        who = identity.create(os.urandom, now)
        admitted = credential.make(
            project.root,
            authority,
            member_id=who.member_id,
            identity_key=who.public,
            name=f"member{number}",
            attributes={"role": "member", "site": "lisbon"},
            serial=1,
            now=now,
        )
        _, package = keypackage.renew(
            who, credential.read(admitted, project.root, now), project.id, (), now, os.urandom
        )
        producer.produce(control, admitted, member_key(who.member_id))
        producer.produce(control, package, package_key(who.member_id))
    if left := producer.flush(60):
        message = f"{left} statements of new members were not stored"
        raise RuntimeError(message)
