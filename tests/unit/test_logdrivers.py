"""--log-path and the options of log drivers (CONTRACT C9, C3)."""

import errno
import os
import pathlib
import stat

import pytest

from conmon import cli, diag, logdrivers

LONG_ID = b"0123456789abc"


def planned(*specs: bytes) -> tuple[bytes | None, bool, bool]:
    options = cli.parse([word for spec in specs for word in (b"-l", spec)])
    plan = logdrivers.plan_paths(options)
    return plan.path, plan.journald, plan.passthrough


def refused(*specs: bytes) -> bytes:
    with pytest.raises(diag.Fatal) as caught:
        planned(*specs)
    text = caught.value.args[0]
    assert isinstance(text, bytes)
    return text


def check(*args: bytes) -> None:
    options = cli.parse(list(args))
    logdrivers.check_options(options, logdrivers.plan_paths(options))


def check_error(*args: bytes) -> bytes:
    with pytest.raises(diag.Fatal) as caught:
        check(*args)
    text = caught.value.args[0]
    assert isinstance(text, bytes)
    return text


@pytest.mark.parametrize(
    "spec",
    [b"none", b"null", b"off", b"none:", b"null:x", b"off:x:y", b":none:x", b"none::"],
)
def test_no_logging(spec: bytes) -> None:
    """C9: off, null and none, with or without anything after a colon."""
    assert planned(spec) == (None, False, False)


@pytest.mark.parametrize("spec", [b"journald", b"journald:", b"journald:x", b":journald:x"])
def test_journald(spec: bytes) -> None:
    """C9."""
    assert planned(spec) == (None, True, False)


@pytest.mark.parametrize("spec", [b"passthrough", b"passthrough:", b"passthrough:x:y"])
def test_passthrough(spec: bytes) -> None:
    """C9."""
    assert planned(spec) == (None, False, True)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (b"k8s-file:/a/b", b"/a/b"), (b"k8s-file:rel", b"rel"), (b"k8s-file::/a", b"/a"),
        (b":k8s-file:/a", b"/a"), (b"/a/b", b"/a/b"), (b"rel/b", b"rel/b"), (b"x", b"x"),
        (b":/a/b", b"/a/b"), (b"::x", b"x"), (b" ", b" "), (b":journald", b"journald"),
        (b":journald:", b"journald"), (b"::k8s-file::", b"k8s-file"), (b":none", b"none"),
        (b"JOURNALD", b"JOURNALD"), (b"/\xff", b"/\xff"), (b"k8s-file:\xff", b"\xff"),
    ],
)  # fmt: skip
def test_k8s_file(spec: bytes, path: bytes) -> None:
    """C9: a driver with a path, a lone path, and a colon before a name that is a driver's."""
    assert planned(spec) == (path, False, False)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (b"k8s-file:/a/c:d", b"/a/c:d"), (b"k8s-file:/a/c:", b"/a/c:"), (b"/a/x:y", b"/a/x:y"),
        (b"k8s-file:a:b:c", b"a:b:c"), (b":/a/x:y", b"/a/x:y"), (b"/a:", b"/a:"),
        (b":k8s-file:/a:b", b"/a:b"), (b"/2026-01-01T10:00:00.log", b"/2026-01-01T10:00:00.log"),
    ],
)  # fmt: skip
def test_path_with_a_colon(spec: bytes, path: bytes) -> None:
    """C20.19: the path is whole where only a path can be meant (C conmon cuts it)."""
    assert planned(spec) == (path, False, False)


@pytest.mark.parametrize("spec", [b"", b":", b"::", b":::"])
def test_empty_log_path(spec: bytes) -> None:
    """C9."""
    assert refused(spec) == b"log-path must not be empty"


@pytest.mark.parametrize("spec", [b"k8s-file", b"k8s-file:", b"k8s-file::"])
def test_k8s_file_without_a_path(spec: bytes) -> None:
    """C9."""
    assert refused(spec) == b"k8s-file requires a filename"


@pytest.mark.parametrize(
    ("spec", "driver"),
    [
        (b"foo:", b"foo"), (b"foo:bar", b"foo"), (b":foo:bar", b"foo"), (b"none2:x", b"none2"),
        (b"JOURNALD:", b"JOURNALD"), (b"rel/x:y", b"rel/x"), (b"foo::", b"foo"),
        (b"\xff:x", b"\xff"),
    ],
)  # fmt: skip
def test_unknown_driver(spec: bytes, driver: bytes) -> None:
    """C9."""
    assert refused(spec) == b"No such log driver " + driver


def test_no_log_path() -> None:
    """C3."""
    assert refused() == b"Log driver not provided. Use --log-path"


def test_drivers_combine_and_the_last_path_counts() -> None:
    """C9."""
    assert planned(b"/a", b"journald", b"k8s-file:/b", b"none") == (b"/b", True, False)
    assert planned(b"/a", b"passthrough") == (b"/a", False, True)


def test_first_bad_log_path_is_reported() -> None:
    """C3: in the order given."""
    assert refused(b"/a", b"foo:", b"") == b"No such log driver foo"
    assert refused(b"none", b"", b"foo:") == b"log-path must not be empty"


def opened(path: bytes) -> tuple[int, int]:
    plan = logdrivers.LogPlan()
    plan.path = path
    return logdrivers.open_log(plan)


def test_log_file_is_created_and_appended_to(tmp_path: pathlib.Path) -> None:
    """C3, C4.2: mode 0640, size as it was found, not inherited by what is executed."""
    log = tmp_path / "ctr.log"
    old_umask = os.umask(0o022)
    try:
        fd, size = opened(os.fsencode(log))
    finally:
        os.umask(old_umask)
    assert size == 0
    assert stat.S_IMODE(log.stat().st_mode) == 0o640
    assert not os.get_inheritable(fd)
    os.write(fd, b"one\n")
    again, size = opened(os.fsencode(log))
    assert size == 4
    os.write(again, b"two\n")
    os.write(fd, b"three\n")
    os.close(fd)
    os.close(again)
    assert log.read_bytes() == b"one\ntwo\nthree\n"


def test_log_file_that_cannot_be_opened(tmp_path: pathlib.Path) -> None:
    """C3: the reason is in the message."""
    for path, reason in ((tmp_path / "no" / "log", errno.ENOENT), (tmp_path, errno.EISDIR)):
        with pytest.raises(diag.Fatal) as caught:
            opened(os.fsencode(path))
        assert caught.value.args == (b"Failed to open log file " + os.strerror(reason).encode(),)


def test_nothing_to_open_without_a_path() -> None:
    """C9."""
    assert logdrivers.open_log(logdrivers.LogPlan()) == (-1, 0)


def test_k8s_file_has_neither_tag_nor_labels() -> None:
    """C3: the tag's message comes first; even an empty tag is one."""
    tag = b"k8s-file doesn't support --log-tag"
    assert check_error(b"-l", b"/a", b"--log-label", b"A=b", b"--log-tag", b"x") == tag
    assert check_error(b"-l", b"/a", b"--log-tag", b"") == tag
    label = b"k8s-file doesn't support --log-label"
    assert check_error(b"-l", b"/a", b"--log-label", b"bad") == label


@pytest.mark.parametrize("spec", [b"none", b"passthrough"])
def test_tag_and_labels_without_a_log(spec: bytes) -> None:
    """C3: nothing is refused where no k8s-file is written."""
    check(b"-l", spec, b"--log-tag", b"x", b"--log-label", b"bad")


def test_tag_and_labels_with_both_drivers() -> None:
    """C3: journald beside the k8s-file takes them."""
    both = [b"-l", b"/a", b"-l", b"journald", b"--log-tag", b"x", b"--log-label", b"A=b"]
    check(b"-c", LONG_ID, *both)


@pytest.mark.parametrize("cid", [b"", b"x", LONG_ID[:12]])
def test_container_id_for_the_journal(cid: bytes) -> None:
    """C3: longer than 12 bytes, checked before the labels."""
    args = [b"-l", b"journald", b"--log-label", b"bad", b"-c", cid]
    assert check_error(*args) == b"Container ID must be longer than 12 characters"
    check(b"-l", b"journald", b"-c", LONG_ID)


NO_LABEL = b"Container labels must be in format LABEL=VALUE (no LABEL present in '%b')"
NOT_ONE = (
    b"Container labels must be in format LABEL=VALUE (none or more than one '=' present in '%b')"
)
NOT_UPPER = (
    b"Container label names must contain only uppercase letters, numbers and underscore (in '%b')"
)


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"=b", NO_LABEL), (b"=", NO_LABEL), (b"==", NO_LABEL), (b"A", NOT_ONE), (b"", NOT_ONE),
        (b"A=b=c", NOT_ONE), (b"a=b=c", NOT_ONE), (b"a", NOT_ONE), (b"a=b", NOT_UPPER),
        (b"A B=c", NOT_UPPER), (b"A-B=c", NOT_UPPER), (b"\xc3\x84=c", NOT_UPPER),
    ],
)  # fmt: skip
def test_bad_labels(label: bytes, text: bytes) -> None:
    """C3: every label in its turn, every fault in its order."""
    args = [b"-c", LONG_ID, b"-l", b"journald", b"--log-label", b"GOOD_1=x y"]
    check(*args, b"--log-label", b"_=")
    assert check_error(*args, b"--log-label", label, b"--log-label", b"=") == text % label


def test_option_without_effect_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """C3: --no-container-partial-message is for journald; the warning comes after the errors."""
    warnings: list[bytes] = []
    monkeypatch.setattr(diag, "warn", warnings.append)
    flag = b"--no-container-partial-message"
    check_error(flag, b"-l", b"/a", b"--log-tag", b"x")
    check(flag, b"-l", b"journald", b"-c", LONG_ID)
    assert warnings == []
    check(flag, b"-l", b"/a")
    check(flag, b"-l", b"none")
    assert warnings == [flag + b" has no effect without journald log driver"] * 2
