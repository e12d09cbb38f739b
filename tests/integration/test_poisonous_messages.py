"""A message that ends its process, whichever way: it is set aside, and all others are answered."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from uuid_utils.compat import uuid7

from saga.runtime.clock import utcnow
from saga.runtime.envelope import Envelope, message_id
from saga.runtime.kafka.request import request
from support.project import WRAP, Project
from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

# Ways in which a handler ends its process; the second one lets no other thread run.
ENDS = {
    "hang": "while True: pass",
    "hog": "sum(iter(int, 1))",
    "crash": "__import__('ctypes').string_at(0)",
}
HANDLER = "def wrap_gift(command: WrapGift) -> GiftWrapped:\n"


@pytest.fixture
def poisonous(kept: Project) -> Project:
    lines = [f"    if command.name == {name!r}:\n        {end}\n" for name, end in ENDS.items()]
    kept.edit("gift/wrap_gift.py", HANDLER, HANDLER + "".join(lines))
    kept.edit("gift/wrap_gift.py", "@function\n", "@function(timeout=1.0)\n")
    kept.ok("deploy", WRAP)
    kept.invoke()  # there is no topic of events before the first one
    return kept


def ask(project: Project, name: str) -> Envelope:
    """Do what `saga invoke` does, which would take a process of its own for each of them."""
    settings = project.system.settings().on_broker(project.system.broker())
    about = (message_id(str(uuid7()), "wrap_gift", "do"), "WrapGift", "/invoke")
    command = Envelope("gift.wrap", *about, utcnow().isoformat(), json.dumps({"name": name}))
    return request(settings, command, "gift.events", DEADLINE)


def logs_of(project: Project) -> str:
    """Return what all its processes have logged."""
    paths = (project.system.data / "logs").glob(f"{WRAP}*.log")
    return "".join(path.read_text() for path in paths)


@pytest.mark.parametrize("how", ENDS)
def test_message_that_ends_its_process_is_set_aside(poisonous: Project, how: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, poisonous, name) for name in ("Ada", how, "Bea", "Cid")]
        ada, bad, bea, cid = (each.result() for each in asked)
    for good in (ada, bea, cid):
        assert good.outcome == "done", good.data
    assert (bad.outcome, json.loads(bad.data)["code"]) == ("failed", "process_ended")
    letters = json.loads(poisonous.ok("dlq", "list", "--json"))
    assert "3 processes have ended with this message in hand" in letters[-1]["reason"]
    if how in ("hang", "hog"):
        assert "wrap_gift.py" in logs_of(poisonous)
