"""The finish life: the exit code goes to where callers look for it (C17.8 to C17.11)."""

from conmon import _fastio, diag, parent, process

# what `finish_fields` and `finish_texts` of _fastio.pyx take from the record
Fields = dict[str, int]
Texts = dict[str, bytes]


def main(argv: list[bytes], fields: Fields, texts: Texts) -> int:
    """Write the exit files, report, hand the exit command over; conmon's exit status.

    What fails is said, keeps nothing else from being done, and makes the status 1. `conclude` of
    core/ending.pxd does the same where this life cannot; tests/contract/test_c17_two_ends.py holds
    them together.
    """
    diag.configure(fields["log_level"], bool(fields["use_syslog"]), texts["syslog_tag"])
    status = fields["exit_code"] & 0xFF
    for step in (write_exit_files, report, remove_names):
        if not step(fields, texts):
            status = 1
    return process.run_exit_command(argv, status) if fields["has_exit_command"] else status


def write_exit_files(fields: Fields, texts: Texts) -> bool:
    """<persist-dir>/exit first: CRI-O reads it when it sees <exit-dir>/<cid>. False: one failed."""
    code, persist, exits = fields["exit_code"], fields["persist_exit_fd"], fields["exit_file_fd"]
    first = write_exit_file(persist, code, texts["persist_dir"], b"exit", b"container exit file")
    return write_exit_file(exits, code, texts["exit_dir"], texts["cid"], b"exit file") and first


def write_exit_file(reserved: int, code: int, directory: bytes, name: bytes, what: bytes) -> bool:
    """Write one, if there is a directory for it; False: that failed."""
    path = b"%b/%b" % (directory, name)
    try:
        if directory:
            _fastio.write_exit_file(reserved, path, code)
    except OSError as error:
        diag.error(b"Failed to write %d to %b: %b: %b" % (code, what, path, diag.strerror(error)))
        return False
    return True


def report(fields: Fields, texts: Texts) -> bool:
    """An exec session's exit code also goes to the parent. False: it could not be sent."""
    if not fields["exec_mode"]:
        return True
    text = b"command timed out" if fields["timed_out"] else None
    key = parent.result_key(fields["api_version"], True)
    try:
        parent.send(fields["sync_fd"], parent.message(key, fields["exit_code"], text))
    except diag.Fatal as fatal:
        diag.error(fatal.args[0])
        return False
    return True


def remove_names(fields: Fields, texts: Texts) -> bool:
    """Remove the names in bundle and socket directory, if they are still ours. False: one stays.

    Before the exit command runs: that may start the container anew, with the same names.
    """
    done = True
    for name in ("attach_path", "attach_link", "counters_path"):
        path = texts[name]
        try:
            if path and name == "counters_path":
                _fastio.remove_own_link(path)
            elif path:
                _fastio.remove_own_name(path, fields[name + "_fd"])
        except OSError as error:
            diag.error(
                b"Failed to remove symlink for attach socket directory: " + diag.strerror(error)
            )
            done = False
    return done
