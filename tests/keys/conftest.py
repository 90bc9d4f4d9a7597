"""Lets the tests of keys/ share their helpers, which also run as plain scripts."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
