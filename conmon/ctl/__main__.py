"""conmonctl: run a command; failures become one message and an exit status."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """The program `conmonctl`."""
    # A reader that goes, as `head` does, ends it without a word. attach sees to its terminal.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        import click
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        sys.exit(f"conmonctl needs {error.name}: pip install 'conmon[ctl]'")
    from conmon.ctl.app import conmonctl
    from conmon.ctl.errors import CtlError, Status, Stopped
    from conmon.ctl.text import visible_lines

    _complete_streams()

    def stop(number: int, frame: object) -> None:
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and shells ask
            signal.signal(number, stop)
    try:
        # 0, or what a command returns
        status = conmonctl(prog_name="conmonctl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except CtlError as error:
        print(f"conmonctl: {visible_lines(str(error))}", file=sys.stderr)
        if error.hint:
            print(f"  {visible_lines(error.hint)}", file=sys.stderr)
        status = error.status
    except OSError as error:
        print(f"conmonctl: {visible_lines(str(error))}", file=sys.stderr)
        status = Status.FAILURE
    except Stopped as stopped:
        _die_by(stopped.args[0])
    sys.exit(status or 0)


def _complete_streams() -> None:
    """Make good what a caller has closed; what a locale cannot encode is no reason to fail."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _die_by(number: int) -> NoReturn:
    """End as the signal would have ended us: a shell stops its script for that."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()
