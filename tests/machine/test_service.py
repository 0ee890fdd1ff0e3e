"""podman's API as systemd starts it: what Docker's clients talk to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from typing import Any

import pytest

from .engine import LIMIT_S, Engine, run, until

SOCKET = "/run/podman/podman.sock"


def request(method: str, path: str, body: Any = None) -> tuple[int, bytes]:
    """One request of Docker's API: status and body, which for a session is its output."""
    connection = http.client.HTTPConnection("docker", timeout=LIMIT_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(LIMIT_S)
    try:
        connection.sock.connect(SOCKET)
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"/v1.41{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def box(root: Engine) -> str:
    """A container that waits, and the API's socket."""
    run("systemctl", "start", "podman.socket")
    until(lambda: request("GET", "/_ping")[0] == 200, "the service")
    return root.sh("exec sleep 1000")


def test_exec_of_dockers_clients(root: Engine, box: str) -> None:
    """C6.3, C12.3, C21.3: output and exit code of 20 sessions; SIGTERM ends those that linger."""
    for number in range(20):
        script = f"echo out{number}; echo err >&2; exit {number}"
        wanted = {"Cmd": ["sh", "-c", script], "AttachStdout": True, "AttachStderr": True}
        status, body = request("POST", f"/containers/{box}/exec", wanted)
        assert status == 201, body
        session = json.loads(body)["Id"]
        status, body = request("POST", f"/exec/{session}/start", {"Detach": False, "Tty": False})
        assert status == 200, body
        out = f"out{number}\n".encode()
        assert sorted(frames(body)) == [(1, out), (2, b"err\n")]

        def code(session: str = session) -> int | None:
            found = json.loads(request("GET", f"/exec/{session}/json")[1])
            return None if found["Running"] else int(found["ExitCode"])

        until(lambda: code() is not None, "the session's end")
        assert code() == number
    # Sessions of the API linger for five minutes; the end of their container is not held up.
    root("rm", "--force", "--time", "0", box)
    assert root("container", "exists", box, code=None).code == 1
    for pid in root.monitors():
        os.kill(pid, signal.SIGTERM)


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """Docker's stream format: a byte of stream, three of zero, four of size, data."""
    found = []
    while body:
        size = int.from_bytes(body[4:8], "big")
        found.append((body[0], body[8 : 8 + size]))
        body = body[8 + size :]
    return found
