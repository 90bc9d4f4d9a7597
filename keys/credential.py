"""The credential: what the authority signed about a member.

    fields = [member id, algorithm, identity key, name, attributes [[name, value]], admitted, not_before, not_after,
              serial, root version, charter version]

Attributes rise by name, each once, and `site` is always among them. `serial` grows with every credential of a member.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from sealwire.keys import primitives, wire
from sealwire.keys.parsing import Parser
from sealwire.keys.primitives import ED25519, SIGNATURE_SIZE
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import ENTRY_SIZE, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.keys.primitives import SigningKey, Verify
    from sealwire.keys.root import Root

VALIDITY: Final = 7 * 24 * 3600 * 1000  # ms
MEMBER: Final = ("role", "member")  # the attribute that charter 0 asks for


class CredentialFields(Fields, frozen=True):
    """What a credential says."""

    member_id: wire.Id
    algorithm: wire.U8
    identity_key: wire.PublicKey
    name: wire.Name
    attributes: wire.Attributes
    admitted: wire.Time
    not_before: wire.Time
    not_after: wire.Time
    serial: wire.Serial
    root_version: wire.Serial
    charter_version: wire.Serial


class Credential(CredentialFields, frozen=True, dict=True):
    """A credential whose signature was checked."""

    project_id: bytes
    digest: bytes
    statement: bytes

    @property
    def signer(self) -> bytes:
        """The digest of the authority key that signed it."""
        return self.statement[-ENTRY_SIZE:-SIGNATURE_SIZE]

    @cached_property
    def site(self) -> str:
        """The site whose source partitions this member may speak for."""
        return dict(self.attributes)["site"]

    def valid_at(self, at: int) -> bool:
        """Tell whether it holds at a time (ms). Its start is as early as two clocks of a project may differ."""
        return self.not_before - SKEW <= at <= self.not_after


_DECODER: Final = msgspec.msgpack.Decoder(CredentialFields)
_MEMO_MOST: Final = 8192


class Memo:
    """Credentials whose signatures were checked under one root, by digest of the statement: each is verified once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[bytes, Credential] = {}

    def read(self, statement: bytes, root: Root, now: int, verify: Verify | None = None) -> Credential:
        """Read a credential as `read` does."""
        digest = primitives.digest(statement)
        known = self._known.get(digest)
        if known is not None:
            _check_date(known, now)
            root.authority(known.signer, known.not_before, now)
            return known
        known = read(statement, root, now, verify)
        if len(self._known) >= _MEMO_MOST:
            self._known.clear()
        self._known[digest] = known
        return known

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)


def make(
    root: Root,
    authority: SigningKey,
    *,
    member_id: bytes,
    identity_key: bytes,
    name: str,
    attributes: Mapping[str, str],
    serial: int,
    now: int,
    admitted: int | None = None,
    charter_version: int = 0,
    validity: int = VALIDITY,
) -> bytes:
    """Make a credential, valid from `now` for `validity` ms. `admitted` is the first admission's time, if not now.

    An attribute `site` must be there; what no reader would take is `Misuse`.
    """
    fields = CredentialFields(
        member_id=member_id,
        algorithm=ED25519,
        identity_key=identity_key,
        name=name,
        attributes=wire.attributes(attributes.items()),
        admitted=now if admitted is None else admitted,
        not_before=now,
        not_after=now + validity,
        serial=serial,
        root_version=root.version,
        charter_version=charter_version,
    )
    try:
        _check(wire.unpack(wire.pack(fields), _DECODER))
    except Rejected as refusal:
        raise Misuse(f"no credential can say this: {refusal}") from None
    return wire.write(Type.CREDENTIAL, root.project_id, fields, [authority])


parse: Final = Parser(Type.CREDENTIAL, _DECODER)
"""Takes a credential apart, unproven, or raises `Rejected`; one just read is not parsed again."""


def read(statement: bytes, root: Root, now: int, verify: Verify | None = None) -> Credential:
    """Read a credential that an authority key of this root signed, or raise `Rejected`.

    Whether it is valid at a given time is for its user to ask; here only its date must not be ahead of `now`.
    """
    fields, frame = parse(statement, root.project_id)
    _check(fields)
    _check_date(fields, now)
    root.check_authority(frame, fields.not_before, now, verify)
    return Credential(
        **msgspec.structs.asdict(fields), project_id=root.project_id, digest=frame.digest, statement=statement
    )


def peek(statement: bytes, project_id: bytes) -> CredentialFields:
    """Read what a credential says, unproven; raise `Rejected` for what is none."""
    return parse(statement, project_id)[0]


def _check_date(fields: CredentialFields, now: int) -> None:
    if fields.not_before > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a credential of {fields.not_before}, while our clock says {now}")


def _check(fields: CredentialFields) -> None:
    if not wire.rising(fields.attributes):
        raise Rejected(Reason.MALFORMED, "attributes not in rising order")
    site = dict(fields.attributes).get("site")
    if site is None or not wire.good_name(site):
        raise Rejected(Reason.MALFORMED, "a credential without site")
    if not fields.admitted <= fields.not_before <= fields.not_after:
        raise Rejected(Reason.MALFORMED, "a credential whose times do not follow each other")
    if fields.algorithm != ED25519:
        raise Rejected(Reason.UNKNOWN_SUITE, f"identity key algorithm {fields.algorithm}")
