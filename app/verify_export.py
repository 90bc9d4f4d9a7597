"""The first half of `sealwire verify`: a sending site reads its own topics and signs what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.exporting import Wanted, export
from sealwire.agents.reader import OffsetOutOfRange, RawReader, ReadRefused
from sealwire.agents.routes import route
from sealwire.app import membership, topics
from sealwire.app.factory import custody
from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean
from sealwire.app.vault import open_vault
from sealwire.keys import credential as credentials
from sealwire.keys import digestfile
from sealwire.keys import root as roots
from sealwire.keys.reason import Rejected
from sealwire.keys.source import SourcePartition, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sealwire.agents.admin import TopicFacts
    from sealwire.agents.settings import SealRoute
    from sealwire.app.config import Node
    from sealwire.keys.digests import Exported
    from sealwire.keys.secrets import Secrets


@dataclass(frozen=True)
class Bound:
    """Where an export begins or ends: at a source offset, or at a time (ms)."""

    value: int
    is_time: bool = False


@dataclass(frozen=True)
class Asked:
    """What is to be exported: topics (all that are sealed where none is named), and from where to where."""

    topics: tuple[str, ...] = ()
    begin: Bound | None = None
    end: Bound | None = None


def exported(node: Node, asked: Asked, now: int, say: Callable[[Exported], None]) -> tuple[bytes, tuple[Exported, ...]]:
    """Read what is asked for at the local cluster of a node, and give the signed file and what is in it.

    Raises `Failure` where the node does not seal, its identity is no member, or a topic cannot be read.
    """
    secrets = signer(node, now)
    found = topics.run(node.local, _read(node, asked, say))
    assert secrets.credential is not None  # noqa: S101 - signer() saw to it
    assert secrets.project_id is not None  # noqa: S101
    partitions, cluster = found
    content = digestfile.write(
        secrets.identity, secrets.credential, secrets.project_id, partitions, cluster=cluster, now=now
    )
    return content, tuple(partitions)


def signer(node: Node, now: int) -> Secrets:
    """Give the secrets of the sealing identity, which signs; its worker may be running."""
    if "seal" not in node.directions:
        raise Failure(
            f"{node.path} has no mapping to seal: there is nothing to export here.",
            "Export at the sending site; at the receiving one: sealwire verify --against FILE NODE.yaml",
            code=CONFIGURATION,
        )
    name = node.identities["seal"]
    with open_vault(node.directory("seal") / "vault", custody(node), lock=False) as vault:
        secrets = vault.load()
    membership.check(node, "seal", secrets)
    assert secrets.root is not None  # noqa: S101 - a member has one
    try:
        credential = credentials.read(secrets.credential or b"", roots.trusted(secrets.root), now)
    except Rejected as refusal:
        raise Failure(
            f"The credential of '{name}' does not hold: {refusal}.", f"sealwire enroll TICKET --identity {name}"
        ) from None
    if not credential.valid_at(now):
        raise Failure(
            f"The credential of '{name}' has ended, so nobody would believe what it signs.",
            "Let its worker run while the authority does: it renews its credential by itself.",
        )
    return secrets


async def _read(node: Node, asked: Asked, say: Callable[[Exported], None]) -> tuple[list[Exported], str]:
    admin = Admin(node.local)
    there = await admin.topics()
    routes = _chosen(node, asked.topics, there)
    facts = await admin.describe(route.source_topic for route in routes)
    reader = RawReader(node.local, client_id="sealwire-verify", linger_ms=0)
    await reader.start()
    try:
        wanted = [
            each
            for route in routes
            if route.source_topic in facts
            for each in await _wanted(node.site, route, facts[route.source_topic], asked, reader, admin)
        ]
        return await export(reader, wanted, say), await admin.cluster_id()
    except (OffsetOutOfRange, ReadRefused, ValueError) as error:
        raise Failure(
            f"Reading at {node.local.bootstrap} failed: {error}.",
            "If its retention was faster than we read, export again, with a later --from.",
        ) from None
    finally:
        await reader.stop()


def _chosen(node: Node, names: Sequence[str], there: dict[str, int]) -> list[SealRoute]:
    """Give the routes of the topics that were named, or of all that are there."""
    routes: list[SealRoute] = list(route(node.settings("seal"), there).routes)  # type: ignore[arg-type]
    sealed = {each.source_topic for each in routes}
    for name in names:
        if name not in sealed or name not in there:
            raise Failure(
                f"Topic '{name}' is not sealed by {node.path}, or not at {node.local.bootstrap}.",
                did_you_mean(name, sealed, "It seals: " + ", ".join(sorted(sealed & there.keys()))),
                code=CONFIGURATION,
            )
    found = [each for each in routes if each.source_topic in (names or there)]
    if not found:
        raise Failure(f"None of the topics that {node.path} seals is at {node.local.bootstrap}.", code=CONFIGURATION)
    return found


async def _wanted(
    site: str, route: SealRoute, facts: TopicFacts, asked: Asked, reader: RawReader, admin: Admin
) -> Iterable[Wanted]:
    compacted = await is_compacted(admin, route.source_topic)
    found = []
    for partition in range(facts.partitions):
        where = (route.source_topic, partition)
        start, end = await reader.log_start(*where), await reader.end_offset(*where, committed=True)
        first = max(start, await _offset(reader, where, asked.begin, start))
        span = Span(min(first, end), max(first, min(end, await _offset(reader, where, asked.end, end))))
        source = SourcePartition(route.channel, site, route.source_topic, facts.topic_id, partition)
        found.append(Wanted(source, Span(span.first, min(span.next, end)), compacted))
    return found


async def _offset(reader: RawReader, where: tuple[str, int], bound: Bound | None, otherwise: int) -> int:
    if bound is None:
        return otherwise
    if not bound.is_time:
        return bound.value
    found = await reader.offset_at(*where, bound.value)
    return await reader.end_offset(*where, committed=True) if found is None else found


async def is_compacted(admin: Admin, topic: str) -> bool:
    """Tell whether a cleaner removes records of a topic; a cluster that does not tell is believed not to."""
    try:
        return "compact" in (await admin.config(topic)).get("cleanup.policy", "")
    except (ClusterAway, ClusterRefused):
        return False
