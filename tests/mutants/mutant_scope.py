"""Which modules decide on trust, opening and continuity, which tests mutants are put to, which may survive."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from changes import Mutant

Excuse = tuple[str, str, str, str]
EXCUSED: Final = Path(__file__).parent / "excused.toml"
KEYS: Final = "tests/keys/test_"
BELIEVED: Final = "vectors.py::test_what_is_believed_depends_on_what_was_known_as_its_vector_says"
TESTS: Final = {  # of each module: first what kills most
    "keys/acceptance.py": ("trust.py", "trust_charter.py", BELIEVED),
    "keys/aside.py": ("trust.py", "trust_charter.py"),
    "keys/batch.py": ("trust.py", "trust_charter.py", BELIEVED),
    "keys/charter.py": ("charter.py", "trust_charter.py", BELIEVED),
    "keys/claims.py": ("trust.py", "trust_charter.py", BELIEVED),
    "keys/clocks.py": ("trust_charter.py",),
    "keys/cursor.py": ("cursor.py", "vectors.py::test_a_cursor_decides_as_its_vector_says"),
    "keys/delivery.py": ("delivery.py", "cursor.py", "order.py"),
    "keys/landmark.py": ("landmark.py",),
    "keys/lastwords.py": ("lastwords.py",),
    "keys/learning.py": ("trust.py", "trust_charter.py"),
    "keys/opening.py": ("opening.py", "vectors.py::test_an_envelope_does_what_its_vector_says"),
    "keys/order.py": ("order.py",),
    "keys/outlook.py": ("outlook.py",),
    "keys/progress.py": ("progress.py", "vectors.py::test_a_statement_does_what_its_vector_says"),
    "keys/proofs.py": ("trust.py", "trust_charter.py"),
    "keys/quarantined.py": ("quarantined.py",),
    "keys/restored.py": ("restored.py",),
    "keys/secrets.py": ("secrets.py",),
    "keys/serving.py": ("serving.py",),
    "keys/standing.py": ("cursor.py", "order.py"),
    "keys/trust.py": ("members.py", "trust.py", "trust_charter.py", BELIEVED),
    "keys/unwrapping.py": ("trust.py",),
    "keys/word.py": ("word.py", "outlook.py"),
}


def put_to(module: str) -> tuple[str, ...]:
    """Name the tests that a module's mutants are put to."""
    return tuple(KEYS + name for name in TESTS[module])


def excuse_of(mutant: Mutant) -> Excuse:
    """What a mutant is known by when the lines around it have moved."""
    return mutant.module, mutant.function, mutant.line, mutant.became


def excused() -> dict[Excuse, str]:
    """Read the mutants that make no difference, each with its reason."""
    listed = tomllib.loads(EXCUSED.read_text(encoding="utf-8"))["excused"]
    return {(each["module"], each["function"], each["line"], each["became"]): each["why"] for each in listed}
