"""The charter as a YAML file, and members that leave: what is shown, what is refused, and what is signed."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from registry import Desk

from sealwire.app import charterfile
from sealwire.app import project as projects
from sealwire.app.authority import Authority
from sealwire.app.cli import main
from sealwire.app.cloudlog import CloudLog
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.faults import Faults
from sealwire.app.names import project_topics
from sealwire.app.office import CHARTER_KEY
from sealwire.keys import charter as charters
from sealwire.keys import identity as identities
from sealwire.keys import policy
from sealwire.keys.charter import BUILT_IN, CharterFields, PolicyRow, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = Path(__file__).parents[2] / "docs/OPERATIONS.md"
HOUR, DAY = 3_600_000, 86_400_000
UNPUBLISHED = 1  # the exit code of what was signed and could not be published

GOOD = """\
policies:
  - channel: orders
    produce: {role: [member], site: [berlin]}
    consume: {role: member}
    backfill: 7d
  - channel: "*"
    cloud_topic: acme.erp.*
    produce: {role: [member]}
    consume: {role: [member]}
  - channel: "*"
    produce: {role: [member]}
    consume: {role: [member]}
max_age: 2d
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEALWIRE_STATE", str(tmp_path / "state"))
    assert run("project", "create", "acme", "-d", "acme") == 0
    return tmp_path


def run(*words: str) -> int:
    return main(list(words))


def admit(here: Path, *names: str) -> None:
    """Members named SITE-NUMBER."""
    project = projects.open_project(here / "acme")
    desk = Desk(Authority(project, project.books()), projects.now_ms())
    for name in names:
        desk.admit(name, {"role": "member", "site": name.partition("-")[0]})
    desk.authority.books.close()


def present(here: Path) -> CharterFields:
    project = projects.open_project(here / "acme")
    books = project.books()
    row = books.charter()
    books.close()
    return BUILT_IN if row is None else charters.read(row.statement, project.root, projects.now_ms())


def read(here: Path, text: str) -> CharterFields:
    (here / "c.yaml").write_text(text)
    return charterfile.read(here / "c.yaml", BUILT_IN)[0]


def test_a_file_says_policies_backfill_and_bounds(here: Path) -> None:
    found = read(here, GOOD)
    assert found.policies == (
        PolicyRow("orders", "*", 0, policy.table({"role": ["member"], "site": ["berlin"]}), policy.MEMBERS, 7 * DAY),
        PolicyRow("*", "acme.erp.*", 0, policy.MEMBERS, policy.MEMBERS, 0),
        PolicyRow("*", "*", 0, policy.MEMBERS, policy.MEMBERS, 0),
    )
    assert (found.max_age, found.min_suite, found.min_format) == (2 * DAY, 1, 1)


@pytest.mark.parametrize(
    "text", [GOOD, "policies:\n  - {channel: 'no', produce: {a: ['1', 'on']}, consume: {'x': []}}\n"]
)
def test_what_is_written_reads_as_the_same_charter(here: Path, text: str) -> None:
    found = read(here, text)
    assert read(here, charterfile.write(found, "acme", ("refused: nobody",))) == found


BAD = """\
policies:
  - channel: or*ders
    produce: {role: [member], role: [x]}
    consume: [member]
  - chanel: orders
    produce: {site: [on, 5], "a b": [x]}
    consume: {site: [berlin, berlin], role: "mem*"}
    backfill: a week
refusals: []
min_suite: 2
min_format: one
max_age: 5m
max_ages: 3
"""


def test_all_faults_are_told_at_once_with_file_and_line(here: Path) -> None:
    with pytest.raises(Faults) as caught:
        read(here, BAD)
    said = "\n".join(str(fault) for fault in caught.value.faults).replace(str(here), "")
    for line, words in (
        (2, "'or*ders' is no pattern"),
        (3, "policies[0].produce.role: stands twice"),
        (4, "policies[0].consume: must be a group of settings, not a list"),
        (5, "policies[1].chanel: is not a setting (did you mean 'channel'?)"),
        (6, "policies[1].produce.site: has a value that must be text, not a truth value"),
        (6, "policies[1].produce.a b: 'a b' cannot be an attribute's name"),
        (7, "policies[1].consume.site: has 'berlin' twice"),
        (7, "policies[1].consume.role: has 'mem*': a value is no pattern"),
        (8, "policies[1].backfill: 'a week' is no length of time"),
        (9, "refusals: are not written by hand"),
        (10, "min_suite: must be from 1 to 1"),
        (11, "min_format: must be a whole number"),
        (12, "max_age: must be from 1h"),
        (13, "max_ages: is not a setting"),
    ):
        assert any(f"c.yaml:{line}:" in fault and words in fault for fault in said.splitlines()), (line, words, said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty (sealwire charter edit begins with the charter that holds)"),
        ("policies: []", "is an empty list"),
        (GOOD.replace("7d", "7 days"), "a number and its unit, as 7d"),
        ("policies: {", "is not YAML"),
        ("- a", "must be settings"),
        (GOOD + "  - channel: x", "is not YAML"),
        (GOOD.replace("2d\n", "2d\nfollows: soon\n"), "follows: must be a whole number"),
        (GOOD.replace("acme.erp.*", "'*'"), "has the same policy twice"),
    ],
)
def test_a_file_that_is_no_charter_is_told_why(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (here / "c.yaml").write_text(text)
    assert run("charter", "diff", "c.yaml", "-d", "acme") == 2
    assert said in capsys.readouterr().err
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes", "--force") == 2
    assert present(here).version == 0


def test_a_charter_file_that_is_not_there_is_told_as_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("charter", "diff", "gone.yaml", "-d", "acme") == 2
    said = capsys.readouterr().err
    assert "gone.yaml: there is no such file (name the charter's YAML file)" in said
    assert "nothing was done" in said


def test_the_authority_s_charter_is_shown_for_programs_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    admit(here, "berlin-1", "berlin-2")
    assert run("revoke", "berlin-1", "--why", "lost", "-d", "acme") == UNPUBLISHED
    capsys.readouterr()
    assert run("charter", "show", "-d", "acme", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["identity"], told["node"], told["charter"]) == ("the authority", None, 1)
    assert told["policies"][0]["produce"] == {"role": ["member"]}
    assert [(row["name"], row["since_ms"], row["why"]) for row in told["refusals"]] == [("berlin-1", 0, "lost")]


def test_before_the_first_charter_its_history_says_that_there_is_none(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("charter", "show", "-d", "acme", "--history") == 0
    assert "no charter is signed yet" in capsys.readouterr().err


def test_a_difference_names_every_member_that_gains_or_loses_a_right(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admit(here, "berlin-1", "paris-1", "lisbon-1")
    (here / "c.yaml").write_text(GOOD.replace("{role: member}", "{site: [lisbon]}"))
    assert run("charter", "diff", "c.yaml", "-d", "acme") == 0
    shown = capsys.readouterr().out
    assert "+    produce: {role: [member], site: [berlin]}" in shown
    assert "orders through acme.erp.*; orders through * (but not acme.erp.*):" not in shown
    assert "orders:\n" in shown
    assert "  send: - lisbon-1, paris-1 (then berlin-1)" in shown
    assert "  read: - berlin-1, paris-1 (then lisbon-1)" in shown
    assert "  backfill: none becomes 7d" in shown
    assert "All else stays as it is." in shown
    assert "judges the old backlog too" in shown
    assert present(here).version == 0


def test_a_charter_is_signed_after_it_was_shown_and_agreed_to(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    admit(here, "berlin-1", "lisbon-1")
    (here / "c.yaml").write_text(GOOD)
    for answer, code in (("n\n", 1), ("", 2)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert run("charter", "sign", "c.yaml", "-d", "acme") == code
        assert "Nothing was changed." in capsys.readouterr().err
        assert present(here).version == 0
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes") == UNPUBLISHED
    assert "NOT PUBLISHED" in capsys.readouterr().err
    assert (present(here).version, present(here).max_age) == (1, 2 * DAY)
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes") == 0
    assert "says what holds already" in capsys.readouterr().err
    assert run("charter", "show", "-d", "acme") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("charter 1, as of 2")
    assert "  send: berlin-1\n  read: berlin-1, lisbon-1\n  backfill: 7d" in shown
    assert run("charter", "show", "-d", "acme", "--history") == 0
    assert "from c.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("site: [berlin]", "site: [rome]", "orders: nobody may send any more"),
        ("{role: member}", "{role: reader}", "orders: nobody may read any more"),
        ("site: [berlin]", "site: []", "policy 1 (orders, produce): a policy that nobody can ever satisfy"),
        ("{role: member}", "{}", "policy 1 (orders, consume): a policy that nobody can ever satisfy"),
        ("channel: orders", 'channel: "*"', "policy 2 (* through acme.erp.*): a policy that never decides"),
        ("site: [berlin]", "site: [berlin, lisbon]", "orders: every member may send now"),
    ],
)
def test_a_charter_that_nobody_is_likely_to_want_is_warned_of_and_refused_without_force(
    here: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    admit(here, "berlin-1", "lisbon-1")
    (here / "c.yaml").write_text(GOOD)
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes") == UNPUBLISHED
    (here / "c.yaml").write_text(GOOD.replace(old, new, 1))
    capsys.readouterr()
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes") == 1
    outcome = capsys.readouterr().err
    assert f"warning: {said}" in outcome
    assert "If it is meant so: --force" in outcome
    assert present(here).version == 1
    assert run("charter", "sign", "c.yaml", "-d", "acme", "--yes", "--force") == UNPUBLISHED
    assert present(here).version == 2


def test_a_file_that_another_overtook_is_not_signed_over_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    admit(here, "berlin-1", "lisbon-1", "lisbon-2")
    for name in ("one", "two"):
        (here / f"{name}.yaml").write_text(charterfile.write(BUILT_IN, "acme") + f"max_age: {len(name)}d\n")
    (here / "two.yaml").write_text((here / "two.yaml").read_text().replace("max_age: 3d", "max_age: 4d"))
    assert run("charter", "sign", "one.yaml", "-d", "acme", "--yes") == UNPUBLISHED
    assert run("charter", "sign", "two.yaml", "-d", "acme", "--yes") == 2
    assert "follows charter 0, and charter 1 holds, which says something else" in capsys.readouterr().err
    assert run("revoke", "lisbon-1", "--why", "laptop lost", "-d", "acme") == UNPUBLISHED
    text = charterfile.write(charters.peek(_statement(here, 1), _project(here)), "acme")
    (here / "two.yaml").write_text(text.replace("3d", "4d"))
    assert run("charter", "sign", "two.yaml", "-d", "acme", "--yes") == UNPUBLISHED  # a refusal is nothing to overtake
    assert (present(here).version, present(here).max_age, len(present(here).refusals)) == (3, 4 * DAY, 1)


def _statement(here: Path, version: int) -> bytes:
    books = projects.open_project(here / "acme").books()
    (found,) = (row.statement for row in books.charters() if row.version == version)
    books.close()
    return found


def _project(here: Path) -> bytes:
    return projects.open_project(here / "acme").id


def editor(here: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    file = here / "editor"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("VISUAL", str(file))


def test_a_charter_is_edited_with_ones_own_editor_and_faults_lose_nothing(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    admit(here, "berlin-1", "lisbon-1")
    editor(here, monkeypatch, 'echo "max_age: soon" >> "$1"')
    assert run("charter", "edit", "-d", "acme", "--yes") == 2
    said = capsys.readouterr().err
    assert "'soon' is no length of time" in said
    assert "What you wrote is in acme/charter.yaml" in said
    assert present(here).version == 0
    editor(here, monkeypatch, 'sed -i "s/max_age: soon/max_age: 3d/" "$1"')
    assert run("charter", "edit", "-d", "acme", "--yes") == UNPUBLISHED
    assert present(here).max_age == 3 * DAY
    assert not (here / "acme/charter.yaml").exists()
    editor(here, monkeypatch, 'sed -i "s/max_age: 3d/max_age: 4d/" "$1"')
    assert run("charter", "edit", "-d", "acme", "--yes", "--file", "mine.yaml") == UNPUBLISHED
    assert present(here).max_age == 4 * DAY
    assert (here / "mine.yaml").exists()
    monkeypatch.setenv("VISUAL", str(here / "nowhere"))
    assert run("charter", "edit", "-d", "acme") == 2
    assert "Set $EDITOR" in capsys.readouterr().err


def test_a_revoked_member_is_refused_for_ever_and_told_of(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    admit(here, "berlin-1", "berlin-2", "lisbon-1")
    assert run("revoke", "berlin-1", "--why", "laptop lost", "-d", "acme") == UNPUBLISHED
    said = capsys.readouterr().err
    assert "charter 1: revoke berlin-1: laptop lost" in said
    assert "nothing of it that is not delivered yet will be, whatever its date" in said
    assert "when its credential ends" in said
    assert "another worker of its site seals it again" in said
    assert run("revoke", "berlin-2", "--why", "as well", "-d", "acme", "--force") == UNPUBLISHED
    assert "a gap at the readers until another member of site berlin seals it again" in capsys.readouterr().err
    assert [row.since for row in present(here).refusals] == [0, 0]
    assert run("retire", "berlin-1", "--why", "x", "-d", "acme") == UNPUBLISHED
    assert "is refused already" in capsys.readouterr().err
    assert present(here).version == 2
    assert run("charter", "show", "-d", "acme") == 0
    assert "refused: berlin-1 since ever: laptop lost" in capsys.readouterr().out


def test_words_of_a_refusal_add_no_line_to_the_file_that_is_edited(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A thief of the authority key chose them; the cloud's charter was taken over since."""
    admit(here, "berlin-1", "lisbon-1")
    project = projects.open_project(here / "acme")
    thief = Authority(project, project.books())
    thief.charters.refuse(Refusal(b"m" * 32, 0, "x\nmin_suite: 9\x1b[2J"), "revoke", projects.now_ms())
    editor(here, monkeypatch, 'cp "$1" seen')
    assert run("charter", "edit", "-d", "acme", "--yes") == 0
    seen = (here / "seen").read_text()
    assert f"# refused: {(b'm' * 32).hex()} since ever: x?min_suite: 9?[2J\n" in seen
    assert run("charter", "show", "-d", "acme") == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_leaver_is_refused_from_now_on_and_a_thief_from_130_minutes_before(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admit(here, "berlin-1", "berlin-2", "lisbon-1", "lisbon-2")
    before = projects.now_ms()
    assert run("retire", "berlin-1", "--why", "new job", "-d", "acme") == UNPUBLISHED
    assert "minutes earlier" not in capsys.readouterr().err
    assert run("exclude", "lisbon-1", "--since", "3h", "--why", "stolen", "-d", "acme") == UNPUBLISHED
    assert "(130 minutes earlier: so far back may a thief date)" in capsys.readouterr().err
    assert run("exclude", "lisbon-2", "--since", "2026-01-31T12:00", "--why", "stolen", "-d", "acme", "--force") == 1
    rows = {row.why: row.since for row in present(here).refusals if row.why == "new job"}
    assert 0 <= rows["new job"] - before < 60_000
    since = sorted(row.since for row in present(here).refusals if row.why == "stolen")
    assert since[0] == 1_769_860_800_000 - 130 * 60_000
    assert 0 <= since[1] - (before - 3 * HOUR - 130 * 60_000) < 60_000


@pytest.mark.parametrize("word", ["fingerprint", "id"])
def test_a_member_is_also_found_by_its_fingerprint_or_id(here: Path, word: str) -> None:
    admit(here, "berlin-1", "berlin-2", "lisbon-1")
    books = projects.open_project(here / "acme").books()
    member_id = next(row.member_id for row in books.members() if row.name == "berlin-1")
    books.close()
    said = identities.fingerprint(member_id) if word == "fingerprint" else member_id.hex()
    assert run("revoke", said, "--why", "x", "-d", "acme") == UNPUBLISHED
    assert present(here).refusals[0].member_id == member_id


def test_a_member_that_only_a_thief_admitted_is_refused_by_its_id(here: Path) -> None:
    assert run("revoke", "ab" * 32, "--why", "nobody of ours", "-d", "acme") == UNPUBLISHED
    assert present(here).refusals[0].member_id == b"\xab" * 32


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["berlin-3", "--why", "x"], "did you mean 'berlin-"),
        (["zzz", "--why", "x"], "`sealwire members --directory DIR` lists them"),
        (["x" * 64, "--why", "x"], "There is no member"),
        (["berlin-1", "--why", " "], "--why takes 1 to 200 characters"),
        (["berlin-1", "--why", "w" * 201], "--why takes 1 to 200 characters"),
        (["berlin-1", "--why", "x\ny"], "--why takes 1 to 200 characters, in one line"),
        (["berlin-1", "--why", "\x1b[31m"], "--why takes 1 to 200 characters, in one line"),
    ],
)
def test_who_cannot_be_meant_is_told_with_the_nearest_names(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    admit(here, "berlin-1", "berlin-2")
    assert run("revoke", *words, "-d", "acme") == 2
    assert said.lower() in capsys.readouterr().err.lower()
    assert present(here).version == 0


def test_the_runbook_s_example_is_a_charter(here: Path) -> None:
    (block,) = re.findall(r"```yaml\n(policies:.*?)```", OPERATIONS.read_text(), re.DOTALL)
    assert [row.channel for row in read(here, block).policies] == ["orders", "*"]


@pytest.mark.parametrize("since", ["soon", "2999-01-01", "1969-01-01"])
def test_a_time_that_cannot_be_excludes_nobody(here: Path, capsys: pytest.CaptureFixture[str], since: str) -> None:
    admit(here, "berlin-1", "berlin-2")
    assert run("exclude", "berlin-1", "--since", since, "--why", "x", "-d", "acme") == 2
    assert "--since" in capsys.readouterr().err
    assert present(here).version == 0


@pytest.mark.parametrize("way", ["revoke", "retire", "exclude"])
def test_the_last_sender_or_reader_leaves_only_by_force(
    here: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    admit(here, "berlin-1")
    words = [way, "berlin-1", "--why", "x", "-d", "acme", *(["--since", "1h"] if way == "exclude" else [])]
    assert run(*words) == 1
    said = capsys.readouterr().err
    assert "nobody may send any more" in said
    assert "nobody may read any more" in said
    assert present(here).version == 0
    assert run(*words, "--force") == UNPUBLISHED
    assert present(here).version == 1


def test_what_is_decided_is_published_at_once_where_the_cloud_is_reached(here: Path, broker: EmbeddedBroker) -> None:
    name = f"acme{os.getpid()}{time.monotonic_ns()}"
    assert run("project", "create", name, "-d", "cloudy") == 0
    assert run("project", "cloud", "-d", "cloudy", "--bootstrap", broker.bootstrap, "--embedded") == 0
    project = projects.open_project(here / "cloudy")
    desk = Desk(Authority(project, project.books()), projects.now_ms())
    for member in ("berlin-1", "berlin-2"):
        desk.admit(member)
    (here / "c.yaml").write_text(GOOD)
    assert run("charter", "sign", "c.yaml", "-d", "cloudy", "--yes", "--embedded", "--force") == 0
    assert run("revoke", "berlin-1", "--why", "laptop lost", "-d", "cloudy", "--embedded") == 0
    log = CloudLog(projects_cluster(broker), print)
    found = {record.record_key: record.value for record in log.read_whole(project_topics(name)[0])}
    log.close()
    published = charters.read(found[CHARTER_KEY], project.root, projects.now_ms())
    assert (published.version, [row.why for row in published.refusals]) == (2, ["laptop lost"])


def projects_cluster(broker: EmbeddedBroker) -> object:
    from sealwire.agents.settings import Cluster  # noqa: PLC0415

    return Cluster(broker.bootstrap, embedded=True)
