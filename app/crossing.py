"""What the patterns of a node's mappings must keep off: the project's own topics, and each other's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sealwire.agents import patterns
from sealwire.agents.topic_names import project_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.agents.settings import Settings
    from sealwire.app.mapping import OpenMapping, SealMapping


def mapped(
    settings: Settings, sealing: Sequence[SealMapping], opening: Sequence[OpenMapping], *, one_cluster: bool
) -> Settings:
    """Give the settings of a worker with the mappings of its direction, and what its patterns keep off.

    What is delivered here is not sealed again: that would go round for ever. Whether a topic was delivered here is
    told by its name alone, by whatever the opening mappings can make: no cluster is asked, and none can hide it.
    ``one_cluster``: local and cloud are the same cluster, so that what is sealed stands beside its source.
    """
    ours = tuple(patterns.exactly(topic) for topic in project_topics(settings.project))
    if settings.direction == "open":
        return replace(
            settings,
            open=tuple(each.route() for each in opening if not each.by_pattern),
            open_patterns=tuple(each.pattern() for each in opening if each.by_pattern),
            never_read=ours,
            never_write=tuple(patterns.exactly(each.topic) for each in sealing if not each.by_pattern),
        )
    delivered = tuple(_whatever(each.topic, by_pattern=each.by_pattern) for each in opening)
    beside = tuple(_whatever(each.cloud_topic, by_pattern=each.by_pattern) for each in sealing)
    return replace(
        settings,
        seal=tuple(each.route() for each in sealing if not each.by_pattern),
        seal_patterns=tuple(each.pattern() for each in sealing if each.by_pattern),
        never_read=(*delivered, *ours, *beside) if one_cluster else delivered,
        never_write=ours,
    )


def _whatever(to: str, *, by_pattern: bool) -> str:
    return patterns.all_made(to) if by_pattern else patterns.exactly(to)
