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
ROW = re.compile(r"^\| `([a-z-]+)` \| (.*?) \| .* \|$", re.MULTILINE)
SECRETIVE = re.compile(r"secret|seed|passphrase|private|record_key|value|plaintext")


class Call(NamedTuple):
    where: str
    event: str | None  # None: not a text that can be read here
    fields: tuple[str | None, ...]  # None: `**` of something


def calls(source: str, where: str = "") -> Iterator[Call]:
    """Every event that is noted: the calls of note() of something named a trail."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(value=of, attr="note"), args=args, keywords=keywords):
                name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
                if name.strip("_") == "trail":
                    first = args[0] if args else None
                    event = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
                    yield Call(f"{where}:{node.lineno}", event, tuple(each.arg for each in keywords))


CALLS = [
    call
    for package in ("agents", "app")
    for path in sorted((ROOT / package).glob("*.py"))
    for call in calls(path.read_text(), f"{package}/{path.name}")
]


def told() -> dict[str, set[str]]:
    """The events of the runbook's table, each with its fields."""
    section = RUNBOOK.read_text().split("## Audit trails")[1].split("\n## ")[0]
    return {event: set(re.findall(r"`([a-z_]+)`", fields)) for event, fields in ROW.findall(section)}


def test_every_event_that_is_noted_stands_in_the_runbook_with_its_fields() -> None:
    known = told()
    for call in CALLS:
        assert call.event is not None, f"{call.where}: say the event as a text, so that it can be found"
        assert None not in call.fields, f"{call.where}: say the fields by name, so that nothing unforeseen gets in"
        lacking = set(call.fields) - known.get(call.event, set()) or {call.event} - known.keys()
        assert not lacking, f"{call.where}: {lacking} is not in the table of docs/OPERATIONS.md, Audit trails"


def test_no_field_has_the_name_of_a_secret_or_of_what_is_carried_or_of_the_chain_itself() -> None:
    names = {name for fields in told().values() for name in fields}
    assert [name for name in names if SECRETIVE.search(name) or not trail_line.NAME.fullmatch(name)] == []
    assert names & (trail_line.OWN | {"missing", "left_out"}) == set()


def test_every_way_to_note_is_noticed() -> None:
    code = "self.trail.note('a', b=1)\nself._trail.note(x)\ntrail.note('c', **d)\nbooks.note('e', 'f')"
    assert [call[1:] for call in calls(code)] == [("a", ("b",)), (None, ()), ("c", (None,))]
