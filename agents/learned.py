"""What a batch of statements brought for this worker: what it must remember, and whom of its parts to tell."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.keys.events import Admitted, Chartered, KeysAnnounced, Opened, Refused, Rooted
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

    from sealwire.agents.ports import Trail
    from sealwire.keys.events import Event
    from sealwire.keys.secrets import Floor, Secrets
    from sealwire.keys.trust import Trust

_log = logging.getLogger(__name__)
_SAMPLES = 20  # refused statements of one Reason that are told in the log


@dataclass
class News:
    """What happened. ``secrets`` are to be saved before anything else is made of it.

    ``members``: who may read or send may have changed. ``announced``: who announced receiving keys for the first time,
    or anew. ``fresh``: the ids of sessions that were granted to us. ``own_key_package``: one of our own came.
    ``dropped``: members that a new root no longer stands for, unless they were admitted anew.
    """

    secrets: Secrets
    members: bool = False
    chartered: bool = False
    admitted: bool = False
    identity_replaced: bool = False
    own_key_package: bool = False
    announced: list[bytes] = field(default_factory=list)
    fresh: set[bytes] = field(default_factory=set)
    dropped: set[bytes] = field(default_factory=set)


def gather(events: Iterable[Event], secrets: Secrets, floors: Mapping[bytes, Floor], refused: Counter[str]) -> News:
    """Go through what happened; refused statements are counted by Reason, the first few of each told in the log.

    ``floors`` are those of the Trust after it.
    """
    news, me = News(secrets), secrets.identity.member_id
    for event in events:
        match event:
            case Refused(reason, detail) as refusal:
                refused[str(reason)] += 1
                # An older statement beside its newer one is what a topic not compacted yet looks like.
                if refused[str(reason)] <= _SAMPLES and reason is not Reason.OUTDATED:
                    _log.warning("statement %s refused: %s: %s", refusal.digest.hex()[:16], reason, detail)
            case Rooted(statement=statement, dropped=dropped, unproven=unproven):
                news.secrets, news.members = news.secrets.rooted(statement, unproven), True
                news.dropped.update(dropped)
            case Chartered(statement=statement, changed=changed):
                news.secrets = news.secrets.chartered(statement)
                news.members = news.chartered = news.chartered or changed
            case Admitted(credential):
                news.members = True
                if credential.member_id == me and news.secrets.is_ours(credential):
                    before, news.secrets = news.secrets.identity, news.secrets.admitted(credential.statement)
                    news.admitted = True
                    news.identity_replaced = news.identity_replaced or news.secrets.identity is not before
            case KeysAnnounced(member_id, new, anew):
                news.members = True
                news.own_key_package = news.own_key_package or member_id == me
                news.announced += [member_id] if new or anew else []
            case Opened(session):
                news.fresh.add(session.id)
            case _:
                pass
    news.secrets = news.secrets.raised(floors)  # last: a root may have let some of them sink
    return news


def put_on_record(trail: Trail, events: Iterable[Event], trust: Trust, before: Secrets) -> None:
    """Note for good what changed in who is trusted, beyond what this worker remembered ``before``."""
    for event in events:
        match event:
            case Admitted(credential):
                floor = before.floors.get(credential.member_id)
                name, who, serial = credential.name, credential.member_id.hex(), credential.serial
                if floor is None:
                    trail.note("admitted", name=name, member_id=who, serial=serial)
                elif serial > floor.credential_serial:
                    trail.note("renewed", name=name, member_id=who, serial=serial)
            case Chartered(version=version, as_of=as_of, changed=True, refused=rows):
                trail.note("charter", version=version, as_of=as_of)
                for row in rows:
                    name, since = trust.name_of(row.member_id), row.since
                    trail.note("refused", name=name, member_id=row.member_id.hex(), since=since, words=row.why)
            case Rooted(version=version):
                trail.note("root", version=version)
            case _:
                pass
