"""A real terminal: tmux, with a screen of a given size that can be read back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

TIMEOUT_S = 30
PAUSE_S = 0.02


class Screen:
    """A shell on a terminal of `columns` by `rows`, in a tmux server of its own."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        columns: int,
        rows: int = 24,
        shell: str = "sh",
    ) -> None:
        self._tmux = ["tmux", "-S", str(directory / "tmux"), "-f", "/dev/null"]
        # root's sh has another prompt, whatever the environment says
        (directory / "rc").write_text("PS1='$ '\n")
        self._environment = {**environment, "ENV": str(directory / "rc"), "TERM": "xterm-256color"}
        self._environment.pop("TMUX", None)
        size = ("-x", str(columns), "-y", str(rows))
        self._run("new-session", "-d", *size, shell)
        self._run("set", "-g", "status", "off")
        # Without the status line there is one row more.
        self._run("resize-window", *size)

    def _run(self, *args: str) -> str:
        done = subprocess.run(
            [*self._tmux, *args],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
        )
        return done.stdout

    def type(self, text: str) -> None:
        """Type text."""
        self._run("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Press keys by their names in tmux: Enter, Tab, C-c."""
        self._run("send-keys", *keys)

    def lines(self, colours: bool = False) -> list[str]:
        """What is on the screen, without empty lines at its end; with escapes for colours."""
        shown = self._run("capture-pane", "-p", *(["-e"] if colours else []))
        return shown.rstrip("\n").split("\n")

    def wait(self, ready: Callable[[list[str]], object], what: str) -> list[str]:
        """Wait until the screen is as wanted, and return it. Polled: a screen has no event."""
        deadline = time.monotonic() + TIMEOUT_S
        while not ready(lines := self.lines()):
            shown = "\n".join(lines)
            assert time.monotonic() < deadline, f"no {what} on the screen:\n{shown}"
            time.sleep(PAUSE_S)
        return lines

    def wait_text(self, text: str) -> list[str]:
        """Wait until a text is on the screen."""
        return self.wait(lambda lines: any(text in line for line in lines), repr(text))

    def run(self, command: str, colours: bool = False) -> list[str]:
        """Run a command to its end on an empty screen: what it shows."""
        self.type(f"clear; {command}; echo '[end]'")
        self.press("Enter")
        self.wait(lambda lines: lines[-2:-1] == ["[end]"], f"end of {command}")
        lines = self.lines(colours)
        return lines[: lines.index("[end]")]

    def close(self) -> None:
        """End the shell and the server."""
        self._run("kill-server")
