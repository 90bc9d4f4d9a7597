"""The statements of the vectors' small world: a root, an authority, a sender in berlin, a reader in paris.

HPKE draws its own random bytes, so what was wrapped once is kept in `tests/vectors/hpke.txt` and used again.
"""

from __future__ import annotations

import base64
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import msgspec
from vector_file import FOLDER
from vector_world import MADE_AT, NOW, Seeded, seeded

from sealwire.keys import credential, grant, identity, keypackage, primitives, root, session, wire
from sealwire.keys.keypackage import DAY, SHORT, HeldKey, KeyPackageFields, Window
from sealwire.keys.primitives import ReceivingKey, SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.keys.identity import Identity

BEGAN = NOW - DAY
ROOT_SIGNERS = [SigningKey.from_seed(seeded(f"root key {number}")) for number in (1, 2, 3)]
AUTHORITY = SigningKey.from_seed(seeded("authority"))
STRANGER = SigningKey.from_seed(seeded("stranger"))
ROOT_BYTES = root.make_first("acme", ROOT_SIGNERS, 2, [(AUTHORITY.public, NOW + 30 * DAY)], [], BEGAN)
ROOT = root.read_first(ROOT_BYTES)
PROJECT = ROOT.project_id
ANNA, BERT = identity.create(Seeded("anna"), BEGAN), identity.create(Seeded("bert"), BEGAN)


def certified(who: Identity, name: str, site: str, serial: int = 1, **more: object) -> bytes:
    """Make a credential for one of them."""
    made: dict[str, object] = {
        "member_id": who.member_id,
        "identity_key": who.public,
        "name": name,
        "attributes": {"role": "member", "site": site},
        "serial": serial,
        "now": BEGAN,
        **more,
    }
    return credential.make(ROOT, AUTHORITY, **made)  # type: ignore[arg-type]


ANNA_BYTES, BERT_BYTES = certified(ANNA, "anna", "berlin"), certified(BERT, "bert", "paris")
ANNA_CREDENTIAL, BERT_CREDENTIAL = (credential.read(each, ROOT, NOW) for each in (ANNA_BYTES, BERT_BYTES))

SHORT_START = MADE_AT - MADE_AT % SHORT
HELD = HeldKey(SHORT_START, SHORT_START + SHORT, ReceivingKey(seeded("receiving key")))
OTHER_HELD = HeldKey(SHORT_START, SHORT_START + SHORT, ReceivingKey(seeded("another receiving key")))


def package(made_at: int = MADE_AT - 1000, serial: int = 1, public: bytes | None = None, who: Identity = BERT) -> bytes:
    """Make a key package of one window: a real one has 29, and 35 kB."""
    window = Window(HELD.start, HELD.end, 1, HELD.receiving.public if public is None else public)
    fields = KeyPackageFields(who.member_id, serial, made_at, (window,))
    return wire.write(wire.Type.KEY_PACKAGE, PROJECT, fields, [BERT.signing])


PACKAGE_BYTES = package()
PACKAGE = keypackage.read(PACKAGE_BYTES, PROJECT, BERT_CREDENTIAL, NOW)
MINE, SESSION_BYTES = session.start(ANNA, ANNA_BYTES, PROJECT, "orders", 0, 1, MADE_AT, Seeded("session"))
NEXT, NEXT_BYTES = session.start(ANNA, ANNA_BYTES, PROJECT, "orders", 0, 2, MADE_AT + 1, Seeded("next session"))


def remade(statement: bytes, signers: list[SigningKey], **fields: object) -> bytes:
    """Make a statement again whose body has other fields; `fields` are positions (`f3=...`) or `more` to append."""
    kind = wire.Type(statement[2])
    body = body_of(statement)
    for name, value in fields.items():
        if name == "more":
            body.append(value)
        else:
            body[int(name[1:])] = value
    return wire.finish(kind, wire.head(kind, statement[5:37], msgspec.msgpack.encode(body)), signers)


def body_of(statement: bytes) -> list[Any]:
    """Give a statement's fields in their order."""
    size = int.from_bytes(statement[37:41], "big")
    fields: list[Any] = msgspec.msgpack.decode(statement[41 : 41 + size])
    return fields


@contextmanager
def stored_hpke() -> Iterator[dict[str, str]]:
    """Let HPKE give what it gave the first time; yields what was used, for the store."""
    path = FOLDER / "hpke.txt"
    known = dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}
    used: dict[str, str] = {}
    real = primitives.hpke_wrap

    def wrap(public: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        name = primitives.sha256(public, info, plaintext).hex()
        if name not in known:
            enc, ciphertext = real(public, info, plaintext)
            known[name] = base64.b64encode(enc + ciphertext).decode()
        used[name] = known[name]
        wrapped = base64.b64decode(known[name])
        return wrapped[: primitives.ENC_SIZE], wrapped[primitives.ENC_SIZE :]

    with patch.object(primitives, "hpke_wrap", wrap):
        yield used


def granted(mine: session.OutboundSession = MINE, number: int = 1) -> bytes:
    """Wrap a session's secret for the reader; only inside `stored_hpke`."""
    (statement,) = grant.wrap(mine, [(BERT.member_id, PACKAGE)], number, MADE_AT, Seeded("grant"))
    return statement
