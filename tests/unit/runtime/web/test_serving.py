"""An adapter's process that shares its port: when it begins to take requests, and how it ends."""

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from saga.runtime.address import listen
from saga.runtime.web.serving import ANSWERED, QUIET
from support.waiting import DEADLINE, wait_until

# It is well, and answers, as soon as there is a file of that name.
ADAPTER = """
import asyncio, logging, socket, sys
from pathlib import Path
from sanic import Blueprint
from saga.runtime.settings import Settings
from saga.runtime.web import SAGA_TABLES, answer, new_app
from saga.runtime.web.app import Health
from saga.runtime.web.streams import stream
from saga.runtime.web.serving import serve

folder = Path(sys.argv[2])
logging.basicConfig(stream=sys.stdout)
api = Blueprint("api")

@api.get("/slow")
async def slow(_):
    (folder / "asked").touch()
    while not (folder / "answers").exists():
        await asyncio.sleep(0.01)
    return answer(Health())

@api.get("/stream")
async def follow(request):
    return await stream(request, request.app.ctx.events.of_all("shop", None))

async def is_well():
    return (folder / "well").exists()

app = new_app("shop", Settings(saga_data=folder), SAGA_TABLES, api)
app.ctx.checks["oven"] = is_well
listening = socket.socket(fileno=int(sys.argv[1]))
serve(app, listening, beside=len(sys.argv) > 3, on_ready=lambda: print("ready", flush=True))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as listening:
        yield listening


@pytest.fixture
def start(tmp_path: Path, listening: socket.socket) -> Iterator[Start]:
    """Start adapters on one socket; kill what is left."""
    started = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        fd = listening.fileno()
        command = [sys.executable, "-c", ADAPTER, str(fd), str(tmp_path), *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, pass_fds=[fd], stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def connect(listening: socket.socket) -> http.client.HTTPConnection:
    host, port = listening.getsockname()
    return http.client.HTTPConnection(host, port, timeout=DEADLINE)


def is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was waiting when the socket was closed
        return False
    return False


def test_what_is_told_to_end_answers_what_it_has_begun_and_takes_no_more(
    start: Start, listening: socket.socket, tmp_path: Path
) -> None:
    adapter = start()
    assert line(adapter) == "ready\n"
    with closing(connect(listening)) as busy, closing(connect(listening)) as kept:
        busy.request("GET", "/slow")
        wait_until((tmp_path / "asked").exists, "the request is begun")
        kept.request("GET", "/health/live")
        first = kept.getresponse()
        assert first.read()
        assert first.headers["Connection"] == "keep-alive"
        assert "alt-svc" not in first.headers
        address = listening.getsockname()
        listening.close()
        adapter.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(address), "it accepts no more")
        kept.request("GET", "/health/live")
        last = kept.getresponse()
        assert (last.status, last.headers["Connection"]) == (200, "close")
        (tmp_path / "answers").touch()
        answer = busy.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, "close")
        assert answer.read()
    assert adapter.wait(DEADLINE) == 0


def test_open_stream_keeps_nobody_from_ending(start: Start, listening: socket.socket) -> None:
    adapter = start()
    assert line(adapter) == "ready\n"
    with closing(connect(listening)) as client:
        client.request("GET", "/stream")
        stream = client.getresponse()
        assert stream.readline().startswith(b"retry")
        told_at = time.monotonic()
        adapter.send_signal(signal.SIGTERM)
        stream.read()
        assert adapter.wait(DEADLINE) == 0
        assert time.monotonic() - told_at < ANSWERED


def test_connection_without_a_request_keeps_nobody_from_ending(
    start: Start, listening: socket.socket
) -> None:
    adapter = start()
    assert line(adapter) == "ready\n"
    with socket.create_connection(listening.getsockname()) as idle:
        adapter.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
    assert adapter.wait(DEADLINE) == 0
    assert QUIET < ANSWERED


def test_one_beside_others_takes_no_request_before_it_is_well(
    start: Start, listening: socket.socket, tmp_path: Path
) -> None:
    adapter = start("beside")
    assert "takes no requests yet, as GET /health is answered 'HTTP/1.1 503" in line(adapter)
    with closing(connect(listening)) as client:
        client.request("GET", "/health")
        (tmp_path / "well").touch()
        assert line(adapter) == "ready\n"
        assert client.getresponse().status == 200


def test_one_that_never_gets_well_ends_when_it_is_told_to(start: Start) -> None:
    adapter = start("beside")
    assert "takes no requests yet" in line(adapter)
    adapter.terminate()
    assert adapter.wait(DEADLINE) == 0


def test_one_that_is_alone_takes_requests_whatever_is_away(
    start: Start, listening: socket.socket
) -> None:
    assert line(start()) == "ready\n"
    with closing(connect(listening)) as client:
        client.request("GET", "/health")
        assert client.getresponse().status == 503
