"""Log lines on standard error, one event each; never a secret.

As text, `timestamp level event name=value ...`, an exception's traceback below; as JSON, one object a line with
`timestamp` (UTC, RFC 3339), `level`, `event`, `logger`, the names of that event, and `exception` where there was one.
"""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from types import TracebackType

# Their narrations drown ours, and building them costs a seventh of a quiet worker's time.
QUIET: Final = ("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp", "rocksdict")


def begin(level: str = "info", form: str = "text") -> None:
    """Show events from a level on, as `text` or `json`; libraries speak from `warning` on, at `debug` from `info`."""
    structlog.configure(
        processors=[*_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(settings(level, form))
    logging.captureWarnings(capture=True)
    if form == "json":  # what nobody catches would be lines of no object
        sys.excepthook = _uncaught
        threading.excepthook = lambda raised: _uncaught(raised.exc_type, raised.exc_value, raised.exc_traceback)


def settings(level: str = "info", form: str = "text") -> dict[str, Any]:
    """Give the same as `logging.config` takes it: Faust begins logging anew at its start, and is handed this."""
    least = _number(level)
    theirs = logging.INFO if least <= logging.DEBUG else max(least, logging.WARNING)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _as_json if form == "json" else _as_text}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": theirs, "handlers": ["stderr"]},
        "loggers": {"sealwire": {"level": least}}
        | {name: {"level": theirs} for name in QUIET}
        # It reports an absent broker several times a second; the agents say so once.
        | {"aiokafka": {"level": theirs if least <= logging.DEBUG else logging.CRITICAL}},
    }


def _common() -> list[structlog.typing.Processor]:
    return [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]


def _as_text() -> logging.Formatter:
    return _formatter(_text)


def _as_json() -> logging.Formatter:
    return _formatter(_json)


def _formatter(render: structlog.typing.Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None and not isinstance(error, KeyboardInterrupt):
        logging.getLogger("sealwire").error("uncaught %s", kind.__name__, exc_info=(kind, error, trace))


def _json(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    first = {name: event.pop(name, "") for name in ("timestamp", "level", "event", "logger")}
    first["event"] = str(first["event"])
    return json.dumps({**first, **event}, default=str, ensure_ascii=False)


def _text(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    words = [str(event.pop("timestamp", "")), str(event.pop("level", "")).ljust(7), _line(event.pop("event", ""))]
    event.pop("logger", None)
    raised = event.pop("exception", None)
    words += [f"{name}={_value(value)}" for name, value in event.items()]
    return " ".join(words) + (f"\n{raised}" if raised else "")


def _line(event: object) -> str:
    return str(event).replace("\r", "\\r").replace("\n", "\\n")


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char.isspace() or char in "\"'=" for char in text) else text


def _number(level: str) -> int:
    return int(getattr(logging, level.upper()))
