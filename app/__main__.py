"""`python -m sealwire.app`: the command line, where the script `sealwire` is not on the path."""

from __future__ import annotations

import sys

from sealwire.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
