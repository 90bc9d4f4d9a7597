"""The charter: the authority's policies and refusals.

    fields = [version, as_of, root version,
              policies [[channel pattern, cloud topic pattern, language, produce, consume, backfill]],
              refusals [[member id, made since, why]], min_suite, min_format, max_age]

A pattern is a name, or the beginning of names followed by `*`. The first row that covers channel and cloud topic
decides; where none does, nobody may. A table is [[attribute, [values]]], rising and each once. `backfill` and `max_age`
are ms; max_age 0 means that no age makes a charter too old. Refusals rise by member id, each once.

Until the first is signed, charter 0 holds: members may produce and consume everywhere. Version and `as_of` only grow;
all of one version say the same, `as_of` aside; and no row of refusals is ever taken back.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import policy, primitives, wire
from sealwire.keys.primitives import SIGNATURE_SIZE
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import ENTRY_SIZE, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealwire.keys.primitives import SigningKey
    from sealwire.keys.root import Root

Pattern = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9._-]{0,249}\*?\Z", min_length=1)]
Why = Annotated[str, msgspec.Meta(max_length=200)]


class PolicyRow(Fields, frozen=True):
    """One policy: what it covers, and the tables that decide there."""

    channel: Pattern
    cloud_topic: Pattern
    language: wire.U8
    produce: policy.Table
    consume: policy.Table
    backfill: wire.Time


class Refusal(Fields, frozen=True):
    """One refused member: nothing counts that it made at this time (ms) or later."""

    member_id: wire.Id
    since: wire.Time
    why: Why


class CharterFields(Fields, frozen=True):
    """What a charter says."""

    version: wire.Serial
    as_of: wire.Time
    root_version: wire.Serial
    policies: Annotated[tuple[PolicyRow, ...], msgspec.Meta(max_length=4096)]
    refusals: Annotated[tuple[Refusal, ...], msgspec.Meta(max_length=8192)]
    min_suite: wire.U8
    min_format: wire.U8
    max_age: wire.Time

    def may_produce(self, attributes: Iterable[tuple[str, str]], channel: str, cloud_topic: str) -> bool:
        """Tell whether a member with these attributes may send on the channel through the cloud topic."""
        row = self._row(channel, cloud_topic)
        return row is not None and policy.satisfies(attributes, row.produce, row.language)

    def may_consume(self, attributes: Iterable[tuple[str, str]], channel: str, cloud_topic: str) -> bool:
        """Tell whether a member with these attributes may read what the channel carries through the cloud topic."""
        row = self._row(channel, cloud_topic)
        return row is not None and policy.satisfies(attributes, row.consume, row.language)

    def backfill(self, channel: str, cloud_topic: str) -> int:
        """Tell how long before its admission a member may read what is there, in ms."""
        row = self._row(channel, cloud_topic)
        return 0 if row is None else row.backfill

    def longest_backfill(self, channel: str) -> int:
        """Give the longest backfill (ms) of any cloud topic of a channel: for who does not know its topics yet."""
        return max((row.backfill for row in self.policies if policy.pattern_matches(row.channel, channel)), default=0)

    def refused_since(self, member_id: bytes) -> int | None:
        """Give the time (ms) from which on nothing counts that a member made; None for one that is not refused."""
        at = bisect_left(self.refusals, member_id, key=lambda row: row.member_id)
        found = at < len(self.refusals) and self.refusals[at].member_id == member_id
        return self.refusals[at].since if found else None

    def added(self, former: CharterFields) -> tuple[Refusal, ...]:
        """Give the rows that refuse somebody whom the former charter did not refuse, or not from so early on."""
        return tuple(row for row in self.refusals if not _covered(former.refused_since(row.member_id), row.since))

    def says_as(self, other: CharterFields) -> bool:
        """Tell whether both say the same, `as_of` aside."""
        return _CONTENT(self) == _CONTENT(other)

    def _row(self, channel: str, cloud_topic: str) -> PolicyRow | None:
        for row in self.policies:
            if policy.pattern_matches(row.channel, channel) and policy.pattern_matches(row.cloud_topic, cloud_topic):
                return row
        return None


class Charter(CharterFields, frozen=True):
    """A charter whose signature was checked."""

    statement: bytes

    @property
    def signer(self) -> bytes:
        """The digest of the authority key that signed it."""
        return self.statement[-ENTRY_SIZE:-SIGNATURE_SIZE]


_CONTENT: Final = attrgetter(*(name for name in CharterFields.__struct_fields__ if name != "as_of"))

BUILT_IN: Final = CharterFields(
    version=0,
    as_of=0,
    root_version=1,
    policies=(PolicyRow("*", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, 0),),
    refusals=(),
    min_suite=primitives.SUITE,
    min_format=1,
    max_age=0,
)

_DECODER: Final = msgspec.msgpack.Decoder(CharterFields)


def make(root: Root, authority: SigningKey, fields: CharterFields) -> bytes:
    """Sign a charter. What no reader would take is `Misuse`."""
    try:
        _check(wire.unpack(wire.pack(fields), _DECODER))
    except Rejected as refusal:
        raise Misuse(f"no charter can say this: {refusal}") from None
    return wire.write(Type.CHARTER, root.project_id, fields, [authority])


def peek(statement: bytes, project_id: bytes) -> CharterFields:
    """Read what a charter says, unproven; raise `Rejected` for what is none."""
    return wire.unpack(wire.read(statement, Type.CHARTER, project_id).body, _DECODER)


def remembered(statement: bytes, project_id: bytes) -> Charter:
    """Read a charter out of one's own vault: it was proven when it was put there. Raises `Rejected` for what is none.

    Its date is not looked at, nor its signature: a clock that went back, or an authority key that has ended since, must
    not bring an older charter back into force.
    """
    fields = peek(statement, project_id)
    _check(fields)
    return Charter(**msgspec.structs.asdict(fields), statement=statement)


def read(statement: bytes, root: Root, now: int) -> Charter:
    """Read a charter that an authority key of this root signed, or raise `Rejected`."""
    frame = wire.read(statement, Type.CHARTER, root.project_id)
    fields = wire.unpack(frame.body, _DECODER)
    _check(fields)
    if fields.as_of > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a charter as of {fields.as_of}, while our clock says {now}")
    root.check_authority(frame, fields.as_of, now)
    return Charter(**msgspec.structs.asdict(fields), statement=statement)


def stands(charter: CharterFields, root: Root) -> bool:
    """Tell whether this root names, and does not distrust, the key that signed a charter; charter 0 always stands."""
    if not isinstance(charter, Charter):
        return True
    try:
        root.authority(charter.signer, charter.as_of, charter.as_of)  # that it has ended since takes nothing back
    except Rejected:
        return False
    return True


def _check(fields: CharterFields) -> None:
    if fields.version == 0:
        raise Rejected(Reason.MALFORMED, "charter 0 is built in, nobody signs one")
    if any(before.member_id >= after.member_id for before, after in pairwise(fields.refusals)):
        raise Rejected(Reason.MALFORMED, "refusals not in rising order")
    if not all(policy.well_formed(row.produce) and policy.well_formed(row.consume) for row in fields.policies):
        raise Rejected(Reason.MALFORMED, "a policy table not in rising order")


def _covered(before: int | None, since: int) -> bool:
    return before is not None and before <= since
