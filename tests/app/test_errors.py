"""What a person is told of a file that cannot be had, a topic that is not there, or a wrong YAML: cause and cure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaError

from sealwire.app import clouderrors
from sealwire.app.cli import COMMANDS, cli, main
from sealwire.app.faults import unusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import click

SEALING = """\
project: acme
site: berlin
identity: producer1
state: state
local: {bootstrap: "localhost:1", broker: embedded}
cloud: {bootstrap: "localhost:1", broker: embedded}
mappings:
  - {channel: orders, seal: orders, to: acme.orders}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEALWIRE_STATE", str(tmp_path / "state"))
    assert main(["project", "create", "acme", "-d", "acme"]) == 0
    (tmp_path / "words").write_text("correct horse")
    (tmp_path / "words").chmod(0o600)
    (tmp_path / "berlin.yaml").write_text(SEALING)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "enroll gone --identity producer1",
        "authority admit gone --answer a -d acme",
        "authority restore gone -d b --passphrase-file words",
        "root show gone -d acme",
        "root draft out -d acme --add-root-key gone",
        "project create b -d b --escrow vault=gone",
        "audit verify gone",
        "audit show gone",
        "inspect --topic t --file gone",
        "demo --input gone",
        "project cloud -d acme --kafka-config gone",
    ],
)
def test_a_file_that_is_not_there_is_told_with_a_cure(
    here: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert "gone" in said
    assert "cure:" in said or "(name" in said, said


@pytest.mark.parametrize(
    "words",
    [
        "ticket create -d acme --out no/t",
        "root key no/k",
        "root draft no/d -d acme --new-authority-key",
        "escrow create no/e",
        "authority backup no/b -d acme --passphrase-file words",
        "charter edit --file no/c -d acme",
        "project create b -d words/b",
        "identity create p --state words/s --passphrase-file words",
    ],
)
def test_a_place_that_cannot_be_written_is_told_with_a_cure(
    here: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    capsys.readouterr()
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert "No such file" in said or "Not a directory" in said
    assert "directory" in said.split("cure:")[1], said


@pytest.mark.parametrize(
    "words",
    [
        "ticket create -d acme -a role=member --out acme/root.key",
        "root draft acme/root.key -d acme --new-authority-key",
        "root sign draft --root-key acme/root.key --yes --out acme/root.key",
        "enroll ticket --identity p --request-file acme/root.key",
        "authority admit request -d acme --answer acme/root.key",
        "authority backup acme/root.key -d acme --passphrase-file words",
        "escrow create acme/root.key",
        "root key acme/root.key",
    ],
)
def test_what_is_written_never_replaces_a_key(here: Path, capsys: pytest.CaptureFixture[str], words: str) -> None:
    for before in (
        "ticket create -d acme -a role=member --out ticket",
        "root draft draft -d acme --new-authority-key",
        "enroll ticket --identity q --request-file request",
    ):
        assert main(before.split()) == 0
    key = (here / "acme/root.key").read_bytes()
    keys = sorted(each.name for each in (here / "acme").glob("*.key"))
    capsys.readouterr()
    assert main(words.split()) == 2
    assert "There is a file acme/root.key" in capsys.readouterr().err
    assert (here / "acme/root.key").read_bytes() == key
    assert sorted(each.name for each in (here / "acme").glob("*.key")) == keys


def test_a_draft_that_holders_may_have_signed_is_not_drafted_over(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = ["root", "draft", "draft", "-d", "acme", "--new-authority-key"]
    assert main(draft) == 0
    assert main(["root", "sign", "draft", "--root-key", "acme/root.key", "--yes"]) == 0
    assert main(["root", "sign", "draft", "--root-key", "acme/root.key", "--yes", "--out", "draft"]) == 0
    signed = (here / "draft").read_bytes()
    assert main(draft) == 2
    assert (here / "draft").read_bytes() == signed


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (FileNotFoundError(2, "No such file or directory"), "is its directory there"),
        (PermissionError(13, "Permission denied"), "as a user that may"),
        (OSError(28, "No space left on device"), "make room"),
        (OSError(5, "Input/output error"), "name another"),
    ],
)
def test_the_cure_fits_what_the_disk_said(error: OSError, cure: str) -> None:
    assert cure in unusable("out", "written", error).cure.lower()


@pytest.mark.parametrize(
    "words",
    [
        "provenance berlin.yaml",
        "quarantine list berlin.yaml",
        "accept-gap berlin.yaml -c orders --why x",
        "site restore berlin.yaml",
        "verify --against words berlin.yaml",
    ],
)
def test_what_needs_a_mapping_to_open_says_so_and_ends_with_2(
    here: Path, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert main(words.split()) == 2
    said = capsys.readouterr().err
    assert "no mapping to open" in said
    assert "receiving site" in said
    assert "decide" not in said or words.startswith("accept-gap")


@pytest.mark.parametrize("partition", ["-1", "x"])
def test_a_partition_that_cannot_be_is_no_topic_that_is_missing(
    here: Path, capsys: pytest.CaptureFixture[str], partition: str
) -> None:
    assert main(["inspect", "-t", "t", "-b", "localhost:1", "--partition", partition]) == 2
    assert "--partition" in capsys.readouterr().err


def test_a_partition_that_a_topic_lacks_is_thought_of() -> None:
    failure = clouderrors.words(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "cloud:1", "acme.orders")
    assert failure is not None
    assert "fewer partitions" in failure.cure


def test_a_trail_of_which_nothing_is_shown_says_so(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "trail.jsonl").write_text("")
    assert main(["audit", "show", "trail.jsonl", "--event", "grantd"]) == 0
    outcome = capsys.readouterr()
    assert outcome.out == ""
    assert "Nothing of 0 lines is shown" in outcome.err
    assert "did you mean 'granted'?" in outcome.err


def test_a_root_that_names_an_escrow_key_twice_is_told_once_with_a_cure(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["escrow", "create", "e"]) == 0
    capsys.readouterr()
    twice = ["--escrow", "a=e.pub", "--escrow", "b=e.pub"]
    assert main(["project", "create", "b", "-d", "b", *twice]) == 2
    said = capsys.readouterr().err
    assert said.count("can say this") == 1
    assert "cure:" in said


def test_rotating_sessions_where_none_are_is_told_where_they_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "lisbon.yaml").write_text(
        SEALING.replace("seal: orders, to: acme.orders", "open: acme.orders, to: orders, delivery: at-least-once")
    )
    assert main(["rotate", "lisbon.yaml", "sessions"]) == 2
    assert "cure: " in capsys.readouterr().err


def everything(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    subcommands = getattr(command, "commands", None) or (COMMANDS if not path else {})
    for name in subcommands:
        below = command.get_command(None, name)  # type: ignore[attr-defined]
        assert below is not None
        yield from everything(below, *path, name)
    if path:
        yield " ".join(path), command


ALL = dict(everything(cli))


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_option_says_what_it_is_for(name: str) -> None:
    options = [each for each in ALL[name].params if each.param_type_name == "option"]
    assert [each.name for each in options if not getattr(each, "help", "")] == []


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_option_is_called_the_same_in_every_command(name: str) -> None:
    import click  # noqa: PLC0415

    context = click.Context(ALL[name])
    shown = {each.name: each.make_metavar(context) for each in ALL[name].params}
    for option, metavar in {"config": "FILE", "kafka_config": "FILE", "since": "TIME"}.items():
        assert shown.get(option, metavar) == metavar, option


def test_the_list_of_subcommands_is_not_cut_short(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in ALL.items():
        if getattr(command, "commands", None):
            assert main([*name.split(), "--help"]) == 0
            assert "..." not in capsys.readouterr().out.partition("Commands:")[2], name


def test_an_argument_that_may_be_left_out_is_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["health"], ["members"], ["charter", "show"]):
        assert main([*words, "--help"]) == 0
        assert "[NODE.yaml]" in capsys.readouterr().out
