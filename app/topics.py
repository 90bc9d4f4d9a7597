"""Which topics a node and a project need, which of them are there, and making the rest; never less of what is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.blocking import ClusterAway, ClusterRefused, Forbidden
from sealwire.agents.cloud_topic import DAY_MS, MESSAGE_BYTES, RETENTION_DAYS, cloud_config
from sealwire.agents.quarantine import RECORD_BYTES as QUARANTINED_BYTES
from sealwire.agents.routes import route
from sealwire.app.clouderrors import away, diagnosis
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.names import project_topics

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from sealwire.agents.routes import Route
    from sealwire.agents.settings import Cluster, Direction
    from sealwire.app.config import Node

Result = TypeVar("Result")

SESSIONS_DAYS: Final = 35  # sessions must outlive the data sealed in them, and what a mirror may hold back
REQUESTS_DAYS: Final = 7
COMPACTED: Final = {
    "cleanup.policy": "compact",
    # Read whole whenever a lane moves, and only closed segments are compacted: the default of 1 GiB would take minutes.
    "segment.bytes": str(4 << 20),
    # A worker that lost its lane may write behind its successor: both are kept until that is noticed and put right.
    "min.compaction.lag.ms": "60000",
}

LEDGER: Final = {"cleanup.policy": "delete", "retention.ms": "-1"}
ORDERS: Final = {"cleanup.policy": "delete", "retention.ms": "-1"}
QUARANTINE: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": str(1 << 30),
    "segment.bytes": str(64 << 20),  # only closed segments are deleted
    "max.message.bytes": str(QUARANTINED_BYTES),
}


class Deed(StrEnum):
    """What becomes of a topic."""

    MAKE = "make"
    GROW = "grow"
    KEEP = "keep"
    WAIT = "wait"  # something else must be there first; not an error of what was asked
    REFUSE = "refuse"


@dataclass(frozen=True)
class Step:
    """One topic: what it needs, what becomes of it, and why in words."""

    topic: str
    deed: Deed
    partitions: int
    why: str
    config: Mapping[str, str] = field(default_factory=dict)

    def plan(self) -> TopicPlan:
        """Give it as the administrator's client takes it."""
        return TopicPlan(self.topic, self.partitions, config=self.config)


def run(cluster: Cluster, work: Coroutine[Any, Any, Result]) -> Result:
    """Run an administrator's work to its end; raises `Failure` naming the cluster when it is away or refuses."""
    if cluster.security and (why := diagnosis(cluster)):  # librdkafka tries a wrong password for a quarter of a minute
        work.close()
        raise Failure(why, "Is its client file the right one, for this cluster and for this port?")
    try:
        return asyncio.run(work)
    except ClusterAway as error:
        raise away(cluster, str(error)) from None
    except Forbidden as error:
        raise Failure(
            f"{cluster.bootstrap} refused: {error}.",
            "Give an administrator's client file with --kafka-config, or grant its login what docs/RIGHTS.md lists.",
        ) from None
    except ClusterRefused as error:
        raise Failure(
            f"{cluster.bootstrap} refused: {error}.",
            "Making topics needs an administrator's login: give its client file with --kafka-config.",
        ) from None


def routes(node: Node, direction: Direction, there: Mapping[str, int]) -> tuple[Route, ...]:
    """Give what a node carries, its patterns over the topics that are ``there``."""
    return route(node.settings(direction), there).routes if direction in node.directions else ()


def left_out(node: Node, direction: Direction, there: Mapping[str, int]) -> list[str]:
    """Say which of the topics that are ``there`` match a pattern and are not carried, and why."""
    return list(route(node.settings(direction), there).troubles.values())


def cloud_steps(
    node: Node, local: Mapping[str, int], cloud: Mapping[str, int], *, retention_days: int = RETENTION_DAYS
) -> list[Step]:
    """Say what the mappings of a node need in the cloud; ``local`` and ``cloud``: topics and their partition counts.

    A cloud topic gets as many partitions as the largest local topic that is sealed into it.
    """
    config = cloud_config(retention_days)
    sources: dict[str, list[str]] = {}
    for sealed in routes(node, "seal", local):
        sources.setdefault(sealed.writes, []).append(sealed.reads)
    steps = []
    for topic, names in sources.items():
        counts = [local[name] for name in names if name in local]
        missing = ", ".join(name for name in names if name not in local)
        wanted, there = max(counts, default=0), cloud.get(topic, 0)
        why = "for local " + ", ".join(f"{name} ({local[name]})" for name in names if name in local)
        if missing:
            why = f"no local topic {missing} yet, whose partitions count" + (f"; {why}" if counts else "")
        deed = _deed(wanted, there) if counts else Deed.KEEP if there else Deed.WAIT
        steps.append(Step(topic, deed, max(wanted, there), why, config))
    for opened in routes(node, "open", cloud):
        if opened.reads in sources:
            continue
        there = cloud.get(opened.reads, 0)
        why = f"opened into local {opened.writes}" + ("" if there else "; the sending site makes it")
        steps.append(Step(opened.reads, Deed.KEEP if there else Deed.WAIT, there, why))
    return steps


def site_steps(node: Node, local: Mapping[str, int], cloud: Mapping[str, int] | None) -> list[Step]:
    """Say what the workers of a node need at home; ``cloud`` is None where the cloud did not answer.

    The number of lanes is fixed when their topics are made: one that differs is refused.
    """
    steps = []
    for way in node.directions:
        settings = node.settings(way)
        lanes = {
            settings.lane_topic: (f"lanes to {way}", {"cleanup.policy": "delete"}),
            settings.changelog_topic: (f"the table to {way}", COMPACTED),
        }
        if way == "open":
            lanes[settings.cursor_topic] = ("cursors, a partition a lane", COMPACTED)
            lanes[settings.ledger_topic] = ("the ledger of what was delivered", LEDGER)
        for topic, (what, config) in lanes.items():
            there = local.get(topic, 0)
            if there and there != node.lanes:
                fixed = f"made with {there} lanes, the YAML says {node.lanes}: it cannot change"
                steps.append(Step(topic, Deed.REFUSE, there, fixed))
            else:
                steps.append(Step(topic, Deed.KEEP if there else Deed.MAKE, node.lanes, what, config))
    if node.opening:
        settings = node.settings("open")
        for topic, what, config in (
            (settings.orders_topic, "what persons order", ORDERS),
            (settings.quarantine_topic, "refused envelopes of members", QUARANTINE),
        ):
            there = local.get(topic, 0)
            steps.append(Step(topic, Deed.KEEP if there else Deed.MAKE, 1, what, config))
    for opened in routes(node, "open", cloud or {}):
        there = local.get(opened.writes, 0)
        wanted = (cloud or {}).get(opened.reads, 0)
        source = f"cloud {opened.reads}"
        if not wanted:
            why = f"{source} " + ("is not there yet" if cloud is not None else "could not be asked for")
            steps.append(Step(opened.writes, Deed.KEEP if there else Deed.WAIT, there, why))
        elif there and there < wanted:
            why = f"has {there} of the {wanted} partitions of {source}: grow it with Kafka's tools, the rest waits"
            steps.append(Step(opened.writes, Deed.WAIT, there, why))
        else:
            steps.append(Step(opened.writes, _deed(wanted, there), max(wanted, there), f"opened from {source}"))
    return steps


def project_steps(project: str, cloud: Mapping[str, int]) -> list[Step]:
    """Say what a project needs in the cloud besides the topics of its mappings: a partition each."""
    control, sessions, requests = project_topics(project)
    wanted = (
        (control, "root, charter, credentials, key packages", {"cleanup.policy": "compact"}),
        (sessions, "sessions, grants, progress", _kept(SESSIONS_DAYS)),
        (requests, "requests, answers", _kept(REQUESTS_DAYS)),
    )
    steps = []
    for topic, why, config in wanted:
        there = cloud.get(topic, 0)
        deed = Deed.REFUSE if there > 1 else Deed.KEEP if there else Deed.MAKE
        said = why if there <= 1 else f"has {there} partitions, and must have 1"
        steps.append(Step(topic, deed, there or 1, said, config))
    return steps


def make_project_topics(cluster: Cluster, project: str) -> list[str]:
    """Make the topics of a project that are missing, and give their names; raises `Failure`. Safe to run again."""

    async def work() -> list[str]:
        admin = Admin(cluster)
        steps = project_steps(project, await admin.topics())
        refuse(steps, "Remove that topic, or give the project another name.")
        return await carry_out(admin, steps)

    return run(cluster, work())


def refuse(steps: Sequence[Step], cure: str) -> None:
    """Raise `Failure` where a step cannot be done, naming each; nothing has been made then."""
    refused = [f"{step.topic} {step.why}" for step in steps if step.deed is Deed.REFUSE]
    if refused:
        raise Failure("; ".join(refused) + ".", cure, code=CONFIGURATION)


async def carry_out(admin: Admin, steps: Sequence[Step]) -> list[str]:
    """Make and grow what the steps say, one after the other; gives the topics that were made or grown."""
    made = await admin.create_topics(step.plan() for step in steps if step.deed is Deed.MAKE)
    for step in steps:
        if step.deed is Deed.GROW:
            await admin.grow(step.topic, step.partitions)
            made.append(step.topic)
    return made


async def small_topics(admin: Admin, steps: Sequence[Step]) -> dict[str, int]:
    """Ask which cloud topics take less than the largest envelope, and how much (bytes); unknown ones are left out."""
    found = {}
    for step in steps:
        if step.deed not in {Deed.KEEP, Deed.GROW} or "max.message.bytes" not in step.config:
            continue
        try:
            takes = int((await admin.config(step.topic)).get("max.message.bytes", MESSAGE_BYTES))
        except (ClusterAway, ClusterRefused, ValueError):
            continue  # not every broker, nor every login, answers this
        if takes < MESSAGE_BYTES:
            found[step.topic] = takes
    return found


def _deed(wanted: int, there: int) -> Deed:
    return Deed.MAKE if not there else Deed.GROW if there < wanted else Deed.KEEP


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}
