"""Print the path of this Python's static library, or nothing if there is none."""

import sysconfig
from pathlib import Path

version = sysconfig.get_config_var("LDVERSION")
for directory in (sysconfig.get_config_var("LIBPL"), sysconfig.get_config_var("LIBDIR")):
    archive = Path(directory or "/nonexistent", f"libpython{version}.a")
    if archive.is_file():
        print(archive)
        break
