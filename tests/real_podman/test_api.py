"""podman's API, whose exec sessions leave a conmon behind that lingers for 300 s."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .bed import IMAGE, Bed
from .client import Podman
from .wait import until

TIMEOUT_S = 60


class Api:
    """A client of ``podman system service``, one connection per request."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def up(self) -> bool:
        """Whether the service answers by now."""
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request: status and body, which for a session is its output."""
        connection = http.client.HTTPConnection("podman", timeout=TIMEOUT_S)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(TIMEOUT_S)
        try:
            connection.sock.connect(str(self._path))
            headers = {"Content-Type": "application/json"}
            connection.request(method, f"/v4.0.0/libpod{path}", json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def exec(self, name: str, *command: str) -> bytes:
        """Run a session to its end: what the client gets, a failure of the runtime too."""
        wanted = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        status, body = self.request("POST", f"/containers/{name}/exec", wanted)
        assert status == 201, body
        session = json.loads(body)["Id"]
        start = {"Detach": False, "Tty": False}
        status, body = self.request("POST", f"/exec/{session}/start", start)
        assert status == 200, body
        return body


@pytest.fixture
def api(podman: Podman, shared: Path) -> Iterator[Api]:
    """The service, on a socket of its own."""
    path = shared / "api"
    with podman.start("system", "service", "--time", "0", f"unix://{path}"):
        api = Api(path)
        until(api.up, "the service")
        yield api


@pytest.fixture
def box(podman: Podman, bed: Bed) -> Iterator[str]:
    """A container to exec in. Monitors that linger afterwards are asked to end, and do."""
    yield podman.run_detached(IMAGE, "sleep", "1000")
    for monitor in podman.monitors():
        if "--exec-attach" in monitor.argv:
            bed.kill(monitor.pid, "TERM")
            bed.wait_gone(monitor.pid, "a monitor that lingers")


@pytest.mark.parametrize("command", ["/no/such/program", "/bin/true"])
@pytest.mark.parametrize("last", ["stop", "rm"])
def test_end_of_a_container_after_a_session(
    podman: Podman, api: Api, box: str, command: str, last: str
) -> None:
    """C21.3: the container can be stopped and removed at once, whatever the session left."""
    body = api.exec(box, command)
    assert (b"/no/such/program" in body) == (command == "/no/such/program")
    if last == "stop":
        podman("stop", "-t", "0", box)
        assert podman.format(box, "{{.State.Status}}") == "exited"
    podman("rm", "-f", "-t", "0", box)


def test_monitor_of_a_session_that_is_told_to_end(podman: Podman, api: Api, box: str) -> None:
    """C21.3: on TERM it runs the exit command, which removes the session, and ends."""
    assert api.exec(box, "/bin/echo", "hello").endswith(b"hello\n")
    assert len(podman.monitors()) == 2
