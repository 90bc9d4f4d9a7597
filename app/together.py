"""What no set of mappings may do together, each fault noted where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealwire.app.mapping import OpenMapping, SealMapping
from sealwire.app.names import collision, project_topics

if TYPE_CHECKING:
    from sealwire.agents.settings import How
    from sealwire.app.mapping import Entry


def check(entries: list[Entry], project: str, *, one_cluster: bool) -> None:
    """Note what is wrong with some entries together. ``one_cluster``: local and cloud are the same cluster."""
    named = [entry for entry in entries if not entry.mapping.by_pattern]
    _one_way(entries)
    _twice(entries)
    _cloud_topics(named, project)
    _loops(named, one_cluster=one_cluster)


def _one_way(entries: list[Entry]) -> None:
    """A lane holds partitions of many mappings, and either has transactions or has none."""
    first: tuple[Entry, How] | None = None
    for entry in entries:
        if not isinstance(entry.mapping, OpenMapping):
            continue
        first = first or (entry, entry.mapping.delivery)
        if entry.mapping.delivery != first[1]:
            entry.fault(
                "delivery",
                f"{entry.mapping.delivery}, and the mapping in line {first[0].line} has {first[1]}: a site delivers in "
                "one way",
                "give all opening mappings the same (left out it is exactly-once)",
            )


def _twice(entries: list[Entry]) -> None:
    sealed: dict[str, Entry] = {}
    opened: dict[str, Entry] = {}
    filled: dict[str, Entry] = {}
    for entry in entries:
        match entry.mapping:
            case SealMapping(topic=topic):
                first = sealed.setdefault(topic, entry)
                if first is not entry:
                    entry.fault(
                        "seal", f"local topic '{topic}' is sealed already in line {first.line}", "keep one of them"
                    )
            case OpenMapping(cloud_topic=cloud_topic, topic=topic):
                first = opened.setdefault(cloud_topic, entry)
                if first is not entry:
                    entry.fault(
                        "open",
                        f"cloud topic '{cloud_topic}' is opened already in line {first.line}",
                        "keep one of them",
                    )
                first = filled.setdefault(topic, entry)
                if first is not entry and not entry.mapping.by_pattern:
                    entry.fault(
                        "to",
                        f"local topic '{topic}' is filled already in line {first.line}",
                        "give each cloud topic a local topic of its own",
                    )


def _cloud_topics(entries: list[Entry], project: str) -> None:
    """Many local topics, of many sites, may go into one cloud topic; but a cloud topic is of one channel."""
    ours = {collision(topic): topic for topic in project_topics(project)} if project else {}
    first_of: dict[str, tuple[str, Entry]] = {}
    local_of: dict[str, tuple[str, Entry]] = {}
    for entry in entries:
        mapping = entry.mapping
        setting, local_setting = ("to", "seal") if isinstance(mapping, SealMapping) else ("open", "to")
        if collision(mapping.cloud_topic) in ours:
            entry.fault(
                setting, f"'{mapping.cloud_topic}' is taken: the project's own {ours[collision(mapping.cloud_topic)]}"
            )
            continue
        name, first = first_of.setdefault(collision(mapping.cloud_topic), (mapping.cloud_topic, entry))
        if name != mapping.cloud_topic:
            entry.fault(setting, _collides(mapping.cloud_topic, name, first.line))
        elif mapping.channel != first.mapping.channel:
            entry.fault(
                "channel",
                f"'{mapping.channel}' is not the channel of cloud topic '{name}', which line {first.line} puts into "
                f"'{first.mapping.channel}': a cloud topic is of one channel",
                "use one channel, or a cloud topic for each",
            )
        name, first = local_of.setdefault(collision(mapping.topic), (mapping.topic, entry))
        if name != mapping.topic:
            entry.fault(local_setting, _collides(mapping.topic, name, first.line))


def _collides(name: str, other: str, line: int) -> str:
    return f"Kafka does not take '{name}' beside '{other}' (line {line}): '.' and '_' are one to it"


def _loops(entries: list[Entry], *, one_cluster: bool) -> None:
    """Refuse to seal again what is delivered here: it would go round for ever, and as if it were ours."""
    opened = {entry.mapping.topic: entry for entry in entries if isinstance(entry.mapping, OpenMapping)}
    written = {entry.mapping.cloud_topic: entry for entry in entries if isinstance(entry.mapping, SealMapping)}
    for entry in entries:
        mapping = entry.mapping
        if isinstance(mapping, OpenMapping):
            continue
        back = opened.get(mapping.topic)
        if back is not None:
            entry.fault(
                "seal",
                f"a loop: '{mapping.topic}' is opened here in line {back.line} and would be sealed again",
                "deliver into a topic of another name",
            )
        if one_cluster and mapping.topic in written:
            line = written[mapping.topic].line
            entry.fault(
                "seal",
                f"a loop: local and cloud are one cluster, and line {line} seals into '{mapping.topic}'",
                "name two clusters, or another topic",
            )
