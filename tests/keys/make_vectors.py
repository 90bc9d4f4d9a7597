"""Writes tests/vectors anew: `python tests/keys/make_vectors.py`. Deterministic: seeded random, fixed clock."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import vector_envelopes
from vector_file import FOLDER


def made() -> dict[str, str]:
    """Give every file of the folder, by its path below it."""
    files: dict[str, str] = {}
    for case in vector_envelopes.cases():
        path = f"envelope/{case.name}.txt"
        if path in files:
            raise AssertionError(path)
        files[path] = case.vector().render()
    return files


def main() -> None:
    """Write what is missing or differs, and remove what the generator no longer makes."""
    files = made()
    for path in FOLDER.glob("*/*.txt"):
        if str(path.relative_to(FOLDER)) not in files:
            path.unlink()
    for name, text in files.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(files)} vectors")


if __name__ == "__main__":
    main()
