"""Opens the test vectors, from keys/FORMAT.md alone: python tests/second_opener/opener.py VECTOR...

Nothing of sealwire is imported. It prints what each file says must happen, and what happened.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from typing import Any

from canonical import Refused
from envelopes import Cursor, Place, Session, decide, open_envelope
from judging import Judge, first_root, may_produce, next_root, pinned_root, project_of, unwrap
from known import Known
from statements import Statement, read, read_ticket

Vector = dict[str, list[str]]


def parse(written: str) -> Vector:
    """The values of each name of a vector's file."""
    vector: Vector = {}
    name = ""
    for line in written.splitlines():
        if line.startswith("  "):
            vector[name][-1] += "\n" + line[2:]
        elif line:
            name, _, value = line.partition(":")
            vector.setdefault(name, []).append(value.strip())
    return vector


def octets(value: str) -> bytes:
    """Bytes of `hex` or `base64`."""
    form, _, digits = value.partition("\n" if value.startswith("base64") else " ")
    return base64.b64decode(digits) if form == "base64" else bytes.fromhex(digits)


def first(vector: Vector, name: str) -> Any:
    """The first value of that name: bytes, a number or a text; None where there is none."""
    value = vector.get(name, ["none"])[0]
    if value.startswith(("hex", "base64")):
        return octets(value)
    return None if value in {"none", "null"} else int(value) if value.lstrip("-").isdigit() else value


def judge_of(vector: Vector) -> Judge:
    """A reader that believes the root of the vector."""
    root = read(first(vector, "root"), "root", None)
    return Judge(root, project_of(root), first(vector, "now") or 0)


def rootless(vector: Vector) -> Judge:
    """A judge of what no authority signs."""
    return Judge(Statement("root", b"", {}, b"", b"", []), first(vector, "project id"), first(vector, "now"))


def session_of(vector: Vector) -> Session:
    """The proven session of an envelope's or a progress statement's vector."""
    project = first(vector, "session project id") or first(vector, "project id")
    names = ("id", "suite", "secret", "channel", "sender", "site", "verifying key", "made at", "not after")
    id_, suite, secret, channel, sender, site, key, made_at, not_after = (
        first(vector, f"session {each}") for each in names
    )
    return Session(id_, suite, secret, project, channel, sender, site, key, made_at, not_after)


def envelope(vector: Vector) -> tuple[str, dict[str, Any]]:
    """What becomes of the envelope, and what it holds."""
    session = session_of(vector)
    names = ("project id", "channel", "cloud topic", "cloud partition", "cloud record key")
    place = Place(*(first(vector, each) for each in names))
    others = [each.split() for each in vector.get("elsewhere", ())]
    elsewhere = [
        Place(place.project, place.channel, topic, int(number), record_key)
        for topic, number in others
        for record_key in (place.record_key, None)
    ]
    whole = first(vector, "envelope") + bytes(first(vector, "zeros") or 0)

    def judge(of: Session) -> None:
        attributes = {"role": "member", "site": of.site}
        charter = judge_of(vector).charter(first(vector, "charter")) if "charter" in vector else None
        ends = first(vector, "credential not after")
        may_produce(charter, of, attributes, ends, place.topic, first(vector, "now"))

    more = {"elsewhere": elsewhere, "may_produce": judge if "root" in vector else None}
    try:
        opened = open_envelope(whole, place, {session.id: session}, first(vector, "now"), **more)
    except Refused as refused:
        return f"reject {refused}", {}
    return "open" if opened else "unknown-session", opened


def statement(vector: Vector) -> str:
    """What becomes of the statement."""
    try:
        return STATEMENTS[vector["type"][0]](vector, first(vector, "statement"))
    except Refused as refused:
        return f"reject {refused}"


def _root(vector: Vector, told: bytes) -> str:
    if "former" in vector:
        next_root(told, read(first(vector, "former"), "root", None))
    else:
        first_root(told, first(vector, "project id"))
    return "accept"


def _ticket(vector: Vector, told: bytes) -> str:
    ticket = read_ticket(told)
    pinned_root(first(vector, "root"), ticket.project, ticket["root_digest"])
    return "accept"


def _request(vector: Vector, told: bytes) -> str:
    if "ticket id" in vector:
        books = (first(vector, each) for each in ("ticket id", "ticket key", "expiry", "spent by"))
        return rootless(vector).request_by_ticket(told, *books)
    judge = judge_of(vector)
    return judge.request_of_member(told, judge.credential(first(vector, "credential")), first(vector, "asked at"))


def _answer(vector: Vector, told: bytes) -> str:
    judge = judge_of(vector)
    return judge.answer(told, read(first(vector, "request"), "request", judge.project))


def _charter(vector: Vector, told: bytes) -> str:
    judge_of(vector).charter(told)
    return "accept"


def _credential(vector: Vector, told: bytes) -> str:
    judge_of(vector).credential(told)
    return "accept"


def _key_package(vector: Vector, told: bytes) -> str:
    judge = judge_of(vector)
    judge.key_package(told, judge.credential(first(vector, "credential")))
    return "accept"


def _session(vector: Vector, told: bytes) -> str:
    judge_of(vector).session(told)
    return "accept"


def _grants(vector: Vector, told: bytes) -> str:
    judge = judge_of(vector)
    claim, sender = judge.session(first(vector, "session"))
    granter = judge.credential(first(vector, "granter")) if "granter" in vector else None
    it = judge.grants(told, claim, granter)
    keys = [(first(vector, "window start"), first(vector, "receiving key"))]
    unwrap(it, claim, sender["member"], first(vector, "recipient"), keys)
    return "accept"


def _progress(vector: Vector, told: bytes) -> str:
    rootless(vector).progress(told, session_of(vector))
    return "accept"


def _reseal(vector: Vector, told: bytes) -> str:
    judge_of(vector).reseal(told, first(vector, "session secret"))
    return "accept"


STATEMENTS = {
    "root": _root, "charter": _charter, "ticket": _ticket, "request": _request, "answer": _answer,
    "credential": _credential, "key package": _key_package, "session": _session, "grants": _grants,
    "progress": _progress, "reseal": _reseal,
}  # fmt: skip


def trust(vector: Vector) -> str:
    """What becomes of the last statement after those that were learnt before, or of a reader that learnt them."""
    known = Known(judge_of(vector), first(vector, "me"))
    for each in vector.get("learnt", ()):
        known.learn(octets(each))
    if "statement" in vector:
        return known.learn(first(vector, "statement"))
    return "goes-on" if (reason := known.holds()) is None else f"hold {reason}"


def cursor(vector: Vector) -> str:
    """What the cursor decides."""
    _, _, held = str(first(vector, "cursor state")).partition("held ")
    floor, sealed_at = first(vector, "session floor"), first(vector, "cursor sealed at")
    names = {"last stable": "last_stable", "sealed at": "sealed_at"}
    said = {names.get(each, each): first(vector, each) for each in vector}
    return decide(Cursor(first(vector, "cursor next"), floor, sealed_at, held or None), first(vector, "made at"), said)


def outcome(vector: Vector) -> tuple[str, dict[str, Any]]:
    """What happened, in the words of `expect`, and what an envelope held."""
    if "envelope" in vector:
        word, opened = envelope(vector)
        if not opened:
            return word, {}
        batches = opened["batches"]
        return word, {
            "source": "{channel}/{site}/{topic}/{partition}".format(**opened),
            "span": f"{opened['first']} {opened['next']}",
            "kind": opened["kind"], "cause": opened["cause"], "flags": str(opened["flags"]),
            "batches size": str(len(batches)),
            "batches sha256": "hex " + hashlib.sha256(batches).hexdigest(),
            "body digest": "hex " + opened["body_digest"].hex(),
        }  # fmt: skip
    return cursor(vector) if "cursor next" in vector else statement(vector) if "type" in vector else trust(vector), {}


def main(paths: list[str]) -> int:
    """Print what became of each vector; 1 if something else than it says."""
    wrong = 0
    for path in map(Path, paths):
        vector = parse(path.read_text())
        word, opened = outcome(vector)
        right = [word] == vector["expect"] and all([value] == vector[name] for name, value in opened.items())
        wrong += not right
        print(f"{'as it says' if right else 'NOT ' + vector['expect'][0]}: {path}: {word}")
        for name, value in opened.items():
            print(f"    {name}: {value}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
