"""A project of a user's own: code that is changed and deployed into a system that runs."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.command import run_saga
from support.system import RunningSystem

# Of each service that a test changes there is a copy, which is imported under another name: what is
# installed would be found before any other folder's `saga`.
GIFT = {
    "gift/__init__.py": "",
    "gift/messages.py": """
from saga.runtime import Command, Event


class GiftWrapped(Event, topic="gift.events"):
    paper: str
    secrets: dict[str, str]


class GiftSent(Event, topic="gift.events"):
    name: str


class WrapGift(Command, topic="gift.wrap", event=GiftWrapped):
    name: str


class SendGift(Command, topic="gift.send", event=GiftSent):
    name: str
""",
    "gift/wrap_gift.py": """
import hashlib
import os

from gift.messages import GiftWrapped, WrapGift
from saga.runtime import Rejected, function

PAPER = "red"


@function
def wrap_gift(command: WrapGift) -> GiftWrapped:
    if command.name == "nobody":
        raise Rejected("no_name", "nobody gets no gift")
    pins = {name: value for name, value in os.environ.items() if name.endswith("_PIN")}
    digests = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in pins.items()}
    return GiftWrapped(paper=PAPER, secrets=digests)
""",
    "gift/send_gift.py": """
from gift.messages import GiftSent, SendGift
from saga.runtime import function


@function
def send_gift(command: SendGift) -> GiftSent:
    return GiftSent(name=command.name)
""",
    "stacks/gift.toml": """
service = "gift"
package = "gift"
database = "gift"

[functions.wrap_gift]
secrets = ["WRAP_PIN"]

[functions.send_gift]
secrets = ["SEND_PIN"]
""",
}
PINS = {name: f"{name}-{uuid4()}" for name in ("WRAP_PIN", "SEND_PIN")}
WRAP, SEND = "gift.wrap_gift", "gift.send_gift"

# Code at a function's beginning that spoils it, seconds that a deploy may wait, what it then tells.
BAD = {
    "raises at import": ('raise RuntimeError("no ribbon left")\n', 60, "no ribbon left"),
    "is no function": ("function = lambda handler: handler\n", 60, "declares 0 functions"),
    "never gets ready": (
        'import threading\nprint("waits for ribbon", flush=True)\nthreading.Event().wait()\n',
        3,
        "waits for ribbon",
    ),
}


@dataclass
class Project:
    """A running system, and the code that it is deployed from."""

    system: RunningSystem
    root: Path

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a file of the code."""
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def paper(self, colour: str) -> None:
        """Change what `wrap_gift` does."""
        text = (self.root / "gift/wrap_gift.py").read_text()
        (self.root / "gift/wrap_gift.py").write_text(
            re.sub(r'(?m)^PAPER = "\w+"', f'PAPER = "{colour}"', text)
        )

    def run(
        self,
        *arguments: str,
        env: Mapping[str, str | None] = {},
        stdin: str | None = None,
        apart: bool = False,
    ) -> "subprocess.CompletedProcess[str]":
        """Run the command as a user does, who has set the data directory once and for all.

        A variable of `env` that is None is not there.
        """
        environment = {
            **os.environ,
            "SAGA_STACKS": str(self.system.stacks),
            "SAGA_DATA": str(self.system.data),
            **self.system.environment,
            **env,
        }
        told = {name: value for name, value in environment.items() if value is not None}
        return run_saga(arguments, told, self.root, stdin, apart=apart)

    def ok(self, *arguments: str, **options: Any) -> str:
        """Run a command that has to succeed, and return what it tells."""
        done = self.run(*arguments, **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def refused(self, *arguments: str, **options: Any) -> str:
        """Run a command that has to fail in words, not with a traceback; return them."""
        done = self.run(*arguments, **options)
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stderr.startswith("saga: ")
        return done.stderr

    def invoke(self, name: str = WRAP, **data: Any) -> Any:
        """Invoke a function and return its answer."""
        told = self.ok("invoke", name, "--body", json.dumps(data or {"name": "Ada"}))
        return json.loads(told)["data"]

    def instances(self, name: str) -> list[dict[str, Any]]:
        """List the processes of what is deployed under a name."""
        return [row for row in self.system.processes().values() if row["deployed"] == name]

    def pids(self, *but: str) -> dict[str, int]:
        """Return the processes of all that is deployed, without some."""
        rows = self.system.processes().values()
        return {row["name"]: row["pid"] for row in rows if row["deployed"] not in but}

    def version(self, name: str) -> str:
        """Return the version that all of its processes run."""
        [version] = {row["version"] for row in self.instances(name)}
        return str(version)

    def deployments(self, name: str) -> list[dict[str, Any]]:
        """List the deployments, the newest first."""
        found: list[dict[str, Any]] = json.loads(self.ok("deployments", name, "--json"))
        return found


def lay_out(system: RunningSystem) -> Project:
    """Let a system that is to be started find the code in its folder, and the secrets."""
    project = Project(system, system.stacks.parent)
    path = [str(project.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    system.environment["PYTHONPATH"] = os.pathsep.join(path)
    system.environment.update(PINS)
    return project


def make_gifts(project: Project) -> None:
    """Make a project of two functions and nothing else."""
    for stack in project.system.stacks.glob("*.toml"):
        stack.unlink()
    for name, text in GIFT.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)
