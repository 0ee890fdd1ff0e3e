"""The benchmarks are a package of the project's directory, which is not on the path otherwise."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent.parent))
