"""What is compared: conmon binaries."""

from __future__ import annotations

import hashlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Subject:
    """One conmon. `key` names its samples in the results: ours, peer, peer2, ..."""

    key: str
    path: Path
    version: str
    bytes: int
    sha256: str

    @property
    def label(self) -> str:
        """What people are shown."""
        kinds = {"ours": "this conmon", "peer": "C conmon"}
        return f"{kinds.get(self.key, self.key + ', conmon')} {self.version}"

    def has(self, option: str) -> bool:
        """True if its --help knows an option."""
        done = subprocess.run(
            [self.path, "--help"], capture_output=True, text=True, timeout=10, check=False
        )
        return option in done.stdout


def look_at(paths: list[Path]) -> list[Subject]:
    """The subjects: the first path is ours, the second the one that the goals speak of.

    ValueError if one of them is not a conmon.
    """
    found = []
    for number, path in enumerate(paths):
        key = "ours" if number == 0 else "peer" if number == 1 else f"peer{number}"
        try:
            done = subprocess.run(
                [path, "--version"], capture_output=True, text=True, timeout=10, check=False
            )
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        match = re.match(r"conmon version (\S+)", done.stdout)
        if not match:
            raise ValueError(f"{path} --version does not name a conmon: {done.stdout!r}")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        found.append(Subject(key, path.absolute(), match[1], len(data), digest))
    return found
