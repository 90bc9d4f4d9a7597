"""From mappings and the names of a cluster's topics to routes: which topic is carried into which.

A pure function of what was mapped, what is there and what was begun: so all workers of a site come to the same routes,
whenever each of them started.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sealwire.agents import patterns
from sealwire.agents.topic_names import collision, topic_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.agents.settings import OpenRoute, SealRoute, Settings

    Route: TypeAlias = SealRoute | OpenRoute


@dataclass(frozen=True)
class Routing:
    """Routes, and in words, by the topic that is left out, why it is. ``rivals`` would be carried into one topic."""

    routes: tuple[Route, ...] = ()
    troubles: Mapping[str, str] = field(default_factory=dict)
    rivals: frozenset[str] = frozenset()


def route(settings: Settings, names: Iterable[str], begun: frozenset[str] = frozenset()) -> Routing:
    """Give the routes of a worker's direction over the topics that are there.

    Mappings by name come first, whether their topics are there or not. A pattern takes what no mapping by name reads;
    where several match, the first of the YAML does. It never takes Kafka's internal topics, ours, or what
    ``settings.never_read`` names. Of several topics that patterns would carry into one, one is: the only one of
    ``begun``, which were carried before, else the first by name; none, where a mapping by name writes it already.
    """
    written = {collision(each.writes): each for each in settings.routes}
    read = {each.reads for each in settings.routes}
    troubles: dict[str, str] = {}
    wanted: dict[str, list[Route]] = {}
    for name in sorted(set(names) - read):
        found = None if topic_problem(name) or patterns.matches_any(settings.never_read, name) else _of(settings, name)
        if found is None:
            continue
        problem = _problem(settings, found.writes)
        taken = written.get(collision(found.writes))
        if problem:
            troubles[name] = f"{name} would go to a topic that cannot be: {problem}; name it in a mapping of its own"
        elif taken is not None:
            troubles[name] = (
                f"{name} and {taken.reads} would both go to {taken.writes}: {taken.reads} does, by its name; "
                f"name {name} in a mapping of its own"
            )
        else:
            wanted.setdefault(collision(found.writes), []).append(found)
    routes: list[Route] = list(settings.routes)
    rivals: set[str] = set()
    for several in wanted.values():
        before = [each for each in several if each.reads in begun]
        chosen = before[0] if len(before) == 1 else several[0]
        routes.append(chosen)
        if len(several) > 1:
            rivals.update(each.reads for each in several)
        for other in several:
            if other is not chosen:
                troubles[other.reads] = (
                    f"{other.reads} and {chosen.reads} would both go to {chosen.writes}: {chosen.reads} does; "
                    f"name {other.reads} in a mapping of its own"
                )
    return Routing(tuple(routes), troubles, frozenset(rivals))


def _of(settings: Settings, name: str) -> Route | None:
    for pattern in settings.patterns:
        target = patterns.made(pattern.pattern, pattern.to, name)
        if target is not None:
            return pattern.route(name, target)
    return None


def _problem(settings: Settings, target: str) -> str:
    if patterns.matches_any(settings.never_write, target):
        return f"'{target}' is a topic of the project, or one that is carried from here"
    return topic_problem(target)
