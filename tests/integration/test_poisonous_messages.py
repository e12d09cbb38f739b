"""A message that ends its process, whichever way: it is set aside, and all others are answered."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.project import WRAP, Project
from support.waiting import wait_until

pytestmark = pytest.mark.proof

# Ways in which a handler ends its process; the second one lets no other thread run.
ENDS = {
    "hang": "while True: pass",
    "hog": "sum(iter(int, 1))",
    "exit": "os._exit(3)",
    "crash": "__import__('ctypes').string_at(0)",
}
HANDLER = "def wrap_gift(command: WrapGift) -> GiftWrapped:\n"


@pytest.fixture
def poisonous(kept: Project) -> Project:
    lines = [f"    if command.name == {name!r}:\n        {end}\n" for name, end in ENDS.items()]
    kept.edit("gift/wrap_gift.py", HANDLER, HANDLER + "".join(lines))
    kept.edit("gift/wrap_gift.py", "@function\n", "@function(timeout=1.0)\n")
    kept.ok("deploy", WRAP)
    return kept


def invoke(project: Project, name: str) -> "subprocess.CompletedProcess[str]":
    arguments = ("invoke", WRAP, "--data", json.dumps({"name": name}), "--timeout", "300")
    return project.run(*arguments, apart=True)


def log_of(project: Project) -> str:
    return Path(project.system.data / "logs" / f"{WRAP}.log").read_text()


@pytest.mark.parametrize("how", ENDS)
def test_message_that_ends_its_process_is_set_aside(poisonous: Project, how: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(invoke, poisonous, name) for name in ("Ada", how, "Bea", "Cid")]
        ada, bad, bea, cid = (each.result() for each in asked)
    for good in (ada, bea, cid):
        assert json.loads(good.stdout)["outcome"] == "done", good.stdout + good.stderr
    answer = json.loads(bad.stdout)
    assert (answer["outcome"], answer["data"]["code"]) == ("failed", "process_ended")
    letters = json.loads(poisonous.ok("dlq", "list", "--json"))
    assert "3 processes have ended with this message in hand" in letters[-1]["reason"]


@pytest.mark.parametrize("how", ["hang", "hog"])
def test_traceback_of_what_took_too_long_is_in_the_log(poisonous: Project, how: str) -> None:
    invoke(poisonous, how)
    wait_until(lambda: "in wrap_gift" in log_of(poisonous), "the traceback is in the log")
