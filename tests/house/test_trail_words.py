"""Every event of an audit trail stands in the runbook with its fields, and none of them is a secret's."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sealwire.app import trail_line

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs/OPERATIONS.md"
ROW = re.compile(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| (.*?) \| .* \|$", re.MULTILINE)
ONE_OF = {"verdict.event": ("admitted", "renewed", "refused")}  # of the authority: what it decides
SECRETIVE = re.compile(r"secret|seed|passphrase|private|record_key|value|plaintext")


class Call(NamedTuple):
    where: str
    event: str  # or the expression that gives it
    fields: tuple[str | None, ...]  # None: `**` of something


def calls(source: str, where: str = "") -> Iterator[Call]:
    """Every event that is noted: note() of a trail, or of one's own with fields by name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr="note" | "_note"), args=[first, *_], keywords=keywords):
                name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
                event = str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first)
                heard = name == "self" and keywords and (isinstance(first, ast.Constant) or event in ONE_OF)
                if name.strip("_") == "trail" or heard:
                    for each in ONE_OF.get(event, (event,)):
                        yield Call(f"{where}:{node.lineno}", each, tuple(field.arg for field in keywords))


CALLS = [
    call
    for package in ("agents", "app")
    for path in sorted((ROOT / package).glob("*.py"))
    for call in calls(path.read_text(), f"{package}/{path.name}")
]


def told() -> dict[str, set[str]]:
    """The events of the runbook's table, each with its fields."""
    section = RUNBOOK.read_text().split("## Audit trails")[1].split("\n## ")[0]
    found: dict[str, set[str]] = {}
    for events, fields in ROW.findall(section):
        for event in re.findall(r"[a-z-]+", events):
            found.setdefault(event, set()).update(re.findall(r"`([a-z_]+)`", fields))
    return found


def test_every_event_that_is_noted_stands_in_the_runbook_with_its_fields() -> None:
    known = told()
    for call in CALLS:
        where = "in the table of docs/OPERATIONS.md, Audit trails"
        assert call.event in known, f"{call.where}: {call.event} is not {where}"
        assert None not in call.fields, f"{call.where}: say the fields by name, so that nothing unforeseen gets in"
        lacking = set(call.fields) - known[call.event]
        assert not lacking, f"{call.where}: {lacking} is not {where}"


def test_audit_show_knows_the_events_of_the_runbook() -> None:
    assert set(trail_line.EVENTS) == told().keys()


def test_no_field_has_the_name_of_a_secret_or_of_what_is_carried_or_of_the_chain_itself() -> None:
    names = {name for fields in told().values() for name in fields}
    assert [name for name in names if SECRETIVE.search(name) or not trail_line.NAME.fullmatch(name)] == []
    assert names & (trail_line.OWN | {"missing", "left_out"}) == set()


def test_every_way_to_note_is_noticed() -> None:
    code = "self.trail.note('a', b=1)\nself._trail.note(x)\ntrail.note('c', **d)\nself._note('e', f=1)\n"
    code += "books.note('g', 'h')\nself._note(digest)\nself.note(verdict.event, i=2)"
    assert [call[1:] for call in calls(code)] == [
        ("a", ("b",)), ("x", ()), ("c", (None,)), ("e", ("f",)),
        ("admitted", ("i",)), ("renewed", ("i",)), ("refused", ("i",)),
    ]  # fmt: skip
