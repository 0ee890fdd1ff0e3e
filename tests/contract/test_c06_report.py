"""C6: what the caller reads from the sync pipe after create."""

from __future__ import annotations

import json

import pytest
from harness import Container
from harness_rooms import CID

ESCAPES = b'back\\slash "quoted" a/b\nline\r\ttab\b\f\x01\x1f\x7f\x80\xff\xc3\xa4 end'
ESCAPED = (
    b'back\\\\slash \\"quoted\\" a\\/b\\nline\\r\\ttab\\b\\f\\u0001\\u001f\\u007f'
    b"\x80\xff\xc3\xa4 end"
)


@pytest.fixture(params=[0, 1], ids=["api0", "api1"])
def key(request: pytest.FixtureRequest, container: Container) -> bytes:
    """Key of the number in the message: C6.1. The container's options are set for it."""
    if request.param == 0:
        container.as_crio()
        return b"pid"
    return b"data"


def test_started(container: Container, key: bytes) -> None:
    """C6.3: a create that went well reports the container pid, in one packet."""
    container.command("exit 0")
    container.launch()
    message = container.message()
    assert message == b'{"%s": %s}\n' % (key, container.pidfile.read_bytes())
    assert container.end() == 0
    assert container.message() == b"", "nothing more is sent for a create"


def test_runtime_failed(container: Container, key: bytes) -> None:
    """C6.3: a create that failed reports -1 and what the runtime wrote to stderr."""
    container.put("stderr", b"boom\n")
    container.put("status", "3")
    container.launch()
    assert container.message() == b'{"%s": -1, "message": "boom\\n"}\n' % key
    assert container.message() == b""
    container.peer_leaves("bundle/attach")
    container.peer_leaves(f"sockets/uuid-{CID}")


@pytest.mark.ours("older versions report nothing when there is no stderr")
def test_runtime_failed_silently(container: Container, key: bytes) -> None:
    """C4.19: without any stderr there is no message, only -1."""
    container.put("status", "1")
    container.launch()
    assert container.message() == b'{"%s": -1}\n' % key
    assert container.message() == b""
    container.peer_leaves("bundle/attach")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(bytes(range(1, 0x1F)) + bytes(range(0x20, 0x100)), id="usual"),
        pytest.param(b"\x1f", marks=pytest.mark.ours("older versions send 0x1f raw"), id="0x1f"),
    ],
)
def test_any_byte_can_be_read_back(container: Container, text: bytes) -> None:
    """C6.2: the message is JSON whatever the runtime wrote; bytes over 0x7f are sent as they are.

    NUL is left out: nothing is promised for it.
    """
    container.put("stderr", text)
    container.put("status", "1")
    container.launch()
    assert container.report() == {"data": -1, "message": text.decode("latin-1")}
    container.peer_leaves("bundle/attach")


@pytest.mark.ours("older versions use \\u000d and the like, and leave the slash")
def test_escapes(container: Container) -> None:
    """C6.2: the escapes, exactly."""
    container.put("stderr", ESCAPES)
    container.put("status", "1")
    container.launch()
    assert container.message() == b'{"data": -1, "message": "%s"}\n' % ESCAPED
    container.peer_leaves("bundle/attach")


def test_message_of_a_size_that_fits(container: Container) -> None:
    """C6.1: one write carries a whole message of nearly 4096 bytes."""
    text = b"0123456789" * 400
    container.put("stderr", text)
    container.put("status", "1")
    container.launch()
    assert container.report() == {"data": -1, "message": text.decode()}
    container.peer_leaves("bundle/attach")


@pytest.mark.ours("a message may be longer than podman reads (C20.8)")
@pytest.mark.parametrize("unit", [b"0123456789", b'"', b"\x01", b"\xff", b"\n", b'a"\x7f\\'])
@pytest.mark.parametrize("length", [4096, 6001])
def test_message_is_capped(container: Container, unit: bytes, length: int) -> None:
    """C20.8: the whole line is at most 4096 bytes, is valid JSON, and loses no more than needed."""
    text = (unit * length)[:length]
    container.put("stderr", text)
    container.put("status", "1")
    container.launch()
    message = container.message()
    assert len(message) <= 4096
    assert len(message) > 4096 - 64, "more was cut than needed"
    report = json.loads(message.decode("latin-1"))
    assert report["data"] == -1
    assert report["message"].encode("latin-1") in text
    assert container.message() == b""
