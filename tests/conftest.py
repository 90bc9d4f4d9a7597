"""How Hypothesis looks for examples: without a deadline (two busy cores), and in CI always the same ones."""

from __future__ import annotations

import os

import hypothesis

hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")
