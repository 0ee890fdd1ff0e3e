"""The help text (CONTRACT C1.6)."""

import pytest

from conmon import cli, usage
from conmon.options import OPTIONS

HIDDEN = {b"pidfile", b"restore-arg"}


@pytest.mark.parametrize(("utf8", "ellipsis"), [(True, "…".encode()), (False, b"...")])
def test_first_lines(monkeypatch: pytest.MonkeyPatch, utf8: bool, ellipsis: bytes) -> None:
    """C1.6: the usage line, in what the locale can show."""
    monkeypatch.setattr(cli, "locale_is_utf8", lambda: utf8)
    text = cli.help_text()
    assert text.startswith(b"Usage:\n  conmon [OPTION" + ellipsis + b"] - conmon utility\n")
    assert text.isascii() is not utf8
    assert text.endswith(b".\n")


@pytest.mark.parametrize("word", [b"--exec", b"journald", b"--log-global-size-max"])
def test_words_that_clients_look_for(word: bytes) -> None:
    """C1.6, D3: CRI-O learns from --help what conmon can do."""
    assert word in cli.help_text()


def test_every_option_is_explained_once() -> None:
    """C1.6, C2: all but the hidden ones, with their short names."""
    listed = [name for _, entries in usage.GROUPS for name, _, _ in entries if name]
    assert len(listed) == len(set(listed))
    assert set(listed) == {option[0] for option in OPTIONS} - HIDDEN
    lines = cli.help_text().splitlines()
    for long, short, _, _ in OPTIONS:
        if long in HIDDEN:
            continue
        start = b"  -" + short + b", --" if short else b"      --"
        assert any(line.startswith((start + long + b" ", start + long + b"=")) for line in lines)


def test_flags_have_no_value_in_the_help_and_others_have() -> None:
    """C2: the kinds that the help shows are those of the parser."""
    kinds = {option[0]: option[2] for option in OPTIONS}
    for _, entries in usage.GROUPS:
        for name, value, _ in entries:
            if name:
                assert (kinds[name] == "flag") is (value == b"")


def test_fits_a_terminal() -> None:
    """C1.6: readable without wrapping at 100 columns."""
    assert max(len(line.decode()) for line in cli.help_text().splitlines()) <= 100
