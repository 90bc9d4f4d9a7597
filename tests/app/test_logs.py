"""Log lines: text for a person, or one JSON object a line, whatever happens."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

STORY = """
    import logging, sys, threading, warnings
    import structlog
    from sealwire.app import logs
    logs.begin("info", sys.argv[1])
    structlog.stdlib.get_logger("sealwire.up").info("worker started", worker="seal one", pid=7)
    logging.getLogger("sealwire.agents.mirror").warning("%s[%d] waits:\\n%s", "orders", 3, "a gap")
    logging.getLogger("sealwire.agents").debug("not to be seen")
    logging.getLogger("faust").info("not to be seen")
    try:
        raise ValueError("of two\\nlines")
    except ValueError:
        logging.getLogger("sealwire").exception("it failed")
    warnings.warn("old", stacklevel=1)
    threading.Thread(target=lambda: 1 / 0).start()
    raise RuntimeError("nobody caught this")
"""


def told(form: str) -> list[str]:
    source = textwrap.dedent(STORY)
    ended = subprocess.run([sys.executable, "-c", source, form], capture_output=True, text=True, check=False)
    return ended.stderr.splitlines()


def test_json_is_one_object_a_line_even_for_what_nobody_caught() -> None:
    found: list[dict[str, Any]] = [json.loads(line) for line in told("json")]
    assert [each["event"] for each in found][:3] == ["worker started", "orders[3] waits:\na gap", "it failed"]
    first, waits, failed, *others = found
    assert (first["level"], first["logger"], first["worker"], first["pid"]) == ("info", "sealwire.up", "seal one", 7)
    assert (waits["level"], waits["logger"]) == ("warning", "sealwire.agents.mirror")
    assert failed["exception"].startswith("Traceback")
    assert "ValueError: of two\nlines" in failed["exception"]
    raised = "".join(each.get("exception", "") for each in others)
    assert "ZeroDivisionError" in raised
    assert "nobody caught this" in raised
    assert all(set(each) >= {"timestamp", "level", "event", "logger"} for each in found)


def test_timestamps_are_utc() -> None:
    at = datetime.fromisoformat(json.loads(told("json")[0])["timestamp"])
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)


def test_text_is_an_event_a_line_with_its_names() -> None:
    lines = told("text")
    assert lines[0].endswith("info    worker started worker='seal one' pid=7")
    assert lines[1].endswith("warning orders[3] waits:\\na gap")
    assert not any("not to be seen" in line for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_faust_is_handed_the_same_form(form: str) -> None:
    source = "import logging.config, sys; from sealwire.app import logs; logs.begin('info', 'text')\n"
    source += "logging.config.dictConfig(logs.settings('info', sys.argv[1])); logging.getLogger('faust').error('moved')"
    ended = subprocess.run([sys.executable, "-c", source, form], capture_output=True, text=True, check=True)
    assert ended.stderr.strip().startswith("{") is (form == "json")
