"""The audit trail: what is noted is there after a crash, in a chain, and nothing about trust stops for it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from sealwire.app import cli, trail_line
from sealwire.app.trail import FILE, MOST_WAITING, Trail
from sealwire.app.trail_check import check
from sealwire.keys.reason import Reason

NOW = 1_738_324_800_123  # ms: 2025-01-31T12:00:00.123Z
OPERATIONS = Path(__file__).parents[2] / "docs/OPERATIONS.md"


def begun(directory: Path, **options: Any) -> Trail:
    return Trail(directory / FILE, now=lambda: NOW, **options)


def noted(directory: Path, *names: str, **options: Any) -> Trail:
    """Note an admission of each name, one write each."""
    trail = begun(directory, **options)
    for name in names:
        trail.note("admitted", name=name, serial=1)
        trail.settle()
    return trail


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def wrong(*files: Path, last: tuple[str, ...] = ()) -> list[str]:
    checked = check(files, last)
    return [part.wrong for part in checked.parts if part.wrong] + [f"lost {digest}" for digest in checked.lost]


def forged(line: bytes, **changes: Any) -> bytes:
    """Give a line that says something else, under a digest of its own that is true."""
    found = trail_line.read(line)
    assert found is not None
    made = {"n": found.n, "previous": found.previous, "event": found.event, **changes}
    return trail_line.make(made["n"], found.at, made["event"], found.fields, made["previous"])[0]


def test_an_event_is_a_line_of_canonical_json_under_the_digest_of_its_own_bytes(tmp_path: Path) -> None:
    trail = begun(tmp_path)
    trail.note("refused", member="0f3a", reason=Reason.OUTDATED, serial=3)
    trail.note("renewed", name="berlin-ü")
    trail.settle()
    first, second = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    body = (
        b'{"n":1,"at":"2025-01-31T12:00:00.123Z","event":"refused","member":"0f3a","reason":"outdated","serial":3,'
        b'"previous":"' + b"0" * 64 + b'"'
    )
    digest = hashlib.sha256(body + b"}").hexdigest()
    assert first == body + f',"digest":"{digest}"}}\n'.encode()
    assert json.loads(second)["previous"] == digest
    assert json.loads(second)["n"] == 2
    assert second.isascii()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_rule_is_checked_by_jq_and_sha256sum_as_the_runbook_says(tmp_path: Path) -> None:
    (script,) = re.findall(r"<!-- run: [^\n]*runbook_says -->\n```sh\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    strange = 'ü😀 "quoted" \\ / <&> \x7f\u2028\ud800\n'
    trail = noted(tmp_path, "berlin-1", strange, "lisbon-1")
    trail.note("charter", version=(1 << 53) - 1)
    trail.settle()

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    found = run()
    assert (found.returncode, found.stdout) == (0, ""), found
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes().replace(b"lisbon-1", b"lisbon-2"))
    assert run().returncode == 1


def test_nothing_but_texts_and_numbers_under_plain_names_gets_in(tmp_path: Path) -> None:
    trail = begun(tmp_path)
    unfit: dict[str, Any] = {"secret": bytes(32), "digest": "0", "n": 7, "x1": "a", "real": 1.5, "big": 1 << 53}
    trail.note("granted", **unfit, name="x" * 1000, words="two\nlines\x1b[31m", rows=["a"])
    trail.settle()
    (line,) = lines(tmp_path / FILE)
    assert line["left_out"] == 7
    assert line["name"] == "x" * trail_line.MOST_TEXT
    assert line["words"] == "two?lines?[31m"
    assert set(line) == {"n", "at", "event", "name", "words", "left_out", "previous", "digest"}
    assert line["n"] == 1
    assert wrong(tmp_path / FILE) == []


def test_the_longest_line_there_can_be_is_read_back(tmp_path: Path) -> None:
    fields: dict[str, str | int] = {f"{'f' * 31}{chr(97 + at)}": "😀" * 300 for at in range(24)}
    begun(tmp_path).note("e" * 3, **fields)
    trail = begun(tmp_path)
    for _ in range(2):
        trail.settle()
        trail.note("é" * 1000, **fields)
    trail.settle()
    assert [line["n"] for line in lines(tmp_path / FILE)] == [1, 2, 3]
    assert wrong(tmp_path / FILE) == []


def test_a_trail_that_is_opened_again_goes_on_in_its_chain(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        noted(tmp_path, name)
    assert [line["n"] for line in lines(tmp_path / FILE)] == [1, 2, 3]
    assert wrong(tmp_path / FILE) == []


@pytest.mark.parametrize(
    "torn", [b'{"n":3,"at":"20', b"\0" * 5000, b"x" * 200_000, b"garbage\nmore\r", b"\n", (b"y" * 99 + b"\n") * 655]
)
def test_a_torn_last_line_is_put_aside_and_the_chain_tells_of_it(torn: bytes, tmp_path: Path) -> None:
    noted(tmp_path, "a", "b")
    with (tmp_path / FILE).open("ab") as file:
        file.write(torn)
    assert wrong(tmp_path / FILE) != []
    noted(tmp_path, "c")
    events = [(line["n"], line["event"]) for line in lines(tmp_path / FILE)]
    assert events == [(1, "admitted"), (2, "admitted"), (3, "torn"), (4, "admitted")]
    assert lines(tmp_path / FILE)[2]["bytes"] == len(torn)
    assert (tmp_path / "torn-trail.jsonl").read_bytes() == torn + b"\n"
    assert (tmp_path / "torn-trail.jsonl").stat().st_mode & 0o777 == 0o600
    checked = check([tmp_path / FILE])
    assert checked.whole
    assert checked.parts[0].torn == 1


def test_a_worker_that_is_killed_while_it_notes_loses_nothing_that_was_written(tmp_path: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from sealwire.app.trail import Trail
        trail = Trail(Path(sys.argv[1]))
        for at in range(1_000_000):
            trail.note("granted", name=f"reader{at}", channel="orders")
            if not at % 7:
                trail.settle()
                print(at, flush=True)
    """
    for _ in range(3):
        before = len(lines(tmp_path / FILE)) if (tmp_path / FILE).exists() else 0
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / FILE)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            settled = [int(child.stdout.readline()) for _ in range(20)][-1] + 1
            child.send_signal(signal.SIGKILL)
        noted(tmp_path, "after")
        found = lines(tmp_path / FILE)
        assert len(found) >= before + settled + 1
        assert found[-1]["name"] == "after"
        assert wrong(tmp_path / FILE) == []


def test_what_was_noted_last_is_written_when_the_process_ends(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from sealwire.app.trail import Trail\n"
    program += "trail = Trail(Path(sys.argv[1]))\nfor at in range(100): trail.note('rotated', what='session')"
    subprocess.run([sys.executable, "-c", program, str(tmp_path / FILE)], check=True, timeout=60)
    assert len(lines(tmp_path / FILE)) == 100


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    first, second = begun(tmp_path), begun(tmp_path)  # as the authority and a command beside it
    for trail in (first, second, second, first, second):
        trail.note("ticket", name="a")
        trail.settle()

    def many(trail: Trail) -> None:
        for _ in range(50):
            trail.note("ticket", name="b")
            trail.settle()

    threads = [threading.Thread(target=many, args=(trail,)) for trail in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path / FILE)) == 105
    assert wrong(tmp_path / FILE) == []


def test_nothing_is_written_while_another_process_writes(tmp_path: Path) -> None:
    trail = noted(tmp_path, "a")
    with (tmp_path / FILE).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        trail.note("admitted", name="b")
        trail.settle(0.2)
        assert len(lines(tmp_path / FILE)) == 1
    trail.settle()
    assert len(lines(tmp_path / FILE)) == 2


def test_a_file_that_another_process_puts_aside_while_we_wait_for_its_lock_gets_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = noted(tmp_path, "a")
    real, aside = fcntl.flock, tmp_path / "trail-000000000001.jsonl"

    def meanwhile(descriptor: int, operation: int) -> None:
        if not aside.exists():
            (tmp_path / FILE).rename(aside)
            (tmp_path / FILE).touch(0o600)
        real(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", meanwhile)
    trail.note("admitted", name="b")
    trail.settle()
    assert [len(lines(file)) for file in (aside, tmp_path / FILE)] == [1, 1]
    assert wrong(aside, tmp_path / FILE) == []


@pytest.mark.parametrize("how", ["refused", "half", "unsynced"])
def test_a_full_disk_stops_nothing_is_told_and_the_next_line_counts_what_is_missing(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trail = noted(tmp_path, "a")
    whole = (tmp_path / FILE).read_bytes()
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if how == "half":
            return real(descriptor, content[: len(content) // 2])
        if how == "unsynced":
            return real(descriptor, content)
        raise OSError(28, "No space left on device")

    def unsynced(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        if how == "unsynced":
            patched.setattr("os.fsync", unsynced)
        for name in ("b", "c", "d"):
            trail.note("admitted", name=name)
            trail.settle()
        assert "cannot be written: No space left on device" in trail.trouble
        assert (tmp_path / FILE).read_bytes() == whole  # no half line is in the way
    trail.note("admitted", name="e")
    trail.settle()
    assert trail.trouble == ""
    trail.note("admitted", name="f")
    trail.settle()
    assert [(line["n"], line["name"], line.get("missing")) for line in lines(tmp_path / FILE)] == [
        (1, "a", None),
        (2, "e", 3),
        (3, "f", None),
    ]
    file = tmp_path / FILE
    assert [record.message for record in caplog.records] == [
        f"the audit trail {file} cannot be written: No space left on device; events are counted until it can",
        f"the audit trail {file} is written again; 3 events are missing",
    ]
    assert check([tmp_path / FILE]).parts[0].missing == 3


def test_a_directory_that_is_not_there_stops_nothing(tmp_path: Path) -> None:
    trail = noted(tmp_path / "gone", "a", "b")
    assert "No such file or directory" in trail.trouble
    (tmp_path / "gone").mkdir()
    trail.note("admitted", name="c")
    trail.settle()
    assert lines(tmp_path / "gone" / FILE)[0]["missing"] == 2


def test_a_disk_that_hangs_stops_nobody_and_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, real = threading.Event(), os.fsync

    def hangs(descriptor: int) -> None:
        goes_on.wait(30)
        real(descriptor)

    monkeypatch.setattr("os.fsync", hangs)
    trail = begun(tmp_path)
    trail.note("admitted", name="first")
    trail.settle(0.05)
    for _ in range(MOST_WAITING + 5):
        trail.note("granted", name="a")
    goes_on.set()
    trail.settle(60)
    trail.note("admitted", name="last")
    trail.settle()
    found = lines(tmp_path / FILE)
    missing = sum(line.get("missing", 0) for line in found)
    assert missing >= 5  # and those alone that no room was left for
    assert len(found) + missing == MOST_WAITING + 7
    assert wrong(tmp_path / FILE) == []


def test_a_full_file_is_put_aside_and_the_chain_goes_on_in_the_next(tmp_path: Path) -> None:
    noted(tmp_path, *"abcd", most_bytes=600)
    noted(tmp_path, *"efg", most_bytes=600)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["trail-000000000003.jsonl", "trail-000000000006.jsonl", FILE]
    assert wrong(*files) == []
    assert [line["n"] for line in lines(files[-1])] == [7]
    assert wrong(files[0], files[2]) == [
        "line 1 is number 7 of its chain: what was before is cut off, or in a file that is not given"
    ]


def test_a_trail_that_somebody_moved_away_goes_on_from_there(tmp_path: Path) -> None:
    trail = noted(tmp_path, "a", "b")
    (tmp_path / FILE).rename(tmp_path / "trail.jsonl.1")
    trail.note("admitted", name="c")
    trail.settle()
    (tmp_path / FILE).rename(tmp_path / "trail.jsonl.2")
    noted(tmp_path, "d")  # a process that never saw them
    files = [tmp_path / name for name in ("trail.jsonl.1", "trail.jsonl.2", FILE)]
    assert [len(lines(file)) for file in files] == [2, 1, 1]
    assert wrong(*files) == []


# Verifying


@pytest.fixture
def five(tmp_path: Path) -> Path:
    noted(tmp_path, *"abcde")
    return tmp_path / FILE


def rewritten(file: Path, change: Any) -> Path:
    found = file.read_bytes().splitlines(keepends=True)
    change(found)
    file.write_bytes(b"".join(found))
    return file


def swapped(found: list[bytes]) -> None:
    found[1], found[2] = found[2], found[1]


def reordered(found: list[bytes]) -> None:
    found[2] = b'{"at":' + found[2].split(b'"at":')[1].split(b",")[0] + b',"n":3,' + found[2].split(b'Z",')[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.__setitem__(2, found[2].replace(b'"c"', b'"x"')), "line 3 was altered"),
        (lambda found: found.__setitem__(2, found[2].replace(b'"name"', b' "name"')), "line 3 was altered"),
        (lambda found: found.__setitem__(2, found[2].replace(b'"serial":1', b'"serial":1,"serial":1')), "line 3 was"),
        (lambda found: found.__setitem__(2, found[2].replace(b'"serial":1', b'"serial":1.0')), "line 3 was altered"),
        (lambda found: found.__setitem__(2, b"[" * 60_000 + b"\n"), "line 3 was altered"),
        (reordered, "line 3 was altered"),
        (lambda found: found.__setitem__(2, forged(found[2], event="renewed")), "line 4 does not follow line 3"),
        (lambda found: found.__setitem__(4, forged(found[4], previous="1" * 64)), "line 5 does not follow line 4"),
        (lambda found: found.pop(2), "cut at line 3: the lines of number 3 to 3 are gone"),
        (lambda found: found.__delitem__(slice(1, 4)), "cut at line 2: the lines of number 2 to 4 are gone"),
        (lambda found: found.pop(0), "line 1 is number 2 of its chain: what was before is cut off"),
        (lambda found: found.insert(3, found[2]), "line 4 was moved or added: it is number 3, after number 3"),
        (swapped, "cut at line 2"),
        (lambda found: found.__setitem__(4, found[4][:-20]), "line 5 is not whole"),
        (lambda found: found.__setitem__(0, forged(found[0], previous="1" * 64)), "line 2 does not follow line 1"),
    ],
)
def test_a_line_that_was_altered_left_out_or_moved_is_named(change: Any, said: str, five: Path) -> None:
    (found,) = wrong(rewritten(five, change))
    assert found.startswith(said)


def test_a_tail_that_was_cut_is_noticed_by_the_digest_that_was_noted(five: Path) -> None:
    digests = [line["digest"] for line in lines(five)]
    assert wrong(five, last=(digests[-1], digests[0])) == []
    rewritten(five, lambda found: found.pop())
    assert wrong(five) == []  # nobody can know
    assert wrong(five, last=(digests[-1],)) == [f"lost {digests[-1]}"]
    assert wrong(five, last=(digests[0],)) == []


def test_a_chain_that_was_made_anew_is_noticed_by_the_digest_that_was_noted(five: Path) -> None:
    noted_elsewhere = lines(five)[-1]["digest"]
    five.unlink()
    noted(five.parent, *"abxde")
    assert wrong(five) == []
    assert wrong(five, last=(noted_elsewhere,)) == [f"lost {noted_elsewhere}"]


def test_old_files_that_were_removed_on_purpose_are_vouched_for_by_the_digest_that_was_noted(tmp_path: Path) -> None:
    noted(tmp_path, *"abcd", most_bytes=600)
    old, new = sorted(tmp_path.iterdir())
    vouched = lines(old)[-1]["digest"]
    old.unlink()
    assert len(wrong(new)) == 1
    assert wrong(new, last=(vouched,)) == []


def test_a_file_given_twice_or_copied_is_no_second_continuation(tmp_path: Path) -> None:
    noted(tmp_path, *"abcd", most_bytes=600)
    old, new = sorted(tmp_path.iterdir())
    assert wrong(new, old, new) == []
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(new.read_bytes())
    assert wrong(new, old, copy) == ["line 1 is number 4 of its chain, and another file goes on from there, too"]


def test_any_bytes_at_all_are_judged_and_none_raise(tmp_path: Path) -> None:
    file = tmp_path / FILE
    for content in (b"\n", b"{}\n", b"null\n", b"\xff\xfe\n", b'{"n":1}\n', b"0" * 200_000, b"[]\n" * 9):
        file.write_bytes(content)
        assert wrong(file) != []
    file.write_bytes(b"")
    assert wrong(file) == []


def test_audit_verify_gives_the_last_digest_and_ends_with_1_where_something_is_wrong(
    five: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = lines(five)[-1]["digest"]
    assert cli.main(["audit", "verify", str(five)]) == 0
    shown = capsys.readouterr().out
    assert f"{five}: whole" in shown
    assert "5 lines, number 1 to 5, 2025-01-31T12:00:00.123Z to 2025-01-31T12:00:00.123Z" in shown
    assert f"last digest {last}" in shown
    rewritten(five, lambda found: found.pop())
    assert cli.main(["audit", "verify", "--last", last, str(five)]) == 1
    assert f"{last} is in none of them" in capsys.readouterr().out
    rewritten(five, lambda found: found.pop(1))
    assert cli.main(["audit", "verify", "--json", str(five)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] is False
    assert told["files"][0]["wrong"] == "cut at line 2: the lines of number 2 to 2 are gone"
    assert (told["files"][0]["lines"], told["files"][0]["last"]) == (1, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "gone.jsonl"], "gone.jsonl cannot be read: No such file or directory"),
        (["verify", "--last", "abc", "gone.jsonl"], "--last abc is no digest"),
        (["verify"], "Missing argument 'FILE...'"),
        (["show", "--where", "channel", "gone.jsonl"], "--where channel has no '='"),
        (["show", "--since", "yesterday", "gone.jsonl"], "--since yesterday is no time"),
        (["show", "gone.jsonl"], "gone.jsonl cannot be read: No such file or directory"),
    ],
)
def test_misuse_of_audit_ends_with_2_in_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["audit", *words]) == 2
    assert said in capsys.readouterr().err


def test_audit_show_shows_what_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = NOW

    def clock() -> int:
        return now

    trail = Trail(tmp_path / FILE, now=clock)
    for event, name, channel in (
        ("granted", "lisbon-1", "orders"),
        ("granted", "lisbon-1", "erp"),
        ("renewed", "berlin-1", ""),
        ("granted", "oslo-1", "orders"),
    ):
        trail.note(event, name=name, channel=channel)
        trail.settle()
        now += 60_000

    def shown(*words: str, code: int = 0) -> list[str]:
        assert cli.main(["audit", "show", *words, str(tmp_path / FILE)]) == code
        return [line for line in capsys.readouterr().out.splitlines() if "=" in line or line.startswith("{")]

    assert len(shown()) == 4
    (line,) = shown("--event", "granted", "--where", "channel=orders", "--since", "2025-01-31T12:01:00")
    assert line.split() == ["2025-01-31T12:03:00.123Z", "granted", "name=oslo-1", "channel=orders"]
    assert [each["n"] for each in map(json.loads, shown("--json", "--newest", "2"))] == [3, 4]
    assert shown("--json")[0] == (tmp_path / FILE).read_text().splitlines()[0]
    rewritten(tmp_path / FILE, lambda found: found.__setitem__(1, found[1].replace(b"erp", b"api")))
    assert len(shown(code=1)) == 3  # an altered line is not shown as if it were true


def test_audit_show_says_of_a_trail_that_was_cut_that_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trail = Trail(tmp_path / FILE)
    for number in range(4):
        trail.note("charter", version=number)
    trail.settle()
    rewritten(tmp_path / FILE, lambda found: found.__delitem__(1))
    assert cli.main(["audit", "show", str(tmp_path / FILE)]) == 1
    shown = capsys.readouterr()
    assert shown.out.count("version=") == 3
    assert "trail.jsonl: cut at line 2: the lines of number 2 to 2 are gone" in shown.err
    rewritten(tmp_path / FILE, lambda found: found.__delitem__(0))
    assert cli.main(["audit", "show", str(tmp_path / FILE)]) == 0  # what was before may be in a file put aside
