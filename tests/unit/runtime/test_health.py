"""The health check of a container: a script that reads what the process says of itself."""

import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from saga.runtime import health
from saga.runtime.health import STALE_AFTER, HealthFile, main, stands_still, unhealthy_because
from support.ports import free_port
from support.waiting import DEADLINE


@pytest.fixture
def file(tmp_path):
    return tmp_path / "health"


def run(file, **environment):
    """Run the check as a container does."""
    return subprocess.run(
        [sys.executable, "-I", "-S", health.__file__],
        env={"SAGA_HEALTH": str(file), **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


class Adapter(BaseHTTPRequestHandler):
    """Answers `/NUMBER` with that status."""

    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.end_headers()

    def log_message(self, *_):
        """Keep the test's output clean."""


@pytest.fixture
def adapter():
    with HTTPServer(("127.0.0.1", 0), Adapter) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_folder_that_was_removed_is_made_anew(tmp_path):
    file = tmp_path / "health" / "shop.sell"
    HealthFile(file).mark_healthy()
    assert unhealthy_because(file) is None


def test_function_that_turns_its_loop_is_healthy(file):
    HealthFile(file).mark_healthy()
    checked = run(file)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_function_that_stands_still_is_not_well(file):
    HealthFile(file).mark_healthy()
    long_ago = time.time() - STALE_AFTER - 10
    os.utime(file, (long_ago, long_ago))
    checked = run(file)
    assert checked.returncode == 1
    assert checked.stderr.startswith("its loop stands still for 4")
    HealthFile(file).mark_healthy()
    assert run(file).returncode == 0


def test_process_that_has_said_nothing_is_not_ready(file):
    checked = run(file)
    assert checked.returncode == 1
    assert checked.stderr.startswith("not ready: ")
    assert checked.stderr.count("\n") == 1


def test_function_that_has_lost_its_partitions_is_not_ready(file):
    speaker = HealthFile(file)
    speaker.mark_healthy()
    speaker.mark_unhealthy()
    speaker.mark_unhealthy()
    assert run(file).returncode == 1


def test_new_process_takes_back_what_the_one_before_has_said(file):
    HealthFile(file).mark_healthy()
    HealthFile(file)
    assert run(file).returncode == 1


def test_process_without_a_file_says_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HealthFile(None).mark_healthy("http://127.0.0.1")
    HealthFile(None).mark_unhealthy()
    assert list(tmp_path.iterdir()) == []


def test_adapter_that_answers_is_well_however_long_ago_it_said_so(file, adapter):
    HealthFile(file).mark_healthy(f"{adapter}/200")
    long_ago = time.time() - 10 * STALE_AFTER
    os.utime(file, (long_ago, long_ago))
    checked = run(file)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_adapter_is_asked_directly_whatever_proxy_is_set(file, adapter):
    HealthFile(file).mark_healthy(f"{adapter}/200")
    checked = run(file, http_proxy=f"http://127.0.0.1:{free_port()}")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_adapter_that_answers_with_503_is_not_well(file, adapter):
    HealthFile(file).mark_healthy(f"{adapter}/503")
    checked = run(file)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{adapter}/503 does not answer: HTTP Error 503")


def test_adapter_that_does_not_answer_is_not_well(file):
    address = f"http://127.0.0.1:{free_port()}/health"
    HealthFile(file).mark_healthy(address)
    checked = run(file)
    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{address} does not answer: ")


def test_check_imports_no_more_than_it_needs(file):
    HealthFile(file).mark_healthy()
    code = f"import runpy, sys; runpy.run_path({health.__file__!r}, run_name='__main__')"
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{code}; print(*sys.modules)"],
        env={"SAGA_HEALTH": str(file)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert "pathlib" in told.stdout.split(), told.stderr
    assert not {"urllib.request", "socket", "saga", "asyncio"} & set(told.stdout.split())


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(health, "time", SimpleNamespace(time=lambda: clock.now))
    return clock


@pytest.mark.parametrize(("patience", "again_in"), [(0, 0), (10, 0), (0, 20), (10, 20)])
def test_loop_may_be_silent_for_as_long_as_its_work_takes_and_it_has_said(
    file, clock, patience, again_in
):
    HealthFile(file, patience).mark_healthy(again_in=again_in)
    clock.now += patience + again_in + STALE_AFTER
    assert unhealthy_because(file) is None
    clock.now += 1
    assert unhealthy_because(file) == "its loop stands still for 31 s"


def test_loop_that_has_said_nothing_stands_not_still(file):
    assert stands_still(file) is None
    told = "not ready: it has not joined its group, or does not answer yet"
    assert unhealthy_because(file) == told


def test_answer_of_an_adapter_is_heard_on_the_way_that_leads_to_it(file, adapter, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    HealthFile(file).mark_healthy(f"{adapter}/200")
    assert unhealthy_because(file) is None
    HealthFile(file).mark_healthy(f"{adapter}/503")
    told = f"{adapter}/503 does not answer: HTTP Error 503: Service Unavailable"
    assert unhealthy_because(file) == told


def test_adapter_that_takes_its_time_does_not_answer(file, monkeypatch):
    monkeypatch.setattr(health, "ANSWER_TIMEOUT", 0.01)  # seconds
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        HealthFile(file).mark_healthy(address)
        assert unhealthy_because(file) == f"{address} does not answer: timed out"


def test_script_ends_with_what_is_wrong(file, monkeypatch):
    monkeypatch.setenv("SAGA_HEALTH", str(file))
    with pytest.raises(SystemExit, match=r"^not ready: "):
        main()
    HealthFile(file).mark_healthy()
    main()
