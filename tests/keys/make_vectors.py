"""Writes tests/vectors anew: `python tests/keys/make_vectors.py`. Deterministic: seeded random, fixed clock."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import vector_envelopes
import vector_insides
import vector_people
import vector_rules
import vector_secrets
import vector_statements
import vector_trust
from vector_file import FOLDER, Vector


def statements() -> list[vector_statements.Case]:
    """Give every case of the statements; only inside `stored_hpke`."""
    own = {**vector_rules.OWN, **vector_secrets.OWN}
    cases = vector_rules.ticket_files()
    for case in vector_statements.good():
        cases += [case, *vector_statements.framed(case), *own[case.type](case)]
    return cases


def made() -> dict[str, str]:
    """Give every file of the folder, by its path below it."""
    with vector_people.stored_hpke() as used:
        listed: list[tuple[str, Vector]] = [
            *((f"envelope/{case.name}.txt", case.vector()) for case in vector_envelopes.cases()),
            *((f"envelope/{case.name}.txt", case.vector()) for case in vector_insides.cases()),
            *((case.path, case.vector()) for case in statements()),
            *vector_trust.vectors().items(),
        ]
    vectors = dict(listed)
    if len(vectors) != len(listed):
        raise AssertionError([path for path, _ in listed if [each for each, _ in listed].count(path) > 1])
    stored = "".join(f"{name} {value}\n" for name, value in sorted(used.items()))
    return {"hpke.txt": stored, **{path: vector.render() for path, vector in vectors.items()}}


def stored() -> dict[str, str]:
    """Give every file that is in the folder."""
    return {str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*.txt")}


def main() -> None:
    """Write what is missing or differs, and remove what the generator no longer makes."""
    files, before = made(), stored()
    for name in before.keys() - files.keys():
        (FOLDER / name).unlink()
    for name, text in files.items():
        if before.get(name) != text:
            (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / name).write_text(text)
    print(f"{len(files) - 1} vectors")


if __name__ == "__main__":
    main()
