"""Versions of functions come and go, one by one, in a system that runs and goes on running."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psutil
import pytest
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).parents[2]
SAGA = Path(sys.executable).with_name("saga")

Start = Callable[..., Any]
Until = Callable[..., Any]

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
WRAP, SEND, CREATE = "gift.wrap_gift", "gift.send_gift", "order.create_order"
SAGA_NAME = "orchestrator.place_order"


@dataclass
class Project:
    """A running system, and the code that it is deployed from."""

    system: Any
    root: Path

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def paper(self, colour: str) -> None:
        """Change what `wrap_gift` does."""
        text = (self.root / "gift/wrap_gift.py").read_text()
        (self.root / "gift/wrap_gift.py").write_text(
            re.sub(r'(?m)^PAPER = "\w+"', f'PAPER = "{colour}"', text)
        )

    def run(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the command as a user does, who has set the data directory once and for all."""
        return subprocess.run(
            [SAGA, *arguments],
            env={
                **os.environ,
                "SAGA_STACKS": str(self.system.stacks),
                "SAGA_DATA": str(self.system.data),
                **self.system.environment,
                **options.pop("env", {}),
            },
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=100,
            **options,
        )

    def ok(self, *arguments: str, **options: Any) -> str:
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
        told = self.ok("invoke", name, "--data", json.dumps(data or {"name": "Ada"}))
        return json.loads(told)["data"]

    def instances(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.system.processes().values() if row["deployed"] == name]

    def pids(self, *but: str) -> dict[str, int]:
        """Return the processes of all that is deployed, without some."""
        rows = self.system.processes().values()
        return {row["name"]: row["pid"] for row in rows if row["deployed"] not in but}

    def version(self, name: str) -> str:
        [version] = {row["version"] for row in self.instances(name)}
        return str(version)

    def deployments(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ok("deployments", name, "--json"))
        return found


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """The environment of this module's systems: they find the projects' code and the secrets."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PINS.items():
            patch.setenv(name, value)
        yield patch


def make_project(start_system: Start, environment: pytest.MonkeyPatch, fill: Any) -> Project:
    projects: list[Project] = []

    def prepare(system: Any) -> None:
        project = Project(system, system.stacks.parent)
        path = [str(project.root), *filter(None, [os.environ.get("PYTHONPATH")])]
        system.environment["PYTHONPATH"] = os.pathsep.join(path)
        fill(project)
        projects.append(project)

    start_system(prepare=prepare)
    return projects[0]


def make_gifts(project: Project) -> None:
    for stack in project.system.stacks.glob("*.toml"):
        stack.unlink()
    for name, text in GIFT.items():
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(text)


def copy_order_service(project: Project) -> None:
    """Copy the order service's functions and adapter, and let the stack file name the copies."""
    for path in (ROOT / "functions/order").glob("*.py"):
        copy_module(path, project.root / "changed/order" / path.name)
    copy_module(ROOT / "http/order.py", project.root / "changed/http.py")
    project.edit("stacks/order.toml", '"saga.functions.order"', '"changed.order"')
    project.edit("stacks/order.toml", '"saga.http.order"', '"changed.http"')


def copy_module(source: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(source.read_text().replace("saga.functions.order", "changed.order"))


@pytest.fixture(scope="module")
def gifts(start_system: Start, environment: pytest.MonkeyPatch) -> Iterator[Project]:
    """Two functions, and nothing else: they can do all that a deploy may do to a system."""
    project = make_project(start_system, environment, make_gifts)
    yield project
    project.system.saga("down", check=False)


@pytest.fixture(scope="module")
def orders(start_system: Start, environment: pytest.MonkeyPatch) -> Iterator[Project]:
    """The order system, with code of the order service that can be changed."""
    project = make_project(start_system, environment, copy_order_service)
    yield project
    project.system.saga("down", check=False)


def test_changed_function_is_deployed_under_load_and_nothing_is_lost_or_doubled(
    orders: Project, traffic: Any
) -> None:
    [before] = orders.instances(CREATE)
    others = orders.pids(CREATE)
    with traffic(orders.system) as load:
        load.flows()
        orders.edit("changed/order/create_order.py", "@function", "VERSION = 2\n\n\n@function")
        told = orders.ok("deploy", CREATE)
        load.flows()
        [after] = orders.instances(CREATE)
    assert load.violations() == []
    assert load.refused == []
    assert f"{CREATE} runs version {after['version'][:12]}" in told
    assert after["version"] != before["version"]
    assert (after["state"], after["restarts"]) == ("ready", 0)
    assert not psutil.pid_exists(before["pid"])
    assert orders.pids(CREATE) == others


def test_whole_service_is_deployed_under_load_with_its_adapter(
    orders: Project, traffic: Any
) -> None:
    others = orders.pids(
        "order", *(f"order.{name}_order" for name in ("create", "complete", "cancel"))
    )
    old = orders.version("order")
    with traffic(orders.system) as load:
        load.flows()
        orders.edit("changed/http.py", '"""The order service over HTTP."""', '"""Another."""')
        orders.ok("deploy")
        load.flows()
    assert load.violations() == []
    names = ("order", CREATE, "order.complete_order", "order.cancel_order")
    [version] = {orders.version(name) for name in names}
    assert version != old
    assert orders.system.http("GET", "order", "/orders").status_code == 200
    unchanged = orders.pids(*names)
    assert {name: pid for name, pid in others.items() if name in unchanged} == unchanged


def test_saga_is_deployed_scaled_and_logged_under_load_as_a_function_is(
    orders: Project, traffic: Any
) -> None:
    before = orders.pids()
    with traffic(orders.system) as load:
        load.flows()
        orders.ok("deploy", SAGA_NAME, "--force")
        load.flows()
        orders.ok("scale", f"{SAGA_NAME}=2")
        load.flows()
    assert load.violations() == []
    instances = orders.instances(SAGA_NAME)
    assert {(row["name"], row["kind"]) for row in instances} == {
        (SAGA_NAME, "saga"),
        (f"{SAGA_NAME}-2", "saga"),
    }
    assert before[SAGA_NAME] not in {row["pid"] for row in instances}
    assert f"{SAGA_NAME}-2 |" in orders.ok("logs", SAGA_NAME)
    orders.ok("scale", f"{SAGA_NAME}=1")
    assert "answers no commands" in orders.refused("invoke", SAGA_NAME, "--data", "{}")


def test_adapter_version_that_fails_gives_the_port_back_to_the_old_one(orders: Project) -> None:
    version = orders.version("order")
    with (orders.root / "changed/http.py").open("a") as file:
        file.write('\nraise OSError("no such door")\n')
    told = orders.refused("deploy", "order")
    assert "no such door" in told
    [row] = orders.instances("order")
    assert (row["version"], row["state"]) == (version, "ready")
    assert orders.system.http("GET", "order", "/orders").status_code == 200


def test_messages_of_a_removed_function_wait_until_it_is_deployed_again(
    orders: Project, until: Until
) -> None:
    name, system = "order.complete_order", orders.system
    assert orders.ok("remove", name) == f"{name}: removed\n"
    assert orders.instances(name) == []
    waiting = system.order(system.make_user(), system.make_product(), wait=0)["saga_id"]
    reached = lambda: system.saga_of(waiting)["steps"][-1]["status"] == "RUNNING"  # noqa: E731
    until(reached, "the last step waits for its answer")
    orders.ok("deploy", name)
    assert system.ended(waiting)["status"] == "COMPLETED"


BAD = {
    "raises at import": ('raise RuntimeError("no ribbon left")\n', "60", "no ribbon left"),
    "is no function": ("function = lambda handler: handler\n", "60", "declares 0 functions"),
    "never gets ready": (
        'import threading\nprint("waits for ribbon", flush=True)\nthreading.Event().wait()\n',
        "3",
        "waits for ribbon",
    ),
}


@pytest.fixture
def kept(gifts: Project) -> Iterator[Project]:
    """The gifts, whose code is afterwards what it was."""
    paths = lambda: [*(gifts.root / "gift").glob("*.py"), *(gifts.root / "stacks").glob("*.toml")]  # noqa: E731
    files = {path: path.read_bytes() for path in paths()}
    yield gifts
    for path in paths():
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)


@pytest.mark.parametrize("bad", BAD)
def test_bad_version_is_taken_down_and_the_old_one_stays(kept: Project, bad: str) -> None:
    code, timeout, reason = BAD[bad]
    before, past = kept.pids(), kept.deployments(WRAP)
    kept.edit("gift/wrap_gift.py", "@function", f"{code}\n@function")
    told = kept.refused("deploy", WRAP, "--timeout", timeout)
    assert re.match(rf"saga: {WRAP}-\d+ (has ended|is not ready after 3 s)", told)
    assert reason in told
    assert kept.pids() == before
    assert {row["state"] for row in kept.system.processes().values()} == {"ready"}
    assert kept.deployments(WRAP) == past


def test_code_that_is_no_python_is_refused_before_anything_starts(kept: Project) -> None:
    before = kept.pids()
    kept.edit("gift/wrap_gift.py", "@function", "@function(\n")
    told = kept.refused("deploy", WRAP)
    assert "wrap_gift.py: " in told
    assert told.count("\n") == 1
    assert kept.pids() == before


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["deploy", "gift.nothing"], f"gift.nothing: not one of {WRAP}, {SEND}"),
        (["rollback", "gift.nothing"], "no earlier version is known"),
        (["rollback", WRAP, "ffffffff"], "ffffffff: not one version of this function"),
        (
            ["scale", "gift.nothing=2"],
            f"gift.nothing does not run; `saga deploy` starts it. There are: {SEND}, {WRAP}",
        ),
        (["scale", f"{WRAP}=4"], f"{WRAP} has 3 partitions: more than 3 instances would be idle"),
        (["scale", WRAP], "not of the form NAME=N"),
        (["scale", f"{WRAP}=-1"], "not of the form NAME=N"),
        (["remove", "gift.nothing"], "gift.nothing does not run"),
        (["remove", "broker"], "broker does not run"),
        (["invoke", "gift.nothing", "--data", "{}"], "gift.nothing does not run"),
        (["logs", "gift.nothing"], "no log of gift.nothing; there are: "),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    gifts: Project, arguments: list[str], reason: str
) -> None:
    before = gifts.pids()
    told = gifts.refused(*arguments)
    assert reason in told
    assert told.count("\n") == 1
    assert gifts.pids() == before


def test_version_that_runs_is_not_deployed_again(kept: Project) -> None:
    kept.ok("deploy")
    before, past = kept.pids(), kept.deployments(WRAP)
    assert kept.ok("deploy") == "Nothing to do: these versions run already.\n"
    assert (kept.pids(), kept.deployments(WRAP)) == (before, past)


def test_function_named_twice_is_deployed_once(kept: Project) -> None:
    kept.paper("checked")
    kept.ok("deploy", WRAP, WRAP)
    assert len(kept.instances(WRAP)) == 1
    [newest, *_] = kept.deployments(WRAP)
    assert newest["replaced"] != newest["version"]


def test_rollback_restores_what_the_function_did(kept: Project) -> None:
    first = kept.version(WRAP)
    paper = kept.invoke()["paper"]
    versions = [first]
    for colour in ("green", "blue"):
        kept.paper(colour)
        kept.ok("deploy", WRAP)
        assert kept.invoke()["paper"] == colour
        versions.append(kept.version(WRAP))
    told = kept.ok("rollback", WRAP)
    assert f"{WRAP} runs version {versions[1][:12]}" in told
    assert kept.invoke()["paper"] == "green"
    kept.ok("rollback", WRAP, first[:8])
    assert (kept.version(WRAP), kept.invoke()["paper"]) == (first, paper)
    assert "runs " in kept.refused("rollback", WRAP, first[:8])
    past = kept.deployments(WRAP)[:4]
    found = [(entry["version"], entry["replaced"]) for entry in past]
    assert found == [
        (first, versions[1]),
        (versions[1], versions[2]),
        (versions[2], versions[1]),
        (versions[1], first),
    ]
    assert all("@" in entry["by"] for entry in past)
    table = kept.ok("deployments", WRAP).splitlines()
    assert table[0].split() == ["VERSION", "DEPLOYED", "BY", "REPLACED"]
    assert [line.split()[0] for line in table[1:5]] == [entry["version"][:12] for entry in past]


def test_what_was_never_deployed_has_no_deployments(gifts: Project) -> None:
    assert gifts.ok("deployments", "gift.nothing") == "gift.nothing was never deployed.\n"
    assert gifts.deployments("gift.nothing") == []


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_rollback_to_an_artifact_that_is_gone_leaves_what_runs(kept: Project, damage: str) -> None:
    old = kept.version(WRAP)
    kept.paper(damage)
    kept.ok("deploy", WRAP)
    file = kept.system.data / "artifacts" / "artifacts" / f"{old}.zip"
    data, before = file.read_bytes(), kept.pids()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-1])
    told = kept.refused("rollback", WRAP)
    file.write_bytes(data)
    wrong = {"missing": "is not in the store", "corrupt": "is damaged: its hash is another"}
    assert told == f"saga: artifact {old[:12]} {wrong[damage]}\n"
    assert kept.pids() == before
    assert kept.invoke()["paper"] == damage


def test_function_is_scaled_up_and_down(gifts: Project) -> None:
    others = gifts.pids(WRAP)
    told = gifts.ok("scale", f"{WRAP}=3")
    rows = gifts.instances(WRAP)
    assert [row["state"] for row in rows] == ["ready"] * 3
    assert all(row["name"] in told for row in rows)
    assert len({row["version"] for row in rows}) == 1
    gifts.ok("scale", f"{WRAP}=1")
    [left] = gifts.instances(WRAP)
    assert left in rows
    assert gifts.pids(WRAP) == others
    assert gifts.invoke()["paper"]


def test_scaled_function_keeps_its_number_when_it_is_deployed(kept: Project) -> None:
    kept.ok("scale", f"{WRAP}=2")
    kept.paper("striped")
    kept.ok("deploy", WRAP)
    assert len(kept.instances(WRAP)) == 2
    assert kept.invoke()["paper"] == "striped"
    kept.ok("scale", f"{WRAP}=1")


def test_new_function_is_deployed_into_a_system_that_did_not_have_it(kept: Project) -> None:
    before = kept.pids()
    kept.ok("new", "function", "gift.post_gift")
    kept.ok("deploy", "gift.post_gift")
    assert kept.invoke("gift.post_gift", saga_id="7") == {"saga_id": "7"}
    kept.ok("remove", "gift.post_gift")
    assert kept.pids() == before


def test_new_service_is_deployed_into_a_system_that_did_not_have_it(kept: Project) -> None:
    kept.ok("new", "function", "shop.sell_card")
    kept.ok("deploy", "shop.sell_card")
    assert kept.invoke("shop.sell_card", saga_id="7") == {"saga_id": "7"}
    kept.ok("remove", "shop.sell_card")


def test_invoke_tells_the_answer(gifts: Project, tmp_path: Path) -> None:
    answer = json.loads(gifts.ok("invoke", SEND, "--data", '{"name": "Ada"}'))
    assert answer == {"type": "GiftSent", "outcome": "done", "data": {"name": "Ada"}}
    (tmp_path / "command.json").write_text('{"name": "Åsa"}')
    for source, text in ((f"@{tmp_path / 'command.json'}", None), ("-", '{"name": "Åsa"}')):
        told = json.loads(gifts.ok("invoke", SEND, "--data", source, input=text))
        assert told["data"] == {"name": "Åsa"}


def test_invoke_ends_with_2_where_the_answer_is_a_no(gifts: Project) -> None:
    done = gifts.run("invoke", WRAP, "--data", '{"name": "nobody"}')
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert (answer["outcome"], answer["type"]) == ("rejected", "WrapGift.Rejected")
    assert "nobody gets no gift" in done.stdout


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{}", "--data is no WrapGift: name: Field required"),
        ('{"name": 1}', "--data is no WrapGift: name: Input should be a valid string"),
        ("{", "--data is no WrapGift: JSON: Invalid JSON"),
        ("@/no/such/file", "--data @/no/such/file: "),
    ],
)
def test_invoke_with_wrong_data_is_one_line(gifts: Project, data: str, reason: str) -> None:
    told = gifts.refused("invoke", WRAP, "--data", data)
    assert told.startswith(f"saga: {reason}")
    assert told.count("\n") == 1


def test_invoke_finds_the_system_by_an_option(gifts: Project) -> None:
    arguments = ["invoke", SEND, "-d", '{"name": "Bob"}', "--system", str(gifts.system.data)]
    told = gifts.ok(*arguments, env={"SAGA_DATA": "/nowhere"})
    assert json.loads(told)["data"] == {"name": "Bob"}


def test_logs_of_a_function_are_those_of_all_its_instances(kept: Project) -> None:
    kept.ok("scale", f"{WRAP}=2")
    kept.paper("logged")
    kept.ok("deploy", WRAP)
    kept.ok("scale", f"{WRAP}=1")
    lines = kept.ok("logs", WRAP).splitlines()
    started = {line.partition(" | ")[0] for line in lines if f"{WRAP} starts" in line}
    assert len(started) >= 3
    assert all(re.fullmatch(rf"{WRAP}(-\d+)?", name) for name in started)
    [name] = [row["name"] for row in kept.instances(WRAP)]
    one = kept.ok("logs", f"{WRAP}-2").splitlines()
    assert one
    assert not [line for line in one if " | " in line]
    assert name in started


def test_function_is_given_its_own_secrets_and_nobody_elses(gifts: Project) -> None:
    digest = hashlib.sha256(PINS["WRAP_PIN"].encode()).hexdigest()
    assert gifts.invoke()["secrets"] == {"WRAP_PIN": digest}


def test_no_secret_can_be_found_in_what_a_system_shows_or_keeps(gifts: Project) -> None:
    shown = [
        gifts.ok("ps", "--json"),
        gifts.ok("ps"),
        gifts.ok("logs"),
        gifts.ok("deployments", WRAP),
    ]
    files = [path for path in gifts.system.data.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"system.json", "wanted.json", f"{WRAP}.log", "supervisor.log", "gift.db"} <= names
    assert [path for path in files if path.suffix == ".zip"]
    kept = [path.read_bytes() for path in files]
    for value in PINS.values():
        assert not [text for text in shown if value in text]
        assert not [data for data in kept if value.encode() in data]


def test_function_gets_its_secret_also_in_a_later_version(kept: Project) -> None:
    kept.paper("secret")
    kept.ok("deploy", WRAP)
    assert set(kept.invoke()["secrets"]) == {"WRAP_PIN"}


def test_missing_secret_refuses_the_start_in_one_line(
    gifts: Project, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    with environment.context() as patch:
        patch.delenv("SEND_PIN")
        patch.setenv("SAGA_SECRETS", str(tmp_path))
        told = gifts.refused("up", "--detach", "--data", str(tmp_path / "data"))
    assert told.startswith("saga: no secret SEND_PIN: set the environment variable, or put a file")
    assert told.count("\n") == 1


def test_version_whose_secret_is_missing_is_refused_and_the_old_one_stays(kept: Project) -> None:
    before = kept.pids()
    kept.edit("stacks/gift.toml", '"WRAP_PIN"', '"WRAP_PIN", "NO_SUCH_PIN"')
    assert "no secret NO_SUCH_PIN" in kept.refused("deploy", WRAP)
    assert kept.pids() == before


def test_of_two_deploys_at_once_one_is_refused_and_the_other_one_is_done(kept: Project) -> None:
    code, *_ = BAD["never gets ready"]
    kept.edit("gift/send_gift.py", "@function", f"{code}\n@function")
    before = kept.pids()
    waits = subprocess.Popen(
        [SAGA, "deploy", SEND, "--timeout", "30"],
        env={
            **os.environ,
            "SAGA_STACKS": str(kept.system.stacks),
            "SAGA_DATA": str(kept.system.data),
            **kept.system.environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with waits:
        assert waits.stdout is not None
        assert "starts" in waits.stdout.readline()
        for command in (["deploy", WRAP], ["scale", f"{WRAP}=2"], ["remove", WRAP]):
            told = kept.refused(*command)
            assert told == (
                f"saga: another deploy is going on from {kept.system.data}: wait for its end\n"
            )
        waits.send_signal(2)
        assert waits.wait(60) != 0
    assert kept.pids() == before


def test_process_that_is_killed_comes_back_in_its_version(kept: Project, until: Until) -> None:
    kept.paper("tough")
    kept.ok("deploy", WRAP)
    [before] = kept.instances(WRAP)
    psutil.Process(before["pid"]).kill()
    back = lambda: [  # noqa: E731
        row for row in kept.instances(WRAP) if row["restarts"] == 1 and row["state"] == "ready"
    ]
    [after] = until(back, "the process is back")
    assert (after["name"], after["version"]) == (before["name"], before["version"])
    assert kept.invoke()["paper"] == "tough"


def test_system_started_again_runs_the_code_as_it_is_now(
    start_system: Start, environment: pytest.MonkeyPatch
) -> None:
    project = make_project(start_system, environment, make_gifts)
    project.paper("green")
    project.ok("deploy", WRAP)
    project.ok("scale", f"{WRAP}=2")
    project.ok("down")
    assert not (project.system.data / "wanted.json").exists()
    project.ok("up", "--detach")
    [row] = project.instances(WRAP)
    assert (row["name"], project.invoke()["paper"]) == (WRAP, "green")
    project.ok("down")


def test_stop_during_a_deploy_is_one_line_and_leaves_nothing(
    start_system: Start, environment: pytest.MonkeyPatch, until: Until
) -> None:
    project = make_project(start_system, environment, make_gifts)
    code, *_ = BAD["never gets ready"]
    project.edit("gift/wrap_gift.py", "@function", f"{code}\n@function")
    pids = project.pids()
    with ThreadPoolExecutor() as threads:
        told = threads.submit(project.refused, "deploy", WRAP)
        until(lambda: len(project.instances(WRAP)) == 2, "the new version starts")
        project.ok("down")
        assert "no system runs on" in told.result()
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids.values()), "all are gone")
    left = {path.name for path in project.system.data.glob("*.json")}
    assert left == set()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of an S3 on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    client = boto3.session.Session().client("s3")
    client.create_bucket(Bucket="shelf")
    yield client
    client.close()
    server.stop()


def test_artifacts_may_lie_on_s3(
    start_system: Start,
    environment: pytest.MonkeyPatch,
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAGA_ARTIFACTS", "s3://shelf/of/mine")
    project = make_project(start_system, environment, make_gifts)
    first = project.version(WRAP)
    project.paper("green")
    project.ok("deploy", WRAP)
    second = project.version(WRAP)
    project.ok("rollback", WRAP)
    assert (project.version(WRAP), project.invoke()["paper"]) == (first, "red")
    keys = [entry["Key"] for entry in bucket.list_objects_v2(Bucket="shelf")["Contents"]]
    zips = {f"of/mine/artifacts/{version}.zip" for version in (first, second)}
    assert {key for key in keys if key.endswith(".zip")} == zips
    assert len([key for key in keys if f"/deployments/saga/process/{WRAP}/" in key]) == 3
    bucket.delete_object(Bucket="shelf", Key=f"of/mine/artifacts/{second}.zip")
    before = project.pids()
    assert "is not in the store" in project.refused("rollback", WRAP)
    monkeypatch.setenv("SAGA_ARTIFACTS", "s3://nobodys")
    assert "the artifact store s3://nobodys: " in project.refused("deploy", WRAP, "--force")
    assert project.pids() == before
    assert not (project.system.data / "artifacts").exists()
    project.ok("down")


def test_supervisor_that_was_killed_leaves_nothing_in_the_way_of_the_next(
    start_system: Start, environment: pytest.MonkeyPatch
) -> None:
    project = make_project(start_system, environment, make_gifts)
    project.paper("green")
    project.ok("deploy", WRAP)
    before = project.system.processes()
    psutil.Process(before["supervisor"]["pid"]).kill()
    told = project.ok("up", "--detach")
    after = project.system.processes()
    assert {row["state"] for row in after.values()} == {"ready"}
    assert all(name in told for name in after)
    assert after["supervisor"]["pid"] != before["supervisor"]["pid"]
    assert not {row["pid"] for row in after.values()} & {row["pid"] for row in before.values()}
    assert project.invoke()["paper"] == "green"
    project.ok("down")
