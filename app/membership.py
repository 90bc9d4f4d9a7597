"""Whether an identity is the one that a node's YAML speaks of: a member, of that project, for that site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.keys import credential as credentials
from sealwire.keys import root as roots

if TYPE_CHECKING:
    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node
    from sealwire.keys.secrets import Secrets


def check(node: Node, direction: Direction, secrets: Secrets) -> None:
    """Raise `Failure` where the identity of a direction is not enrolled, or is enrolled for something else.

    The vault's own words are taken as they are: what they are worth is judged, with the time, by `Trust`.
    """
    name = node.identities[direction]
    if secrets.credential is None or secrets.root is None:
        begun = secrets.request is not None
        raise Failure(
            f"Identity '{name}' is not a member of any project yet" + (", though it has asked." if begun else "."),
            f"sealwire enroll TICKET --identity {name} --state {node.state}",
            code=CONFIGURATION,
        )
    root = roots.trusted(secrets.root)
    if root.project_name != node.project:
        raise Failure(
            f"Identity '{name}' is a member of project '{root.project_name}', and {node.path} says '{node.project}'.",
            "Correct project: in the YAML, or name an identity of that project.",
            code=CONFIGURATION,
        )
    site = dict(credentials.peek(secrets.credential, root.project_id).attributes).get("site")
    if site != node.site:
        raise Failure(
            f"Identity '{name}' was admitted for site '{site}', and {node.path} says '{node.site}'.",
            "Correct site: in the YAML, or enrol an identity with a ticket of this site.",
            code=CONFIGURATION,
        )
