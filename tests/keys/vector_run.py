"""What a vector's input comes to when the code of keys/ reads it: the word for its `expect` line."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import vector_world as world

from sealwire.keys import (
    charter,
    credential,
    events,
    grant,
    keypackage,
    progress,
    request,
    reseal,
    root,
    session,
    ticket,
)
from sealwire.keys.cursor import Cursor, Deliver, Duplicate, Gap, Hold, Rules, State, Trim, advance
from sealwire.keys.envelope import Place
from sealwire.keys.inner import Kind
from sealwire.keys.keypackage import SHORT, HeldKey
from sealwire.keys.opening import Opened, UnknownSession, open_envelope
from sealwire.keys.primitives import ReceivingKey
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.session import InboundSession
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable

    from vector_file import Vector

    from sealwire.keys.credential import Credential
    from sealwire.keys.root import Root


class Permissive:
    """Stands for a Trust whose policy lets everybody produce: what an envelope vector is not about."""

    def may_produce(self, *_: object) -> None:
        """Say nothing against it."""


def statement(vector: Vector) -> str:
    """Read a vector's statement, with all checks that its type has."""
    try:
        return _READERS[vector.text("type")](vector) or "accept"
    except Rejected as refused:
        return f"reject {refused.reason}"


def envelope(vector: Vector, trust: object = None) -> tuple[str, Opened | None]:
    """Open a vector's envelope; give what was opened too."""
    place = Place(
        vector.octets("project id"),
        vector.text("channel"),
        vector.text("cloud topic"),
        vector.number("cloud partition"),
    )
    null = any(name == "cloud record key" and value == "null" for name, value in vector.inputs)
    elsewhere = [str(value).split() for name, value in vector.inputs if name == "elsewhere"]
    data = vector.octets("envelope") + bytes(vector.number("zeros") if vector.has("zeros") else 0)
    known = _inbound(vector)
    try:
        opened = open_envelope(
            data,
            place,
            None if null else vector.octets("cloud record key"),
            {known.id: known},
            cast("Trust", trust or Permissive()),
            vector.number("now"),
            memoryview(bytearray(len(data))),
            elsewhere=[Place(place.project_id, place.channel, topic, int(number)) for topic, number in elsewhere],
        )
    except Rejected as refused:
        return f"reject {refused.reason}", None
    return ("unknown-session", None) if isinstance(opened, UnknownSession) else ("open", opened)


def _inbound(vector: Vector) -> InboundSession:
    return InboundSession(
        id=vector.octets("session id"),
        secret=vector.octets("session secret"),
        suite=vector.number("session suite"),
        project_id=vector.octets("session project id"),
        channel=vector.text("session channel"),
        member_id=vector.octets("session sender"),
        name="anna",
        site=vector.text("session site"),
        attributes=(("role", "member"), ("site", vector.text("session site"))),
        verifying_key=vector.octets("session verifying key"),
        made_at=vector.number("session made at"),
        not_after=vector.number("session not after"),
        credential_not_before=0,
        credential_not_after=vector.number("credential not after") if vector.has("credential not after") else 1 << 53,
        credential_serial=1,
        number=1,
    )


def _known_root(vector: Vector) -> Root:
    return root.trusted(vector.octets("root"))


def _certifier(vector: Vector) -> Callable[[bytes], Credential]:
    known, now = _known_root(vector), vector.number("now")
    return lambda said: credential.read(said, known, now)


def _root(vector: Vector) -> None:
    data = vector.octets("statement")
    if vector.has("former"):
        root.read_next(data, root.trusted(vector.octets("former")))
    else:
        root.read_first(data, vector.octets("project id"))


def _charter(vector: Vector) -> None:
    charter.read(vector.octets("statement"), _known_root(vector), vector.number("now"))


def _ticket(vector: Vector) -> None:
    ticket.read(vector.octets("statement")).check_root(vector.octets("root"))


def _request(vector: Vector) -> str | None:
    data, project, now = vector.octets("statement"), vector.octets("project id"), vector.number("now")
    if vector.has("credential"):
        known = _certifier(vector)(vector.octets("credential"))
        request.read(data, project).check_member(known, now, vector.number("asked at"))
        return None
    spent = vector.octets("spent by") if vector.has("spent by") else None
    book = ticket.TicketEntry(
        project, vector.octets("ticket id"), vector.octets("ticket key"), vector.number("expiry"), spent
    )
    judgement = ticket.judge(data, book, now)
    if isinstance(judgement, ticket.Refuse):
        raise Rejected(judgement.reason, judgement.detail)
    return "same" if isinstance(judgement, ticket.Same) else None


def _answer(vector: Vector) -> str | None:
    said = request.read_answer(
        vector.octets("statement"), vector.octets("request"), _known_root(vector), vector.number("now")
    )
    return f"refused {said.reason}" if isinstance(said, Rejected) else None


def _credential(vector: Vector) -> None:
    _certifier(vector)(vector.octets("statement"))


def _key_package(vector: Vector) -> None:
    known = _certifier(vector)(vector.octets("credential"))
    keypackage.read(vector.octets("statement"), known.project_id, known, vector.number("now"))


def _session(vector: Vector) -> None:
    project = _known_root(vector).project_id
    session.read(vector.octets("statement"), project, _certifier(vector), vector.number("now"))


def _grants(vector: Vector) -> None:
    project = _known_root(vector).project_id
    claim = session.read(vector.octets("session"), project, _certifier(vector), vector.number("now"))
    fields, frame = grant.read(vector.octets("statement"), project)
    granter = _certifier(vector)(vector.octets("granter")).identity_key if vector.has("granter") else None
    grant.check(fields, frame, claim, granter)
    start = vector.number("window start")
    held = HeldKey(start, start + SHORT, ReceivingKey.decode(vector.octets("receiving key")))
    refusal = Rejected(Reason.NO_GRANT, "not addressed to us")
    for given in fields.addressed_to(vector.octets("recipient")):
        try:
            grant.unwrap(given, claim, [held])
        except Rejected as refused:
            refusal = refused
        else:
            return
    raise refusal


def _progress(vector: Vector) -> None:
    known = InboundSession(
        id=vector.octets("session id"),
        secret=vector.octets("session secret"),
        suite=1,
        project_id=vector.octets("project id"),
        channel="orders",
        member_id=vector.octets("session sender"),
        name="anna",
        site="berlin",
        attributes=(),
        verifying_key=vector.octets("session verifying key"),
        made_at=0,
        not_after=0,
        credential_not_before=0,
        credential_not_after=0,
        credential_serial=1,
        number=1,
    )
    progress.read(vector.octets("statement"), known, vector.number("now"))


def _reseal(vector: Vector) -> None:
    project, secret = _known_root(vector).project_id, vector.octets("session secret")
    reseal.read(vector.octets("statement"), project, secret, _certifier(vector), vector.number("now"))


_READERS: dict[str, Callable[[Vector], str | None]] = {
    "root": _root,
    "charter": _charter,
    "ticket": _ticket,
    "request": _request,
    "answer": _answer,
    "credential": _credential,
    "key package": _key_package,
    "session": _session,
    "grants": _grants,
    "progress": _progress,
    "reseal": _reseal,
}


def learn(vector: Vector) -> str:
    """Learn what a vector's reader knew, then its statement; give what happened to that one."""
    now = vector.number("now")
    trust = Trust(_known_root(vector), me=vector.octets("me"))
    for each in vector.all("learnt"):
        trust, _ = trust.learn([each], now)
    _, happened = trust.learn([vector.octets("statement")], now)
    if not happened:
        return "known"
    (event,) = happened
    if isinstance(event, events.Refused):
        return f"reject {event.reason}"
    return f"wait {event.reason}" if isinstance(event, events.Waits) else "accept"


def holds(vector: Vector) -> str:
    """Learn what a vector's reader knew; give whether it goes on."""
    now = vector.number("now")
    trust = Trust(_known_root(vector), me=vector.octets("me"))
    for each in vector.all("learnt"):
        trust, _ = trust.learn([each], now)
    why = trust.holds(now)
    return "goes-on" if why is None else f"hold {why.reason}"


def policy(vector: Vector) -> tuple[str, Opened | None]:
    """Open a vector's envelope under the charter that it has."""
    known = _known_root(vector)
    trust = Trust(known)
    if vector.has("charter"):
        trust = Trust(known, charter=charter.read(vector.octets("charter"), known, vector.number("now")))
    return envelope(vector, trust)


def cursor(vector: Vector) -> str:
    """Give what an envelope does to a vector's cursor."""
    lost = vector.text("kind") == "lost"
    said = world.inner(
        kind=Kind.LOST if lost else Kind.RECORDS,
        flags=vector.number("flags"),
        first=vector.number("first"),
        next=vector.number("next"),
        last_stable=vector.number("last stable"),
        sealed_at=vector.number("sealed at"),
        record_count=vector.number("records"),
    )
    session_of = world.inbound(world.outbound(made_at=vector.number("made at")))
    opened = Opened(said, session_of, said.source("orders"), memoryview(b""), bytes(32))
    after = vector.text("cursor next")
    state, _, why = vector.text("cursor state").partition(" ")
    before = Cursor(
        opened.source,
        None if after == "none" else int(after),
        vector.number("session floor"),
        vector.number("cursor sealed at"),
        State(state),
        Reason(why) if why else None,
    )
    match advance(before, opened, Rules())[1]:
        case Deliver():
            return "deliver"
        case Trim(offset):
            return f"trim {offset}"
        case Duplicate():
            return "duplicate"
        case Gap(span, reason):
            return f"gap {span.first} {span.next} {reason}"
        case Hold(reason):
            return f"hold {reason}"
