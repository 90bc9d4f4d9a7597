"""SECURITY.md: every promise and every theft names tests that are there, and its promises are the README's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text()
README = (ROOT / "README.md").read_text()
TEST_ID = re.compile(r"tests/[a-z_]+/(?:test_)?[a-z_]+\.py(?:::test_[a-z0-9_]+)?")
LINKS = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")
ANCHORS = re.compile(r"\]\((?:SECURITY\.md)?#([^)]+)\)")


def rows(text: str, table: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    inside = text.split(f"<!-- {table} -->\n")[1].split(f"<!-- /{table} -->", maxsplit=1)[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in inside.splitlines()[2:]]


@pytest.mark.parametrize("named", sorted(set(TEST_ID.findall(SECURITY))))
def test_every_test_that_it_names_is_there(named: str) -> None:
    file, _, function = named.partition("::")
    assert (ROOT / file).is_file()
    assert not function or f"def {function}(" in (ROOT / file).read_text()


@pytest.mark.parametrize("table", ["promises", "thefts"])
def test_every_row_names_a_test_or_says_not_yet(table: str) -> None:
    found = rows(SECURITY, table)
    assert len({row[0] for row in found}) == len(found) > 10
    assert [row[0] for row in found if not TEST_ID.search(row[-1]) and "**not yet**" not in row[-1]] == []


def test_every_claim_of_the_article_names_a_test() -> None:
    found = rows(README, "article")
    assert len(found) > 10
    assert [claim for claim, shown in found if not TEST_ID.search(shown) or "**not yet**" in shown] == []


def test_its_promises_are_those_of_the_readme() -> None:
    table = README.split("| promise |")[1].split("\n\n")[0].splitlines()[2:]
    assert [row[0] for row in rows(SECURITY, "promises")] == [line.split("|")[1].strip() for line in table]


def test_every_test_of_a_theft_is_in_its_table() -> None:
    """A claim of tests/attacks that the table does not make would be a promise that nobody reads."""
    claims = {
        f"tests/attacks/{file.name}::{name}"
        for file in (ROOT / "tests/attacks").glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }
    assert sorted(claims - set(TEST_ID.findall(SECURITY))) == []


def test_every_link_leads_somewhere() -> None:
    heads = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in SECURITY.splitlines()
        if line.startswith("#")
    }
    assert [link for link in LINKS.findall(SECURITY) if not (ROOT / link).exists()] == []
    assert [anchor for anchor in ANCHORS.findall(SECURITY) if anchor not in heads] == []
