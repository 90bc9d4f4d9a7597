"""The last line of every command: what was expected is said in words, what was not goes into a file that is named."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure, Faults

if TYPE_CHECKING:
    from collections.abc import Callable


T = TypeVar("T")


def say(error: BaseException, *, directory: Path | None = None) -> int:
    """Print an error for a person, on standard error, and give the exit code. Never a traceback on the terminal.

    What nobody foresaw is written with its traceback into ``directory`` (else the temporary one), mode 0600.
    """
    match error:
        case Faults():
            for fault in error.faults:
                _print(f"error: {fault}")
            count = len(error.faults)
            _print(f"{count} thing{'s' if count > 1 else ''} to mend; nothing was done.")
            return CONFIGURATION
        case Failure():
            _print(f"error: {error.cause}")
            if error.cure:
                _print(f"  cure: {error.cure}")
            return error.code
        case KeyboardInterrupt():
            return 130  # as a shell reports SIGINT
        case BrokenPipeError():
            # Whoever read us has enough: give the interpreter something to flush into at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return RUNTIME
        case _:
            _print(f"error: unexpected: {type(error).__name__}")
            _print(f"  cure: this is a fault of sealwire: please report it, with {_write(error, directory)}")
            return RUNTIME


def guarded(function: Callable[[], T]) -> T:
    """Call a function; on any error say it and end the process with its code."""
    try:
        return function()
    except Exception as error:  # noqa: BLE001 - the last line: all ends here
        end(say(error))


def end(code: int) -> NoReturn:
    """End the process with an exit code, whatever a framework above makes of exceptions."""
    sys.stdout.flush()
    sys.stderr.flush()
    raise SystemExit(code)


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _write(error: BaseException, directory: Path | None) -> str:
    """Write the traceback where only its owner reads it; the same one again, of a worker in a loop, is kept once."""
    text = "".join(traceback.format_exception(error))
    name = f"sealwire-error-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    for place in (directory, _temporary()):
        if place is None or not place.is_dir():
            continue
        try:
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return str(place / name)
        except OSError:
            continue
        with os.fdopen(descriptor, "w") as out:
            out.write(text)
        return str(place / name)
    return "no file: none could be written"


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # a read-only root without a /tmp
        return None
