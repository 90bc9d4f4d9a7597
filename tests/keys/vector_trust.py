"""The vectors of what is believed: statements in their order, policy over envelopes, and the cursor's decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import msgspec
import vector_envelopes
import vector_people as people
import vector_world as world
from vector_file import Vector
from vector_people import (
    ANNA,
    ANNA_BYTES,
    AUTHORITY,
    BEGAN,
    BERT,
    BERT_BYTES,
    MINE,
    PROJECT,
    ROOT,
    ROOT_BYTES,
    ROOT_SIGNERS,
    SESSION_BYTES,
    certified,
    granted,
    package,
    remade,
)
from vector_statements import CARL, CHARTER, INBOUND
from vector_world import MADE_AT, NOW, Forge, inner_bytes

from sealwire.keys import charter, policy
from sealwire.keys.cursor import END_ALLOWANCE, FLOOR_ALLOWANCE
from sealwire.keys.envelope import Place
from sealwire.keys.inner import LOG_START, RESEAL
from sealwire.keys.keypackage import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sealwire.keys.identity import Identity

Row = TypeVar("Row", charter.PolicyRow, charter.CharterFields)
BATCH = world.batch()
PLACE = Place(PROJECT, "orders", "acme.orders", 2)
ROW = charter.PolicyRow("orders", "acme.*", 0, policy.table({"site": ["berlin"]}), policy.MEMBERS, 0)


def learnt() -> Iterator[Vector]:
    """What a reader believes of a statement depends on what it believed before."""
    older, newer = package(MADE_AT - 2000), package(MADE_AT - 1000)
    claims = [remade(SESSION_BYTES, [ANNA.signing], f9=number) for number in range(2, 7)]
    again, fewer = (remade(ROOT_BYTES, signers, f0=1, f8=BEGAN) for signers in (ROOT_SIGNERS, ROOT_SIGNERS[1:]))
    another = remade(ROOT_BYTES, ROOT_SIGNERS, f0=1, f8=BEGAN + 1)
    bert_2 = certified(BERT, "bert", "paris", serial=2)
    carl, dora = certified(CARL, "carl", "paris"), certified(CARL, "dora", "rome")
    cases: tuple[tuple[str, str, str, list[bytes], bytes], ...] = (
        ("first-credential", "accept", "A member is met for the first time.", [], BERT_BYTES),
        ("credential-again", "known", "A credential served again.", [BERT_BYTES], BERT_BYTES),
        ("older-credential", "reject outdated", "A credential of a lower serial than the one known.", [bert_2], BERT_BYTES),
        ("forked-credential", "reject fork", "Another credential of the same serial.", [BERT_BYTES], certified(BERT, "bert", "rome")),
        ("first-package", "accept", "A key package, its member's credential being known.", [BERT_BYTES], newer),
        ("newer-package", "accept", "A key package newer than the one known.", [BERT_BYTES, older], newer),
        ("older-package", "reject outdated", "An old key package, served again by the cloud.", [BERT_BYTES, newer], older),
        ("package-of-an-old-serial", "reject outdated", "A newer key package, of a credential before the last.", [BERT_BYTES, bert_2, package(MADE_AT - 3000, serial=2)], newer),
        ("forked-package", "reject fork", "Another key package of the same time.", [BERT_BYTES, newer], package(MADE_AT - 1000, public=people.OTHER_HELD.receiving.public)),
        ("package-of-a-member-that-left", "reject expired", "Its member's credential ended 30 days and a millisecond before the reader's clock.", [certified(BERT, "bert", "paris", now=NOW - 31 * DAY, validity=DAY - 1)], package(NOW - 31 * DAY)),
        ("package-of-a-member-just-gone", "accept", "Its member's credential ended 30 days before the reader's clock.", [certified(BERT, "bert", "paris", now=NOW - 31 * DAY, validity=DAY)], package(NOW - 31 * DAY)),
        ("package-before-its-credential", "wait unknown-member", "A key package of a member not known yet.", [], newer),
        ("session-claimed", "accept", "A session is claimed for the first time.", [], SESSION_BYTES),
        ("session-claimed-again", "accept", "Another statement claims the same session id: who is right shows when a grant unwraps.", [SESSION_BYTES], claims[0]),
        ("fifth-claim", "reject too-many", "A fifth statement claims one session id.", [SESSION_BYTES, *claims[:3]], claims[3]),
        ("session-ahead", "wait ahead", "A session made more than five minutes after the reader's clock.", [], remade(SESSION_BYTES, [ANNA.signing], f6=NOW + 300_001, f7=NOW + 300_002)),
        ("grant-before-its-session", "wait unknown-session", "A grant for the reader, of a session not claimed yet.", [], granted()),
        ("grant-after-its-session", "accept", "A grant for the reader, of a session that is claimed.", [SESSION_BYTES], granted()),
        ("grant-by-the-sender", "accept", "A grant signed by the session's sender, not by the session key.", [ANNA_BYTES, BERT_BYTES, SESSION_BYTES], remade(granted(), [ANNA.signing], f1=ANNA.member_id)),
        ("grant-by-our-site", "accept", "A grant signed by a member of the reader's site.", [carl, BERT_BYTES, SESSION_BYTES], remade(granted(), [CARL.signing], f1=CARL.member_id)),
        ("grant-by-another-site", "reject not-authorised", "A grant signed by a member of another site, who is not the sender.", [dora, BERT_BYTES, SESSION_BYTES], remade(granted(), [CARL.signing], f1=CARL.member_id)),
        ("grant-by-a-refused-member", "reject refused-member", "A grant signed by a member of the reader's site, whom the charter refuses.", [ruled(2, refusals=[CARL]), carl, BERT_BYTES, SESSION_BYTES], remade(granted(), [CARL.signing], f1=CARL.member_id)),
        ("first-charter", "accept", "A charter, where none was known.", [], ruled(1)),
        ("charter-again", "known", "A charter served again.", [ruled(1)], ruled(1)),
        ("charter-renewed", "accept", "The same charter, as of a later time.", [ruled(1)], ruled(1, as_of=NOW)),
        ("charter-as-of-before", "reject outdated", "The same charter, as of an earlier time.", [ruled(1, as_of=NOW)], ruled(1)),
        ("older-charter", "reject outdated", "A charter of a lower version, as of a later time.", [ruled(2)], ruled(1, as_of=NOW)),
        ("newer-charter", "accept", "A charter of a higher version, as of an earlier time.", [ruled(1, as_of=NOW)], ruled(2)),
        ("forked-charter", "reject fork", "Another charter of the same version, as of a later time.", [ruled(1)], ruled(1, as_of=NOW, max_age=1)),
        ("charter-that-pardons", "reject pardoned", "A newer charter that no longer refuses a member.", [ruled(1, refusals=[ANNA])], ruled(2)),
        ("charter-that-refuses-later", "reject pardoned", "A newer charter that refuses a member from a later time on.", [ruled(1, refusals=[ANNA])], ruled(2, refusals=[ANNA], since=1)),
        ("charter-ahead", "wait ahead", "A charter as of more than five minutes after the reader's clock.", [], ruled(1, as_of=NOW + 300_001)),
        ("charter-of-the-next-root", "wait outdated", "A charter under a root that is not known yet, signed by a key that is.", [], ruled(1, root_version=2)),
        ("root-again", "known", "The root that counts already.", [], again),
        ("root-with-fewer-signatures", "known", "The root that counts already, without one of its three signatures.", [], fewer),
        ("root-of-another-project", "reject other-project", "A first root with another date: that of another project.", [], another),
    )  # fmt: skip
    for name, expect, comment, before, last in cases:
        inputs: list[tuple[str, str | int | bytes]] = [
            ("now", NOW),
            ("root", ROOT_BYTES),
            ("me", BERT.member_id),
            *(("learnt", each) for each in before),
        ]
        yield Vector(name, comment, expect, (*inputs, ("statement", last)))


def ruled(
    version: int, refusals: Sequence[Identity] = (), since: int = 0, as_of: int = NOW - 1000, **changes: int
) -> bytes:
    """Make a charter under which every member may produce and consume, that refuses these."""
    rows = tuple(charter.Refusal(who.member_id, since, "why") for who in refusals)
    everywhere = charter.PolicyRow("*", "*", 0, policy.MEMBERS, policy.MEMBERS, 0)
    fields = charter.CharterFields(version, as_of, 1, (everywhere,), rows, 1, 1, 0)
    return charter.make(ROOT, AUTHORITY, replace_row(fields, **changes))


def holds() -> Iterator[Vector]:
    """What a reader believes may let it hold: seal nothing, deliver nothing."""
    of_charter_2 = certified(BERT, "bert", "paris", charter_version=2)
    cases: tuple[tuple[str, str, str, list[bytes]], ...] = (
        ("no-charter", "goes-on", "Charter 0 has no age.", [BERT_BYTES]),
        ("charter-at-its-max-age", "goes-on", "A charter as old as it may be.", [ruled(1, max_age=1000)]),
        ("charter-above-its-max-age", "hold charter-old", "A charter a millisecond older than it may be.", [ruled(1, max_age=999)]),
        ("charter-without-max-age", "goes-on", "A charter of last year that has no max_age.", [ruled(1, as_of=BEGAN)]),
        ("charter-before-our-credential", "hold charter-old", "The reader's own credential is of the time of charter 2.", [ruled(1), of_charter_2]),
        ("charter-of-our-credential", "goes-on", "The charter of the credential's time is there.", [ruled(2), of_charter_2]),
        ("charter-of-the-next-root", "hold charter-old", "A charter names root 2, and a key that root 1 names signed it.", [ruled(1, root_version=2)]),
        ("charter-of-another-key", "goes-on", "The same, signed by a key that root 1 does not name.", [remade(ruled(1, root_version=2), [people.STRANGER])]),
        ("suite-above-ours", "hold unknown-suite", "The charter asks for suite 2.", [ruled(1, min_suite=2)]),
        ("format-above-ours", "hold unknown-version", "The charter asks for format 2.", [ruled(1, min_format=2)]),
    )  # fmt: skip
    for name, expect, comment, before in cases:
        known = (("now", NOW), ("root", ROOT_BYTES), ("me", BERT.member_id), *(("learnt", each) for each in before))
        yield Vector(name, comment, expect, known)


def judged() -> Iterator[Vector]:
    """An authentic envelope is opened only if its sender may produce."""
    said = world.inner(BATCH)
    sealed = Forge(MINE, place=PLACE, member_id=ANNA.member_id).build(inner_bytes(said), BATCH)

    def case(name: str, expect: str, comment: str, rules: charter.CharterFields | None, **credential: int) -> Vector:
        base = vector_envelopes.Case(name, expect, comment, sealed, INBOUND, PLACE, batches=BATCH, inner=said if expect == "open" else None)  # fmt: skip
        vector = base.vector()
        more: list[tuple[str, str | int | bytes]] = [("root", ROOT_BYTES)]
        more += [("charter", charter.make(ROOT, AUTHORITY, rules))] if rules is not None else []
        more += [(f"credential {each.replace('_', ' ')}", value) for each, value in credential.items()]
        return replace(vector, inputs=(*more, *vector.inputs))

    def with_rows(*rows: charter.PolicyRow, refusals: tuple[charter.Refusal, ...] = ()) -> charter.CharterFields:
        return charter.CharterFields(1, NOW - 1000, 1, rows, refusals, 1, 1, 0)

    def refused(since: int) -> charter.CharterFields:
        return with_rows(ROW, refusals=(charter.Refusal(ANNA.member_id, since, "why"),))

    returns = charter.PolicyRow("returns", "*", 0, policy.MEMBERS, policy.MEMBERS, 0)
    paris = charter.PolicyRow("*", "*", 0, policy.table({"site": ["paris"]}), policy.MEMBERS, 0)
    yield case("charter-0", "open", "No charter yet: every member may produce.", None)
    yield case("policy-allows", "open", "Site berlin may produce to orders.", with_rows(ROW))
    yield case("policy-of-another-site", "reject not-authorised", "Only site paris may produce.", with_rows(paris))
    yield case(
        "first-row-decides",
        "reject not-authorised",
        "A row that denies, before one that allows.",
        with_rows(paris, ROW),
    )
    yield case("no-row", "reject not-authorised", "No row covers the channel.", with_rows(returns))
    yield case(
        "row-of-another-topic",
        "reject not-authorised",
        "The row covers another cloud topic.",
        with_rows(replace_row(ROW, cloud_topic="other.*")),
    )
    yield case(
        "empty-table",
        "reject not-authorised",
        "A table that names no attribute denies.",
        with_rows(replace_row(ROW, produce=())),
    )
    yield case(
        "language-1",
        "reject not-authorised",
        "A policy language that nobody knows denies.",
        with_rows(replace_row(ROW, language=1)),
    )
    yield case("revoked", "reject refused-member", "The sender is refused whatever its date.", refused(0))
    yield case(
        "excluded-since-just-then",
        "reject refused-member",
        "Refused since the millisecond in which the session was made.",
        refused(MADE_AT),
    )
    for name, changes in (("suite-below-the-least", {"min_suite": 2}), ("format-below-the-least", {"min_format": 2})):
        rules = replace_row(with_rows(ROW), **changes)
        yield case(name, "reject not-authorised", "Below what the charter asks for at least.", rules)
    yield case("retired-later", "open", "Refused since a millisecond after the session was made.", refused(MADE_AT + 1))
    yield case("another-is-refused", "open", "Another member is refused.", CHARTER)
    yield case(
        "credential-ended-before-the-session",
        "reject expired",
        "The credential ended a millisecond before the session was made.",
        None,
        not_after=MADE_AT - 1,
    )
    yield case(
        "credential-ended-since",
        "open",
        "The credential ended a millisecond after the session was made.",
        None,
        not_after=MADE_AT + 1,
    )


def replace_row(row: Row, **changes: object) -> Row:
    """Give a policy row, or a charter, with other fields."""
    return msgspec.structs.replace(row, **changes)


def cursors() -> Iterator[Vector]:
    """What an opened envelope does to a cursor at offset 100 whose session floor is `NOW - 1`."""
    floor, too_old = NOW - 1, NOW - 1 - FLOOR_ALLOWANCE - 1
    fields: dict[str, str | int] = {
        "cursor next": 100,
        "cursor state": "flowing",
        "session floor": floor,
        "cursor sealed at": NOW - 1 - END_ALLOWANCE,
    }
    said: dict[str, str | int] = {
        "made at": NOW,
        "kind": "records",
        "flags": 0,
        "first": 100,
        "next": 110,
        "last stable": 10_000,
        "sealed at": NOW,
        "records": 1,
    }
    rows: tuple[tuple[str, str, str, dict[str, str | int]], ...] = (
        ("next", "deliver", "It begins at the cursor.", {}),
        ("duplicate", "duplicate", "It ends at the cursor.", {"first": 90, "next": 100}),
        ("trim", "trim 100", "It begins before the cursor and ends after it.", {"first": 90}),
        ("gap", "gap 100 101 gap", "One offset is missing before it.", {"first": 101}),
        ("log-start-on-a-cursor", "gap 100 500 gap", "The flag counts only where there is no cursor.", {"first": 500, "next": 510, "flags": LOG_START}),
        ("log-start", "deliver", "Nothing was delivered yet, and the source partition begins here.", {"cursor next": "none", "first": 500, "next": 510, "flags": LOG_START}),
        ("offset-0", "deliver", "Nothing was delivered yet, and nothing can lie before offset 0.", {"cursor next": "none", "first": 0}),
        ("no-start", "gap 0 500 no-start", "Nothing was delivered yet, and this is not the beginning.", {"cursor next": "none", "first": 500, "next": 510}),
        ("lost", "deliver", "A lost span of 2^20 offsets is passed.", {"kind": "lost", "next": 100 + 2**20, "last stable": 2**40, "records": 0}),
        ("lost-too-much", "hold lost-span", "A lost span of one offset more waits for a person.", {"kind": "lost", "next": 101 + 2**20, "last stable": 2**40, "records": 0}),
        ("lost-too-much-at-the-log-start", "hold lost-span", "Sealed again, where nothing was delivered yet: too much is too much.", {"kind": "lost", "cursor next": "none", "first": 1, "next": 2 + 2**20, "last stable": 2**40, "flags": LOG_START | RESEAL, "records": 0}),
        ("largest-holes", "deliver", "One record, with 2^20 offsets left out before and behind it.", {"next": 101 + 2**21, "last stable": 2**40}),
        ("hole-too-large", "hold implausible", "One offset more.", {"next": 102 + 2**21, "last stable": 2**40}),
        ("beyond-the-source", "hold implausible", "It ends after the source's last stable offset.", {"last stable": 109}),
        ("regressed", "hold regressed", "A newer session, behind the cursor, whose source ends behind the cursor too.", {"first": 10, "next": 20, "last stable": 99}),
        ("regressed-by-an-older-session", "duplicate", "The same, of a session that is not newer.", {"first": 10, "next": 20, "last stable": 99, "made at": floor}),
        ("regressed-sealed-earlier", "duplicate", "The same, sealed no later than 310 seconds after what moved the cursor.", {"first": 10, "next": 20, "last stable": 99, "sealed at": NOW - 1}),
        ("below-the-floor", "gap 100 110 below-floor", "A session made more than 65 minutes before the floor.", {"made at": too_old}),
        ("at-the-floor", "deliver", "A session made 65 minutes before the floor.", {"made at": too_old + 1}),
        ("old-and-known", "duplicate", "An old session, of what was delivered already.", {"made at": too_old, "first": 90, "next": 100}),
        ("resealed", "deliver", "Sealed again, from the cursor on.", {"flags": RESEAL}),
        ("held", "hold regressed", "A held cursor stays.", {"cursor state": "held regressed"}),
        ("held-duplicate", "duplicate", "What lies behind a held cursor is a duplicate still.", {"cursor state": "held regressed", "next": 100, "first": 90}),
        ("held-regressed-again", "duplicate", "Held or not, what lies behind is dropped.", {"cursor state": "held regressed", "first": 10, "next": 20, "last stable": 99}),
    )  # fmt: skip
    for name, expect, comment, changes in rows:
        yield Vector(name, comment, expect, tuple({**fields, **said, **changes}.items()))


def vectors() -> dict[str, Vector]:
    """Every vector of these three; only inside `stored_hpke`."""
    groups = {"trust": learnt(), "holds": holds(), "policy": judged(), "cursor": cursors()}
    return {f"{folder}/{each.name}.txt": each for folder, group in groups.items() for each in group}
