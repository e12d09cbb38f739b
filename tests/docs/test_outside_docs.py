"""The examples of docs/outside.md, run as they stand, with providers that forget nothing."""

import re
import subprocess
import sys
from pathlib import Path

from support.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "outside.md").read_text()
PAIRS = {
    "ChargeCard": ("CardCharged", "    cents: int\n"),
    "RefundCard": ("CardRefunded", ""),
    "BookCourier": ("CourierBooked", ""),
    "CancelCourier": ("CourierCancelled", ""),
    "SendLetter": ("LetterSent", ""),
    "RecallLetter": ("LetterRecalled", ""),
}
MESSAGES = "from saga.runtime import Command, Event\n" + "".join(
    f"""
class {event}(Event, topic="shop.events"):
    pass

class {command}(Command, topic="shop.{command.lower()}", event={event}):
    order_id: str
{fields}"""
    for command, (event, fields) in PAIRS.items()
)
PROVIDERS = """
from collections import defaultdict

class Bank:
    def __init__(self):
        self.booked, self.answers_late = {}, False

    def charge(self, cents, *, reference, idempotency_key):
        self.booked.setdefault(idempotency_key, (reference, cents))
        if self.answers_late:
            raise TimeoutError("no answer within 10 s")

    def refund_all(self, *, reference, idempotency_key):
        self.booked.setdefault(idempotency_key, (reference, -self.balance(reference)))

    def balance(self, order):
        return sum(cents for reference, cents in self.booked.values() if reference == order)

class Courier:
    def __init__(self):
        self.orders = []

    def book(self, order):
        self.orders.append(order)

    def trips(self, order):
        return [number for number, one in enumerate(self.orders) if one == order]

    def cancel(self, trip):
        self.orders[trip] = None

class Post:
    def send(self, text):
        pass

bank, courier, post = Bank(), Courier(), Post()
"""
CONFTEST = """
import pytest
from shop.providers import bank, courier

@pytest.fixture(autouse=True)
def _fresh():
    bank.__init__()
    courier.__init__()
"""


def test_its_tests_pass(tmp_path: Path) -> None:
    files = dict(re.findall(r"<!-- test: file (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL))
    files |= {"shop/messages.py": MESSAGES, "shop/providers.py": PROVIDERS}
    files |= {"shop/__init__.py": "", "conftest.py": CONFTEST}
    for name, code in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert f"{TEXT.count('def test_')} passed" in done.stdout, done.stdout + done.stderr
