"""The finish life: the exit code goes to where callers look for it (C17 steps 8-12)."""

import posix

from conmon import _fastio, diag, parent

Texts = dict[str, "bytes | list[bytes] | None"]


def main(argv: list[bytes], fields: dict[str, int], texts: Texts) -> int:
    """Write the exit files, report, hand the exit command over; conmon's exit status."""
    diag.configure(fields["log_level"], bool(fields["use_syslog"]), _text(texts, "syslog_tag"))
    code = fields["exit_code"]
    fields["status"] = code & 0xFF
    try:
        write_exit_files(code, texts)
        report(fields, code)
        unlink_attach(texts)
    except diag.Fatal as fatal:
        diag.error(fatal.args[0])
        fields["status"] = 1
    remove_link(texts)
    if not texts.get("exit_argv"):
        return fields["status"]
    return run_exit_command(argv, fields, texts)


def _text(texts: Texts, name: str) -> bytes:
    text = texts.get(name)
    return text if isinstance(text, bytes) else b""


def write_exit_files(code: int, texts: Texts) -> None:
    """<persist-dir>/exit first: CRI-O reads it when it sees <exit-dir>/<cid>. diag.Fatal.

    Both are tried: one that cannot be written does not keep the code from the other.
    """
    failure = None
    for directory, name, what in (
        (_text(texts, "persist_dir"), b"exit", b"container exit file"),
        (_text(texts, "exit_dir"), _text(texts, "cid"), b"exit file"),
    ):
        if not directory:
            continue
        path = b"%b/%b" % (directory, name)
        try:
            _fastio.write_atomically(path, b"%d" % code)
        except OSError as error:
            failure = b"Failed to write %d to %b: %b: %b" % (
                code, what, path, diag.strerror(error)
            )  # fmt: skip
            diag.error(failure)
    if failure is not None:
        raise diag.Fatal(b"The exit code did not reach every exit file")


def report(fields: dict[str, int], code: int) -> None:
    """An exec session's exit code also goes to the parent. diag.Fatal."""
    if fields["exec_mode"]:
        text = b"command timed out" if fields["timed_out"] else None
        key = parent.result_key(fields["api_version"], True)
        parent.send(fields["sync_fd"], parent.message(key, code, text))


def unlink_attach(texts: Texts) -> None:
    """Nobody can attach any more. diag.Fatal."""
    path = _text(texts, "attach_path")
    if not path:
        return
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise diag.Fatal(
            b"Failed to remove symlink for attach socket directory: " + diag.strerror(error)
        ) from None


def remove_link(texts: Texts) -> None:
    """Remove the symlink to the bundle.

    Before the exit command runs: that may start the container anew, with a link of its own.
    """
    link = _text(texts, "attach_link")
    if link:
        try:
            posix.unlink(link)
        except OSError as error:
            diag.debug(b"failed to remove %b: %b" % (link, diag.strerror(error)))


def run_exit_command(argv: list[bytes], fields: dict[str, int], texts: Texts) -> int:
    """Hand over to the linger life, which waits at no cost; conmon's exit status if it cannot."""
    fields["sync_fd"] = -1
    try:
        _fastio.enter_life(_fastio.LINGER, fields, texts, argv)
    except OSError as error:
        diag.warn(b"Failed to enter the linger life: " + diag.strerror(error))
    return _fastio.linger(fields, texts)
