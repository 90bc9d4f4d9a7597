"""The vault: one sealed file, replaced as a whole or not at all."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.app import lockdir, vaultfile
from sealwire.app import vault as vaults
from sealwire.app.custody import Cost, Custody, make_key_file
from sealwire.app.faults import Failure
from sealwire.app.files import write_whole
from sealwire.app.vault import create_vault, open_vault, vault_file
from sealwire.keys import identity as identities
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "COST", Cost(1, 1 << 20))


@pytest.fixture
def custody(tmp_path: Path) -> Custody:
    make_key_file(tmp_path / "vault.key")
    return Custody(tmp_path / "vault.key")


def secrets() -> Secrets:
    return Secrets.begin(identities.create(os.urandom, 1_700_000_000_000))


def made(tmp_path: Path, custody: Custody, name: str = "producer1") -> Path:
    file = vault_file(tmp_path, name)
    create_vault(file, custody, secrets()).close()
    return file


def under_passphrase(tmp_path: Path, words: str) -> Custody:
    file = tmp_path / f"words-{words}"
    file.write_text(words)
    file.chmod(0o600)
    return Custody(passphrase_file=file)


def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path, custody: Custody) -> None:
    mine = secrets()
    file = vault_file(tmp_path, "producer1")
    with create_vault(file, custody, mine) as vault:
        vault.save(replace(mine, request=b"a request"))
    with open_vault(file, custody) as vault:
        assert vault.load().request == b"a request"
        assert vault.load().identity.member_id == mine.identity.member_id
        assert vault.generation == 2


def test_file_and_directory_are_private_to_their_owner(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_no_secret_stands_in_the_file_or_in_what_is_shown(tmp_path: Path, custody: Custody) -> None:
    mine = secrets()
    file = vault_file(tmp_path, "producer1")
    with create_vault(file, custody, mine) as vault:
        shown = repr(vault) + str(custody) + repr(custody) + repr(vault.load())
        seed = mine.identity.signing.seed
        assert seed not in file.read_bytes()
        assert seed.hex() not in shown
        assert repr(seed) not in shown


def test_a_vault_under_a_passphrase_opens_with_it_and_with_no_other(tmp_path: Path) -> None:
    file = vault_file(tmp_path, "producer1")
    create_vault(file, under_passphrase(tmp_path, "right"), secrets()).close()
    open_vault(file, under_passphrase(tmp_path, "right")).close()
    before = file.read_bytes()
    with pytest.raises(Failure, match=r"Wrong passphrase .*not touched"):
        open_vault(file, under_passphrase(tmp_path, "wrong"))
    assert file.read_bytes() == before


def test_another_key_file_is_told_from_a_damaged_vault(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    make_key_file(tmp_path / "other.key")
    with pytest.raises(Failure, match=r"Wrong key file .*other\.key"):
        open_vault(file, Custody(tmp_path / "other.key"))


def test_a_vault_under_another_custody_names_the_one_it_is_under(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with pytest.raises(Failure, match="is under a key file"):
        open_vault(file, under_passphrase(tmp_path, "right"))


def keyed(tmp_path: Path, content: bytes) -> Custody:
    """A command that prints what a file holds."""
    file = tmp_path / f"{content[:4].hex()}.bytes"
    file.write_bytes(content)
    return Custody(command=("cat", str(file)))


def test_a_vault_under_a_command_opens_with_it_and_tells_a_changed_secret(tmp_path: Path) -> None:
    file = made(tmp_path, keyed(tmp_path, b"a" * 32))
    open_vault(file, keyed(tmp_path, b"a" * 32)).close()
    before = file.read_bytes()
    with pytest.raises(Failure, match=r"Wrong command cat .*not touched.*made under: a command"):
        open_vault(file, keyed(tmp_path, b"b" * 32))
    assert file.read_bytes() == before


def test_a_vault_under_a_credential_tells_a_wrong_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    make_key_file(tmp_path / "mine")
    make_key_file(tmp_path / "other")
    file = made(tmp_path, Custody(credential="mine"))
    open_vault(file, Custody(tmp_path / "mine")).close()  # as it opened before credentials had a kind of their own
    with pytest.raises(Failure, match=r"Wrong credential other .*made under: a credential of systemd's"):
        open_vault(file, Custody(credential="other"))


def test_a_vault_is_put_under_another_custody_and_the_former_opens_it_no_more(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    former = file.read_bytes()
    chain = [custody, under_passphrase(tmp_path, "right"), keyed(tmp_path, b"a" * 32), custody]
    for before, after in pairwise(chain):
        with open_vault(file, before) as vault:
            vault.save(replace(vault.load(), request=str(after).encode()))
            vault.put_under(after)
            vault.save(replace(vault.load(), request=vault.load().request))  # it goes on under the new one
        with pytest.raises(Failure, match=r"is under|Wrong"):
            open_vault(file, before)
        with open_vault(file, after) as vault:
            assert vault.load().request == str(after).encode()
    assert salt_of(file.read_bytes()) != salt_of(former)
    assert sorted(found.name for found in file.parent.iterdir()) == ["lock", "vault"]


def salt_of(content: bytes) -> bytes:
    return content[len(vaultfile.MAGIC) + 7 :][:16]


def test_the_same_secret_seals_it_under_another_salt(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    before = salt_of(file.read_bytes())
    with open_vault(file, custody) as vault:
        vault.put_under(custody)
    assert salt_of(file.read_bytes()) != before
    open_vault(file, custody).close()


def test_where_the_new_secret_is_not_to_be_had_the_vault_stays_as_it_was(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    before = file.read_bytes()
    with open_vault(file, custody) as vault:
        with pytest.raises(Failure, match="There is no command"):
            vault.put_under(Custody(command=("tpm3_unseal",)))
        assert file.read_bytes() == before
        vault.save(vault.load())
    open_vault(file, custody).close()


def test_a_disk_that_refuses_leaves_the_vault_under_its_former_custody(
    tmp_path: Path, custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody) as vault:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(Failure, match="The old one stands"):
                vault.put_under(under_passphrase(tmp_path, "right"))
        vault.save(replace(vault.load(), request=b"later"))
    with open_vault(file, custody) as vault:
        assert vault.load().request == b"later"


WRITTEN_BEFORE = {  # by the release that knew key files and passphrases only
    "one": (
        "c2VhbHdpcmUgdmF1bHQBAQAAAAAAap8IGQw2t8U9Oba49DhGswAAAAAAAAABVkdap1RjR0wChd9dvyvKtz2mUTWIOem3dIGy6rEH"
        "cIwDb25lYPtZ/fMcjoGvcRl3aDEgglrOHinYmz4gARh91HntFDcFF0P3tl8pj6grQ0jiV4Unfcsv7MVqVSqgCU6vyrXWl/TInJZ3"
        "Vd7geHYeCzDI/oc7H5WkKcWdy0KSHzApezIKRAT1lF2Z4GcLyNdV3cC6MIgHe1UkG3dJK4ITXid6GsdYVJK2fr+B32PyATWJZc+w"
        "jBViAvjk2Y/T3BBsIp65n5YgAhz0jDGfmwv3dQ75"
    ),
    "two": (
        "c2VhbHdpcmUgdmF1bHQBAgEAAAQA+P+rl3sYjUsyJDI2EibtNwAAAAAAAAABVkdap1RjR0wChd9dvyvKtz2mUTWIOem3dIGy6rEH"
        "cIwDdHdvzTzOQY/I3wM1g7v13wDvKcauRKfDjqF5jzy1wyDES1jlPzFoqHE6vzPeUmQEl/6ltOrGFb0seg4GGnKhG+WgM9Wtz8yG"
        "pYimA3ct+ro8elJaZ9R9BW/yXyKlpYxRo+ro6LfUQdnyUmiTOh6Sh9681+ewbPuQvpU/CcTDaumIdCEJaMsP2y0JWpnhmie6klgO"
        "v0mcIqo6Zc5TZw4OKHSR6SonR1yZhXUZYsa4+qes"
    ),
}


@pytest.mark.parametrize(("name", "secret"), [("one", b"k" * 32), ("two", b"correct horse")])
def test_a_vault_of_an_earlier_release_opens_and_can_be_put_under_a_command(
    tmp_path: Path, name: str, secret: bytes
) -> None:
    file = vault_file(tmp_path, name)
    file.parent.mkdir(mode=0o700)
    write_whole(file, base64.b64decode(WRITTEN_BEFORE[name]))
    write_whole(tmp_path / "secret", secret)
    custody = Custody(tmp_path / "secret") if name == "one" else Custody(passphrase_file=tmp_path / "secret")
    with open_vault(file, custody) as vault:
        assert vault.load().identity.signing.seed == bytes(range(32))
        vault.put_under(keyed(tmp_path, b"a" * 32))
    open_vault(file, keyed(tmp_path, b"a" * 32)).close()


def test_a_custody_of_a_later_release_is_named_by_its_number(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    content = bytearray(file.read_bytes()[:-32])
    content[len(vaultfile.MAGIC) + 1] = 9
    write_whole(file, bytes(content) + vaultfile.primitives.digest(bytes(content)))
    with pytest.raises(Failure, match=r"does not know \(its number is 9\).*or a newer one"):
        open_vault(file, custody)


@pytest.mark.parametrize("passes", [0, 255])
def test_a_vault_whose_header_names_a_cost_that_cannot_be_is_damaged(tmp_path: Path, passes: int) -> None:
    file = vault_file(tmp_path, "two")
    file.parent.mkdir(mode=0o700)
    content = bytearray(base64.b64decode(WRITTEN_BEFORE["two"])[:-32])
    content[len(vaultfile.MAGIC) + 2] = passes
    write_whole(file, bytes(content) + vaultfile.primitives.digest(bytes(content)))
    write_whole(tmp_path / "secret", b"correct horse")
    with pytest.raises(Failure, match="damaged: its header names a cost"):
        open_vault(file, Custody(passphrase_file=tmp_path / "secret"))


def test_a_vault_that_was_restored_is_known_by_its_generation_once(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    old = file.read_bytes()
    with open_vault(file, custody) as vault:
        assert vault.behind == 0
        for _ in range(3):
            vault.save(vault.load())
    write_whole(file, old)
    with open_vault(file, custody) as vault:
        assert (vault.generation, vault.behind) == (1, 3)
    with open_vault(file, custody) as vault:
        assert vault.behind == 3  # nothing was saved: nothing was done about it
        vault.save(vault.load())
        assert vault.generation == 5
    with open_vault(file, custody) as vault:
        assert vault.behind == 0


def test_a_directory_that_was_restored_whole_is_known_too(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    shutil.copytree(file.parent, tmp_path / "backup")
    with open_vault(file, custody) as vault:
        vault.save(vault.load())
    shutil.rmtree(file.parent)
    shutil.copytree(tmp_path / "backup", file.parent)
    with open_vault(file, custody) as vault:
        assert vault.behind == 1


@pytest.mark.parametrize("content", [b"", b"\xff", b"x 9", b"00 9", b"1 2 3"])
def test_a_note_that_says_nothing_of_this_member_is_no_sign(tmp_path: Path, custody: Custody, content: bytes) -> None:
    file = made(tmp_path, custody)
    (tmp_path / "producer1.generation").write_bytes(content)
    with open_vault(file, custody) as vault:
        assert vault.behind == 0


def test_an_identity_that_is_made_anew_under_an_old_name_was_not_restored(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody) as vault:
        for _ in range(3):
            vault.save(vault.load())
    shutil.rmtree(file.parent)
    made(tmp_path, custody)
    with open_vault(file, custody) as vault:
        assert vault.behind == 0


def test_a_state_directory_that_takes_no_note_stops_nothing(tmp_path: Path, custody: Custody) -> None:
    (tmp_path / "producer1.generation.new").mkdir()
    file = made(tmp_path, custody)
    with open_vault(file, custody) as vault:
        assert (vault.generation, vault.behind) == (1, 0)


def test_a_missing_vault_names_the_command_or_the_identities_that_are_there(tmp_path: Path, custody: Custody) -> None:
    with pytest.raises(Failure, match="sealwire identity create producer1"):
        open_vault(vault_file(tmp_path, "producer1"), custody)
    made(tmp_path, custody, "consumer")
    with pytest.raises(Failure, match="Its identities are: consumer"):
        open_vault(vault_file(tmp_path, "producer1"), custody)
    assert not (tmp_path / "producer1").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_vault_that_others_can_touch_is_refused_with_the_cure(tmp_path: Path, custody: Custody, mode: int) -> None:
    file = made(tmp_path, custody)
    file.chmod(mode)
    with pytest.raises(Failure, match=r"too open.*chmod 600"):
        open_vault(file, custody)


def test_a_vault_under_another_name_is_of_another_identity(tmp_path: Path, custody: Custody) -> None:
    made(tmp_path, custody, "producer1").parent.rename(tmp_path / "producer2")
    with pytest.raises(Failure, match="is of another identity: 'producer1'"):
        open_vault(vault_file(tmp_path, "producer2"), custody)


def test_a_vault_in_use_names_the_process_that_uses_it(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody), pytest.raises(Failure, match=rf"in use by another process: pid {os.getpid()},"):
        open_vault(file, custody)
    open_vault(file, custody).close()


def test_a_vault_in_use_can_still_be_looked_into_without_the_lock(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody), open_vault(file, custody, lock=False) as looking:
        assert looking.load().request is None


def test_a_vault_is_never_made_over_another(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    before = file.read_bytes()
    with pytest.raises(Failure, match="already"):
        create_vault(file, custody, secrets())
    assert file.read_bytes() == before


def test_secrets_of_another_identity_are_not_written(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    before = file.read_bytes()
    with open_vault(file, custody) as vault, pytest.raises(Failure, match="another identity"):
        vault.save(secrets())
    assert file.read_bytes() == before


def test_a_newer_file_of_another_process_is_not_overwritten(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody) as mine, open_vault(file, custody, lock=False) as other:
        other.save(replace(other.load(), request=b"newer"))
        with pytest.raises(Failure, match="changed by another process"):
            mine.save(replace(mine.load(), request=b"older"))
    with open_vault(file, custody) as vault:
        assert vault.load().request == b"newer"


def test_a_disk_that_refuses_leaves_the_old_file(
    tmp_path: Path, custody: Custody, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = made(tmp_path, custody)
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with open_vault(file, custody) as vault:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(Failure, match=r"No space left.*The old one stands"):
            vault.save(replace(vault.load(), request=b"new"))
        assert vault.load().request is None
    assert file.read_bytes() == before
    assert sorted(found.name for found in file.parent.iterdir()) == ["lock", "vault"]


def test_who_holds_a_lock_is_named_by_its_program_and_by_no_option(monkeypatch: pytest.MonkeyPatch) -> None:
    for argv, name in (
        (["/usr/bin/sealwire", "authority", "run", "-d", "x"], "sealwire authority run"),
        (["/lib/faust/__main__.py", "--quiet", "-A", "x"], "faust"),
    ):
        monkeypatch.setattr("sys.argv", argv)
        assert lockdir.command() == name


def test_a_file_of_a_process_that_was_killed_while_writing_is_in_nobodys_way(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    file.with_name("vault.new").write_bytes(b"half")
    with open_vault(file, custody) as vault:
        vault.save(replace(vault.load(), request=b"new"))
    with open_vault(file, custody) as vault:
        assert vault.load().request == b"new"


def test_a_process_that_is_killed_while_it_saves_leaves_one_of_its_whole_vaults(
    tmp_path: Path, custody: Custody
) -> None:
    file = made(tmp_path, custody)
    code = (
        "import sys; from dataclasses import replace; from pathlib import Path\n"
        "from sealwire.app.vault import open_vault; from sealwire.app.custody import Custody\n"
        "vault = open_vault(Path(sys.argv[1]), Custody(Path(sys.argv[2])))\n"
        "print('ready', flush=True)\n"
        "while True: vault.save(replace(vault.load(), request=bytes(100000)))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(file), str(custody.key_file)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    first = file.stat().st_ino
    while file.stat().st_ino == first:
        pass
    child.kill()
    child.wait()
    child.stdout.close()
    with open_vault(file, custody) as vault:
        assert vault.load().request == bytes(100000)


@given(data=st.data())
def test_any_altered_byte_is_a_failure_in_words_and_never_secrets(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = tmp_path_factory.mktemp("vault")
    make_key_file(directory / "vault.key")
    custody = Custody(directory / "vault.key")
    file = made(directory, custody)
    content = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(content)
    with pytest.raises(Failure, match="damaged"):
        open_vault(file, custody)
    assert file.read_bytes() == content


def test_an_altered_vault_with_a_fitting_checksum_is_still_refused(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    content = bytearray(file.read_bytes()[:-32])
    content[-1] ^= 1
    write_whole(file, bytes(content) + vaultfile.primitives.digest(bytes(content)))
    with pytest.raises(Failure, match="was altered"):
        open_vault(file, custody)


@pytest.mark.parametrize("left", [0, 1, 13, 14, 50, 120, 200])
def test_a_vault_that_is_cut_short_is_damaged(tmp_path: Path, custody: Custody, left: int) -> None:
    file = made(tmp_path, custody)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(Failure, match="damaged"):
        open_vault(file, custody)


def test_saving_through_a_directory_of_another_owner_is_a_failure_in_words(tmp_path: Path, custody: Custody) -> None:
    file = made(tmp_path, custody)
    with open_vault(file, custody) as vault:
        (file.parent / "lock").unlink()
        file.unlink()
        file.parent.rmdir()
        with pytest.raises(Failure, match="could not be written"):
            vault.save(vault.load())
