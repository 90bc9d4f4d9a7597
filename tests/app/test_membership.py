"""A worker runs as a member of the YAML's project, for the YAML's site, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sealwire.app import membership
from sealwire.app.config import Node, load
from sealwire.app.faults import Failure
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import root as roots
from sealwire.keys.primitives import SigningKey
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000_000


def secrets(project: str, site: str) -> Secrets:
    root_key, authority = SigningKey.from_seed(b"r" * 32), SigningKey.from_seed(b"a" * 32)
    statement = roots.make_first(project, [root_key], 1, [(authority.public, NOW + 1_000_000)], [], NOW)
    identity = identities.create(lambda size: b"i" * size, NOW)
    credential = credentials.make(
        roots.read_first(statement),
        authority,
        member_id=identity.member_id,
        identity_key=identity.signing.public,
        name="s",
        attributes={"role": "member", "site": site},
        serial=1,
        now=NOW,
    )
    return replace(Secrets.begin(identity), root=statement, credential=credential)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    path = tmp_path / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: s\nstate: state\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n"
    )
    found = load(path)
    assert isinstance(found, Node), found
    return found


def test_a_member_of_this_project_and_site_may_run(node: Node) -> None:
    membership.check(node, "seal", secrets("acme", "berlin"))


@pytest.mark.parametrize(
    ("project", "site", "words"),
    [
        ("other", "berlin", "is a member of project 'other'"),
        ("acme", "paris", "was admitted for site 'paris'"),
    ],
)
def test_a_member_of_something_else_is_refused(node: Node, project: str, site: str, words: str) -> None:
    with pytest.raises(Failure, match=words) as caught:
        membership.check(node, "seal", secrets(project, site))
    assert caught.value.code == 2


def test_an_identity_that_is_not_enrolled_is_told_the_command(node: Node) -> None:
    begun = Secrets.begin(identities.create(lambda size: b"i" * size, NOW))
    with pytest.raises(Failure, match="sealwire enroll TICKET --identity s"):
        membership.check(node, "seal", begun)
