"""Whatever is asked of the command line, it answers in words: exit code, cause and cure, and never a traceback."""

from __future__ import annotations

import importlib.metadata
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from sealwire.app import cli, guard, options
from sealwire.app.faults import Failure, Fault, Faults

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 60


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"sealwire {importlib.metadata.version('sealwire')}"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_of_the_table_is_there_and_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert "Usage: sealwire" in capsys.readouterr().out


def test_help_imports_neither_faust_nor_a_kafka_client() -> None:
    program = "import sys; from sealwire.app.cli import main; main(['--help']); print(*sys.modules)"
    assert not {"faust", "aiokafka", "confluent_kafka"} & set(run("-c", program).stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["frobnicate"], "There is no command 'frobnicate'"),
        (["stats"], "Did you mean 'status'?"),
        (["status"], "Missing argument 'NODE.yaml'"),
        (["up", "--frob", "x"], "No such option"),
        (["topics", "apply", "x", "--retention-days", "0"], "0 is not in the range"),
    ],
)
def test_misuse_is_said_with_the_way_to_help_and_ends_with_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "--help" in shown


@pytest.mark.parametrize("words", [["up"], ["status"], ["site", "init"], ["topics", "apply"]])
def test_a_yaml_with_faults_ends_with_2_and_nothing_is_started(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("project: acme\nsite: [\n")
    assert cli.main([*words, str(path)]) == 2
    shown = capsys.readouterr().err
    assert f"error: {path}:3:1: is not YAML" in shown
    assert "nothing was done" in shown


def test_a_failure_is_its_cause_its_cure_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: raising(Failure("The cause.", "The cure.", code=2)))
    assert cli.main(["status"]) == 2
    assert capsys.readouterr().err == "error: The cause.\n  cure: The cure.\n"


def test_what_nobody_foresaw_goes_into_a_private_file_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: raising(ZeroDivisionError("by nought")))
    assert [cli.main(["status"]) for _ in range(2)] == [1, 1]
    shown = capsys.readouterr().err
    (file,) = tmp_path.iterdir()  # the same error again fills no disk
    assert str(file) in shown
    assert "Traceback" not in shown
    assert "by nought" in file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_an_interrupt_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli.cli, "get_command", lambda *_: raising(KeyboardInterrupt()))
    assert cli.main(["status"]) == 130
    assert "error" not in capsys.readouterr().err


def raising(error: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise error

    return command


def test_faults_are_all_printed_in_the_order_of_their_places(capsys: pytest.CaptureFixture[str]) -> None:
    assert guard.say(Faults([Fault("n", 9, 1, "b", "is wrong"), Fault("n", 2, 1, "a", "is wrong", "do this")])) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: n:2:1: a: is wrong (do this)",
        "error: n:9:1: b: is wrong",
        "2 things to mend; nothing was done.",
    ]


@pytest.mark.parametrize("module", ["sealwire.app.seal", "sealwire.app.mirror"])
def test_a_worker_that_faust_starts_without_a_node_says_so_and_ends_with_2(module: str) -> None:
    ended = run("-m", "faust", "-A", module, "worker", SEALWIRE_NODE="")
    assert ended.returncode == 2
    assert "SEALWIRE_NODE is not set" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_worker_that_faust_starts_on_a_faulty_yaml_names_all_faults_and_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("projct: acme\nlanes: 0\n")
    ended = run("-m", "faust", "-A", "sealwire.app.seal", "worker", "-l", "warn", SEALWIRE_NODE=str(path))
    assert ended.returncode == 2
    assert f"error: {path}:1:1: projct: is not a setting (did you mean 'project'?)" in ended.stderr
    assert f"error: {path}:2:8: lanes: must be from 1 to 256, not 0" in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_worker_without_an_identity_names_the_command_that_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: s\nstate: state\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n"
    )
    ended = run("-m", "faust", "-A", "sealwire.app.seal", "worker", SEALWIRE_NODE=str(path))
    assert ended.returncode == 2
    assert "sealwire identity create s" in ended.stderr
    ended = run("-m", "faust", "-A", "sealwire.app.mirror", "worker", SEALWIRE_NODE=str(path))
    assert ended.returncode == 2
    assert "has no mapping to open" in ended.stderr


def test_up_passes_on_what_its_worker_says_and_ends_with_2_when_no_new_start_would_help(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(
        "project: acme\nsite: berlin\nidentity: s\nstate: state\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: a, seal: x, to: c.x}\n"
    )
    ended = run("-c", "import sys; from sealwire.app.cli import main; sys.exit(main())", "up", str(path))
    assert ended.returncode == 2
    assert "There is no identity 's'" in ended.stderr
    assert "not started again" in ended.stderr
    assert ended.stderr.count("worker started") == 1


def test_where_nothing_can_be_written_an_unforeseen_error_is_said_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", none)
    assert guard.say(RuntimeError("unforeseen")) == 1
    assert "no file: none could be written" in capsys.readouterr().err


@pytest.mark.parametrize("there", [io.StringIO(""), None])
def test_a_question_that_nobody_is_there_to_answer_says_what_to_give_and_ends_as_a_wrong_command_line(
    there: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", there)
    with pytest.raises(Failure, match="Nothing was changed. Nobody is there to answer: .*--yes") as raised:
        options.agreed("Sign this?", yes=False)
    assert raised.value.code == 2
    options.agreed("Sign this?", yes=True)


@pytest.mark.parametrize("answer", ["n", ""])
def test_an_answer_may_be_piped_in_and_only_yes_is_one(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    options.agreed("Sign this?", yes=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{answer}\n"))
    with pytest.raises(Failure, match="Nothing was made") as raised:
        options.agreed("Sign this?", yes=False, otherwise="Nothing was made.")
    assert raised.value.code == 1


def test_ctrl_c_at_a_question_ends_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.termui.visible_prompt_func", lambda *_: interrupt())
    with pytest.raises(click.Abort):
        options.agreed("Sign this?", yes=False)
