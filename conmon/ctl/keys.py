"""The keys that detach from a container: `ctrl-p,ctrl-q`, as podman and docker write them."""

from __future__ import annotations

_CONTROLS = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes of a sequence of keys; empty for an empty text. ValueError.

    Each key is a character, or `ctrl-` and one of a-z, @, [, \\, ], ^, _.
    """
    return bytes(_key(word) for word in text.split(",")) if text else b""


def _key(word: str) -> int:
    name = word.removeprefix("ctrl-")
    if name == word:
        if len(word) == 1 and word.isascii() and word.isprintable():
            return ord(word)
    elif len(name) == 1 and "a" <= name <= "z":
        return ord(name) - ord("a") + 1
    elif name in _CONTROLS:
        return _CONTROLS[name]
    raise ValueError(f"'{word}' is no key: a character, or ctrl- and one of a-z @ [ \\ ] ^ _")


class Matcher:
    """Finds the sequence in what is typed, in however many pieces it comes.

    What may be the start of it is held back until the next key tells.
    """

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the sequence was typed: then nothing follows."""
        if not self._sequence:
            return data, False
        data = self._held + data
        at = data.find(self._sequence)
        if at >= 0:
            self._held = b""
            return data[:at], True
        size = min(len(data), len(self._sequence) - 1)
        while size and not data.endswith(self._sequence[:size]):
            size -= 1
        self._held = data[len(data) - size :]
        return data[: len(data) - size], False
