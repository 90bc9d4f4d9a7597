"""Log lines: one event a line, `timestamp level event name=value ...`, on standard error; never a secret."""

from __future__ import annotations

import logging
import logging.config
from typing import Any, Final

import structlog

# Their narrations drown ours, and building them costs a seventh of a quiet worker's time.
QUIET: Final = ("aiokafka", "faust", "mode", "kafka", "asyncio", "aiohttp", "rocksdict")


def begin(level: str = "info") -> None:
    """Show events from a level on; libraries speak from `warning` on, at `debug` from `info`."""
    structlog.configure(
        processors=[*_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(_number(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    logging.config.dictConfig(settings(level))


def settings(level: str = "info") -> dict[str, Any]:
    """Give the same as `logging.config` takes it: Faust begins logging anew at its start, and is handed this."""
    least = _number(level)
    theirs = logging.INFO if least <= logging.DEBUG else max(least, logging.WARNING)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": _formatter}},
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


def _formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
    )


def _render(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    words = [str(event.pop("timestamp", "")), str(event.pop("level", "")).ljust(7), str(event.pop("event", ""))]
    event.pop("logger", None)
    raised = event.pop("exception", None)
    words += [f"{name}={_value(value)}" for name, value in event.items()]
    return " ".join(words) + (f"\n{raised}" if raised else "")


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char.isspace() or char in "\"'=" for char in text) else text


def _number(level: str) -> int:
    return int(getattr(logging, level.upper()))
