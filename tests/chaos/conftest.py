"""Where the tests of the chaos find what they test, and the helpers of tests/integration that it uses."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
