"""The root: the offline keys that say who is the authority.

    fields = [version, digest of the former root or nil, project name, root keys [[algorithm, key]], threshold,
              authority keys [[algorithm, key, until]], escrow [[name, suite, receiving key]],
              distrusted [[key, since]], made_at]

Version 1 is signed by the threshold of its own root keys; its frame has zeros for the project id, and its SHA-256 over
label | everything before the count is the project id. Version N+1 is signed by the thresholds of N and of N+1. Every
signature there must be of a root key of one of the two, and must verify.

An authority key counts while the statement's own date and the reader's clock are both at most `until`, and unless the
root distrusts it since the statement's date or before. So a key that is about to end must go on being named until the
last credential under it has been replaced, and the backlog under those delivered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import primitives, wire
from sealwire.keys.primitives import ED25519
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Fields, Frame, Type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.primitives import SigningKey, Verify

_FEW: Final = msgspec.Meta(max_length=16)
_SOME: Final = msgspec.Meta(min_length=1, max_length=16)
Receiving = Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]  # its length comes from the suite


class RootFields(Fields, frozen=True):
    """What a root says."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1 << 32)]
    former: wire.Id | None
    project_name: wire.Name
    root_keys: Annotated[tuple[tuple[wire.U8, wire.PublicKey], ...], _SOME]
    threshold: wire.U8
    authority_keys: Annotated[tuple[tuple[wire.U8, wire.PublicKey, wire.Time], ...], _FEW]
    escrow: Annotated[tuple[tuple[wire.Name, wire.U8, Receiving], ...], _FEW]
    distrusted: Annotated[tuple[tuple[wire.PublicKey, wire.Time], ...], _FEW]
    made_at: wire.Time


class Root(RootFields, frozen=True, dict=True):
    """A root whose signatures were checked."""

    project_id: bytes
    digest: bytes
    statement: bytes

    @cached_property
    def _authority(self) -> dict[bytes, tuple[bytes, int, int | None]]:
        since = dict(self.distrusted)
        return {
            primitives.sha256(public): (public, until, since.get(public))
            for algorithm, public, until in self.authority_keys
            if algorithm == ED25519
        }

    def check_authority(self, frame: Frame, made_at: int, now: int, verify: Verify | None = None) -> None:
        """Check that one authority key, which counts for a statement of this date, signed; else raise `Rejected`."""
        if len(frame.entries) != 1:
            raise Rejected(Reason.UNKNOWN_SIGNER, f"{len(frame.entries)} signatures, not the authority's one")
        signer, signature = frame.entries[0]
        if not (verify or primitives.verify)(self.authority(signer, made_at, now), frame.signed, signature):
            raise Rejected(Reason.BAD_SIGNATURE, "not the authority's signature")

    def authority(self, signer: bytes, made_at: int, now: int) -> bytes:
        """Give the authority key of this digest, if it counts for a statement of this date; else raise `Rejected`."""
        public, until, since = self._authority.get(signer, (None, 0, None))
        if public is None:
            raise Rejected(Reason.UNKNOWN_SIGNER, f"{signer.hex()[:16]} is no authority key of root {self.version}")
        if since is not None and made_at >= since:
            raise Rejected(Reason.DISTRUSTED, f"root {self.version} distrusts {signer.hex()[:16]} since {since}")
        if max(made_at, now) > until:
            raise Rejected(Reason.EXPIRED, f"authority key {signer.hex()[:16]} ended at {until}")
        return public


@dataclass(frozen=True)
class Draft:
    """A root on its way through its holders' hands: signed by none, some or all; each signature is good."""

    fields: RootFields
    former: Root = field(repr=False)
    statement: bytes = field(repr=False)
    signed: bytes = field(repr=False)  # what signatures cover
    entries: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    def signed_by(self, public: bytes) -> bool:
        """Tell whether this root key has signed."""
        return primitives.sha256(public) in dict(self.entries)

    @property
    def lacking(self) -> tuple[int, int]:
        """How many signatures are still to come of the former root's keys, and of the new one's."""
        signed = dict(self.entries).keys()
        former, new = (each.threshold - len(signed & _by_digest(each).keys()) for each in (self.former, self.fields))
        return max(0, former), max(0, new)


_DECODER: Final = msgspec.msgpack.Decoder(RootFields)


def make_first(
    project_name: str,
    root_signers: Sequence[SigningKey],
    threshold: int,
    authority_keys: Sequence[tuple[bytes, int]],
    escrow: Sequence[tuple[str, bytes]],
    now: int,
) -> bytes:
    """Make root version 1, with which a project begins.

    `authority_keys` are (public, until ms), `escrow` (name, receiving key). What no reader would take is `Misuse`.
    """
    fields = RootFields(
        version=1,
        former=None,
        project_name=project_name,
        root_keys=tuple((ED25519, signer.public) for signer in root_signers),
        threshold=threshold,
        authority_keys=tuple((ED25519, public, until) for public, until in authority_keys),
        escrow=tuple((name, primitives.SUITE, receiving) for name, receiving in escrow),
        distrusted=(),
        made_at=now,
    )
    return _made(fields, wire.NO_PROJECT, root_signers)


def make_next(former: Root, fields: RootFields, signers: Sequence[SigningKey]) -> bytes:
    """Make the root after `former`, whose version and digest replace what `fields` has there."""
    fields = msgspec.structs.replace(fields, version=former.version + 1, former=former.digest)
    return _made(fields, former.project_id, signers)


def _made(fields: RootFields, project_id: bytes, signers: Sequence[SigningKey]) -> bytes:
    statement = wire.write(Type.ROOT, project_id, fields, signers)
    try:
        wire.unpack(wire.pack(fields), _DECODER)
        _check_fields(fields)
    except Rejected as refusal:
        raise Misuse(f"no root can say this: {refusal}") from None
    return statement


def project_id(root_bytes: bytes) -> bytes:
    """Give the project id that a root version 1 makes: SHA-256 over label | everything before the count."""
    return primitives.sha256(wire.read(root_bytes, Type.ROOT, wire.NO_PROJECT).signed)


def read_first(statement: bytes, pinned: bytes | None = None) -> Root:
    """Read root version 1, of the pinned project id where one is given; raise `Rejected` for anything else."""
    frame = wire.read(statement, Type.ROOT, wire.NO_PROJECT)
    fields = _fields(frame)
    if fields.version != 1 or fields.former is not None:
        raise Rejected(Reason.MALFORMED, "a root without project id that is not the first")
    mine = primitives.sha256(frame.signed)
    if pinned not in (None, mine):
        raise Rejected(Reason.OTHER_PROJECT, "the first root of another project")
    _check_thresholds(frame, fields)
    return _root(fields, frame, mine, statement)


def read_next(statement: bytes, former: Root) -> Root:
    """Read the root that follows `former`, signed by the thresholds of both; raise `Rejected` for anything else."""
    frame = wire.read(statement, Type.ROOT, former.project_id)
    fields = _following(frame, former)
    _check_thresholds(frame, fields, former)
    return _root(fields, frame, former.project_id, statement)


def _following(frame: Frame, former: Root) -> RootFields:
    fields = _fields(frame)
    if fields.version != former.version + 1:
        raise Rejected(Reason.OUTDATED, f"root {fields.version} does not follow root {former.version}")
    if fields.former != former.digest:
        raise Rejected(Reason.FORK, f"root {fields.version} follows another root {former.version}")
    return fields


def read_draft(statement: bytes, former: Root, *copies: bytes) -> Draft:
    """Read a root that its holders sign one after the other, with the signatures of copies of it; `make_next` drafts.

    Raises `Rejected` where one is no root after `former`, where a signature is not good or of neither root's keys, and
    (fork) where a copy does not say the same.
    """
    frame = wire.read(statement, Type.ROOT, former.project_id)
    fields = _following(frame, former)
    for copy in copies:
        other = wire.read(copy, Type.ROOT, former.project_id)
        if other.signed != frame.signed:
            raise Rejected(Reason.FORK, "two drafts that do not say the same")
        statement = wire.cosign(statement, dict(other.entries))
    frame = wire.read(statement, Type.ROOT, former.project_id)
    _check_signatures(frame, [former, fields])
    return Draft(fields, former, statement, frame.signed, frame.entries)


def sign(draft: Draft, signer: SigningKey) -> Draft:
    """Sign a draft with one more root key; raise `Rejected` (unknown-signer) for a key of neither root."""
    entry = {primitives.sha256(signer.public): signer.sign(draft.signed)}
    return read_draft(wire.cosign(draft.statement, entry), draft.former)


def read_pinned(statement: bytes, project: bytes, digest: bytes | None = None) -> Root:
    """Read a root whose descent is known otherwise: from one's own vault, or because a ticket pins its digest.

    Its own threshold is checked, not the former root's. Raises `Rejected`.
    """
    if version(statement) == 1:
        root = read_first(statement, project)
    else:
        frame = wire.read(statement, Type.ROOT, project)
        fields = _fields(frame)
        if fields.version == 1 or fields.former is None:
            raise Rejected(Reason.MALFORMED, "a first root with a project id")
        _check_thresholds(frame, fields, strangers=True)
        root = _root(fields, frame, project, statement)
    if digest not in (None, root.digest):
        raise Rejected(Reason.FORK, f"another root {root.version} than the pinned one")
    return root


def trusted(statement: bytes) -> Root:
    """Read a root that came from our own hands (the authority's directory, a vault), whatever project it is of."""
    project = statement[5:37]
    return read_pinned(statement, project_id(statement) if project == wire.NO_PROJECT else project)


def version(statement: bytes) -> int:
    """Give the version that a root says it has, unproven; raise `Rejected` for what is no root."""
    frame = wire.read(statement, Type.ROOT, statement[5:37])
    return wire.unpack(frame.body, _DECODER).version


def _fields(frame: Frame) -> RootFields:
    fields = wire.unpack(frame.body, _DECODER)
    _check_fields(fields)
    return fields


def _check_fields(fields: RootFields) -> None:
    if not 1 <= fields.threshold <= len(fields.root_keys):
        raise Rejected(Reason.MALFORMED, f"a threshold of {fields.threshold} of {len(fields.root_keys)} root keys")
    lists: tuple[Sequence[object], ...] = (
        [public for _, public in fields.root_keys],
        [public for _, public, _ in fields.authority_keys],
        [name for name, _, _ in fields.escrow],
        [receiving for _, _, receiving in fields.escrow],
        [public for public, _ in fields.distrusted],
    )
    if any(len(set(entries)) != len(entries) for entries in lists):
        raise Rejected(Reason.MALFORMED, "a root that names something twice")


def _check_thresholds(
    frame: Frame, fields: RootFields, former: RootFields | None = None, *, strangers: bool = False
) -> None:
    """Check every signature, and that enough are of each root; `strangers` may sign too where the former is unknown."""
    roots = [fields] if former is None else [former, fields]
    _check_signatures(frame, roots, strangers=strangers)
    signed = dict(frame.entries).keys()
    for root in roots:
        count = len(signed & _by_digest(root).keys())
        if count < root.threshold:
            raise Rejected(
                Reason.UNKNOWN_SIGNER,
                f"signed by {count} keys of root {root.version}, which asks for {root.threshold}",
            )


def _check_signatures(frame: Frame, roots: Sequence[RootFields], *, strangers: bool = False) -> None:
    signers = [_by_digest(root) for root in roots]
    for digest, signature in frame.entries:
        public = next((known[digest] for known in signers if digest in known), None)
        if public is None:
            if strangers:
                continue
            raise Rejected(Reason.UNKNOWN_SIGNER, f"{digest.hex()[:16]} is no root key")
        if not primitives.verify(public, frame.signed, signature):
            raise Rejected(Reason.BAD_SIGNATURE, f"not the signature of root key {digest.hex()[:16]}")


def _by_digest(root: RootFields) -> dict[bytes, bytes]:
    return {primitives.sha256(public): public for algorithm, public in root.root_keys if algorithm == ED25519}


def _root(fields: RootFields, frame: Frame, project: bytes, statement: bytes) -> Root:
    return Root(**msgspec.structs.asdict(fields), project_id=project, digest=frame.digest, statement=statement)
