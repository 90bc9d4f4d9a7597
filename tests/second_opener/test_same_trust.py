"""Whatever statements come, in whatever order, both openers believe the same of each, and hold for the same reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "keys")]

import altered  # noqa: E402
import opener  # noqa: E402
import vector_file  # noqa: E402
from known import Known  # noqa: E402

from sealwire.keys import events, root  # noqa: E402
from sealwire.keys.primitives import digest  # noqa: E402
from sealwire.keys.trust import Trust  # noqa: E402

if TYPE_CHECKING:
    from random import Random

EXAMPLES = int(os.environ.get("OPENER_EXAMPLES", "300"))
LEARNT = ("trust", "holds", "root", "charter", "credential", "key-package", "session", "grants")
VECTORS = {path: vector for path, vector in vector_file.load().items() if path.split("/")[0] in LEARNT}
STATEMENTS = sorted(
    {
        statement
        for vector in VECTORS.values()
        for name in ("learnt", "statement", "session", "credential", "granter", "root")
        for statement in vector.all(name)
    }
)
READERS = [path for path, vector in VECTORS.items() if vector.has("me")]


def learn(trust: Trust, statement: bytes, now: int) -> tuple[Trust, str]:
    """What sealwire makes of it, in the words of the vectors."""
    trust, happened = trust.learn([statement], now)
    for event in happened:
        if isinstance(event, events.Refused) and event.digest == digest(statement):
            return trust, f"reject {event.reason}"
        if isinstance(event, events.Waits) and event.digest == digest(statement):
            return trust, f"wait {event.reason}"
        if isinstance(event, events.Skipped):
            return trust, "skipped"
    return trust, "accept" if happened else "known"


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(READERS), st.lists(st.sampled_from(STATEMENTS), max_size=5), st.randoms(use_true_random=False))
def test_statements_in_any_order_are_believed_and_refused_alike(path: str, more: list[bytes], random: Random) -> None:
    vector = VECTORS[path]
    statements = [*more, *vector.all("learnt"), *vector.all("statement")] if random.randrange(2) else more
    if random.randrange(2):
        random.shuffle(statements)
    statements = [altered.statement(each, random) if random.randrange(3) == 0 else each for each in statements]
    now, told = vector.number("now"), opener.parse(vector.render())
    first, second = (
        Known(opener.judge_of(told), vector.octets("me")),
        Trust(root.trusted(vector.octets("root")), me=vector.octets("me")),
    )
    for statement in statements:
        second, word = learn(second, statement, now)
        assert first.learn(statement) == word
    refusal = second.holds(now)
    assert first.holds() == (None if refusal is None else refusal.reason.value)


def test_a_credential_of_an_unknown_type_inside_a_session_is_refused_where_such_a_statement_alone_is_skipped() -> None:
    vector = VECTORS[READERS[0]]
    session = vector_file.load()["session/good.txt"].octets("statement")
    inside = session.index(b"SW", 2) + 2
    first = Known(opener.judge_of(opener.parse(vector.render())), vector.octets("me"))
    second = Trust(root.trusted(vector.octets("root")), me=vector.octets("me"))
    for at, words in ((inside, "reject unknown-type"), (2, "skipped")):
        statement = session[:at] + b"\x7f" + session[at + 1 :]
        assert learn(second, statement, vector.number("now"))[1] == words
        assert first.learn(statement) == words
