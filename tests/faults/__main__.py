"""python -m faults --help."""

from __future__ import annotations

import sys

from faults.command import main

sys.exit(main(sys.argv[1:]))
