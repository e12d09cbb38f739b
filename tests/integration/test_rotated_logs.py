"""Logs are rotated under those who write and who read them."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.command import SAGA
from support.project import SEND, WRAP, Project, lay_out, make_gifts
from support.system import RunningSystem, run_system

Until = Callable[..., Any]

HANDLER = "def wrap_gift(command: WrapGift) -> GiftWrapped:\n"
# With pauses as long as the name says, by Python's streams and past them, as C does.
CHAT = """    import logging, time
    for number in range(0, 1200, 3):
        print("chat", number)
        os.write(2, b"chat %d\\n" % (number + 1))
        logging.getLogger("gift").info("chat %d", number + 2)
        time.sleep(float(command.name))
    print("chat ends")
"""


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A system with small logs, and a function that writes much more than goes into one file."""

    def prepare(system: RunningSystem) -> None:
        project = lay_out(system)
        make_gifts(project)
        project.edit("gift/wrap_gift.py", HANDLER, HANDLER + CHAT)
        system.environment |= {"SAGA_LOG_BYTES": "1000", "SAGA_LOG_FILES": "50"}

    folder = tmp_path_factory.mktemp("chatty")
    with run_system(folder, prepare=prepare) as system:
        yield Project(system, folder)


def chat(project: Project, pause: float) -> None:
    """Let the function write its lines, 400 times some of them, with a pause in seconds between."""
    project.ok("invoke", WRAP, "--body", json.dumps({"name": str(pause)}))


def test_each_line_is_read_once_however_often_a_log_is_rotated(
    chatty: Project, until: Until
) -> None:
    command = [str(SAGA), "logs", WRAP, "--follow", "--data", str(chatty.system.data)]
    heard: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        reading = threading.Thread(target=heard.extend, args=(follower.stdout,))
        reading.start()
        try:
            until(lambda: any("starts" in line for line in heard), "the follower reads")
            chat(chatty, pause=0.01)
            until(lambda: "chat ends\n" in heard, "the follower has heard all")
        finally:
            follower.terminate()
            reading.join()
    numbers = [str(number) for number in range(1200)]
    for told in ("".join(heard), chatty.ok("logs", WRAP)):
        assert re.findall(r"chat (\d+)", told) == numbers
    assert len([*chatty.system.data.glob(f"logs/{WRAP}.log*")]) > 2
    assert [*chatty.system.data.glob("logs/*.new")] == []


def test_no_more_files_are_kept_than_are_wanted(chatty: Project, until: Until) -> None:
    chatty.system.saga("down")
    chatty.system.environment["SAGA_LOG_FILES"] = "2"
    logs = chatty.system.data / "logs"
    assert (logs / f"{WRAP}.log.2").exists(), "the test before has left what is too much now"
    with (logs / "supervisor.log").open("a") as log:
        log.write("of the system before\n" * 100)
    chatty.system.saga("up", "--detach")
    chat(chatty, pause=0.0)
    until(lambda: not (logs / f"{WRAP}.log.2").exists(), "what is too much is gone")
    for name in (WRAP, "supervisor"):
        until(lambda: (logs / f"{name}.log.1").exists(), "the log was rotated")  # noqa: B023
    assert (logs / f"{SEND}.log").stat().st_size > 0
