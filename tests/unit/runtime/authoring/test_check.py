"""What `saga check` finds in a small system, with one thing wrong at a time."""

import importlib
import json
import os
import sys

import pytest

from saga.runtime.authoring.check import check
from saga.runtime.authoring.facts import Facts, Finding
from saga.runtime.authoring.survey import collect
from saga.runtime.settings import Settings
from support.command import run_saga

registry_module = importlib.import_module("saga.runtime.function")

GOOD = {
    "oven/__init__.py": "",
    "oven/messages.py": """\
from saga.runtime import Command, Event


class Baked(Event, topic="oven.events"):
    weight: int


class Unbaked(Event, topic="oven.events"):
    pass


class Bake(Command, topic="oven.bake", event=Baked):
    flour: int


class Unbake(Command, topic="oven.unbake", event=Unbaked):
    flour: int
""",
    "oven/bake.py": """\
from oven.messages import Bake, Baked
from saga.runtime import function


@function
def bake(command: Bake) -> Baked:
    return Baked(weight=command.flour)
""",
    "oven/unbake.py": """\
from oven.messages import Unbake, Unbaked
from saga.runtime import function


@function
def unbake(command: Unbake) -> Unbaked:
    return Unbaked()
""",
    "chef/__init__.py": "",
    "chef/dinner.py": """\
from oven.messages import Bake, Unbake
from saga.runtime import Message, Saga, Step


class Dine(Message):
    flour: int


dinner = Saga(
    "dinner",
    start=Dine,
    steps=[
        Step(Bake, undo=Unbake),
    ],
)
""",
    "chef/remind.py": """\
from datetime import datetime

from saga.runtime import function
from saga.runtime.envelope import Envelope


@function(every=1.0)
def remind(now: datetime) -> list[Envelope]:
    return []
""",
    "stacks/oven.toml": """\
service = "oven"
package = "oven"
database = "oven"

[functions.bake]
replicas = 1

[functions.unbake]
replicas = 1
""",
    "stacks/chef.toml": """\
service = "chef"
package = "chef"
database = "chef"

[functions.remind]

[sagas.dinner]
""",
}
TOAST = """\
from saga.runtime import Command, Event, function


class Toasted(Event, topic="toaster.events"):
    pass


class Toast(Command, topic="toaster.toast", event=Toasted):
    pass


@function
def toast(command: Toast) -> Toasted:
    return Toasted()
"""


REBAKE = """\
@function
def rebake(command: Bake) -> Baked:
    return Baked(weight=0)


"""


def changed(file: str, *replacements: tuple[str, str]) -> dict[str, str]:
    text = GOOD[file]
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return {file: text}


WRONG = {
    "handler without annotations": (
        changed("oven/unbake.py", ("command: Unbake", "command")),
        ["oven/unbake.py:5: error: oven.unbake.unbake must take one command"],
    ),
    "handler with a wrong answer": (
        changed("oven/unbake.py", ("-> Unbaked", "-> None")),
        ["oven/unbake.py:5: error: oven.unbake.unbake must return Unbaked"],
    ),
    "timer without an answer": (
        changed("chef/remind.py", ("-> list[Envelope]", "-> None")),
        ["chef/remind.py:7: error: remind must be declared as def remind(now: datetime) -> list["],
    ),
    "timer that takes nothing": (
        changed("chef/remind.py", ("now: datetime", "")),
        ["chef/remind.py:7: error: remind must be declared as"],
    ),
    "async timer": (
        changed("chef/remind.py", ("def remind", "async def remind")),
        ["chef/remind.py:7: error: remind must be declared as"],
    ),
    "field that nothing provides": (
        changed("oven/messages.py", ("flour: int\n\n\nclass", "sugar: int\n\n\nclass")),
        ["chef/dinner.py:9: error: saga 'dinner': Bake needs sugar, which neither"],
    ),
    "field that two steps tell": (
        {
            "oven/rebake.py": "from oven.messages import Bake, Baked\n"
            "from saga.runtime import Command, Event, function\n\n\n"
            "class Served(Event, topic=\"oven.served\"):\n    pass\n\n\n"
            "class Rebake(Command, topic=\"oven.rebake\", event=Baked):\n    pass\n\n\n"
            "class Serve(Command, topic=\"oven.serve\", event=Served):\n    weight: int\n"
        }
        | changed(
            "chef/dinner.py",
            ("from saga", "from oven.rebake import Rebake, Serve\nfrom saga"),
            ("undo=Unbake),", "undo=Unbake),\n        Step(Rebake),\n        Step(Serve),"),
        ),
        ["chef/dinner.py:10: error: saga 'dinner': Serve finds weight in the answers of bake and"],
    ),
    "undo that no function takes": (
        changed("stacks/oven.toml", ("\n[functions.unbake]\nreplicas = 1\n", ""))
        | {"oven/unbake.py": ""},
        ["chef/dinner.py:13: error: no function takes Unbake from oven.unbake, which undoes step"],
    ),
    "step that no function takes": (
        changed("stacks/oven.toml", ("\n[functions.bake]\nreplicas = 1\n", ""))
        | {"oven/bake.py": ""},
        ["chef/dinner.py:13: error: no function takes Bake from oven.bake, which does step bake"],
    ),
    "undo in another database": (
        changed("stacks/oven.toml", ("\n[functions.unbake]\nreplicas = 1\n", ""))
        | {
            "stacks/bin.toml": 'service = "oven2"\npackage = "oven"\ndatabase = "bin"\n\n'
            "[functions.unbake]\n"
        },
        [
            "chef/dinner.py:13: error: oven.unbake can't undo oven.bake: its database is bin",
            "stacks/bin.toml:5: warning: oven.unbake is of another service than its stack, oven2",
        ],
    ),
    "saga without an entry": (
        changed("stacks/chef.toml", ("[sagas.dinner]\n", "")),
        [
            "chef/dinner.py:9: error: dinner has no stack entry: chef.toml lacks [sagas.dinner]",
            "oven/bake.py:5: warning: nobody reads oven.events, where oven.bake answers",
            "oven/bake.py:5: warning: nobody sends to oven.bake: no saga has Bake",
            "oven/unbake.py:5: warning: nobody reads oven.events, where oven.unbake answers",
            "oven/unbake.py:5: warning: nobody sends to oven.unbake: no saga has Unbake",
        ],
    ),
    "saga of another name than its module": (
        changed("chef/dinner.py", ("dinner = Saga", "supper = Saga")),
        ["stacks/chef.toml:7: error: chef.dinner declares no saga of its own name: dinner = Saga"],
    ),
    "step that waits longer than its saga": (
        changed("chef/dinner.py", ("undo=Unbake)", "undo=Unbake, timeout=301)")),
        ["chef/dinner.py:13: warning: step bake waits 301 s for an answer, but saga 'dinner'"],
    ),
    "step that waits for ever": (
        changed("chef/dinner.py", ("undo=Unbake)", 'undo=Unbake, timeout=float("inf"))')),
        ["chef/dinner.py:13: error: Step(Bake): timeout is inf: give seconds"],
    ),
    "saga without a module": (
        changed("stacks/chef.toml", ("[sagas.dinner]", "[sagas.dinner]\n\n[sagas.lunch]")),
        ["stacks/chef.toml:9: error: lunch has no saga: there is no module chef.lunch"],
    ),
    "saga of another service than its stack": (
        changed("stacks/chef.toml", ("\n[sagas.dinner]\n", ""))
        | {
            "stacks/cook.toml": 'service = "cook"\npackage = "chef"\ndatabase = "chef"\n\n'
            "[sagas.dinner]\n"
        },
        [
            "stacks/cook.toml:5: warning: chef.dinner is of another service than its stack, cook",
        ],
    ),
    "command that nobody sends": (
        {
            "toaster/__init__.py": "",
            "toaster/toast.py": TOAST,
            "stacks/toaster.toml": 'service = "toaster"\npackage = "toaster"\n'
            'database = "toaster"\n\n[functions.toast]\n',
        },
        [
            "toaster/toast.py:12: warning: nobody reads toaster.events, where toaster.toast",
            "toaster/toast.py:12: warning: nobody sends to toaster.toast: no saga has Toast",
        ],
    ),
    "two functions on one topic": (
        changed("oven/messages.py", ('"oven.unbake"', '"oven.bake"')),
        ["oven/unbake.py:5: error: oven.unbake reads oven.bake, as oven.bake does"],
    ),
    "two functions on one consumer group": (
        {
            "stacks/again.toml": 'service = "again"\npackage = "oven"\ndatabase = "oven"\n\n'
            "[functions.bake]\n"
        },
        [
            "stacks/again.toml:5: warning: oven.bake is of another service than its stack, again",
            "stacks/oven.toml:5: error: oven.bake is deployed by again.toml:5 too",
        ],
    ),
    "two functions of one name": (
        {
            "more/__init__.py": "",
            "more/oven/__init__.py": "",
            "more/oven/bake.py": GOOD["oven/bake.py"],
            "stacks/second.toml": 'service = "more"\npackage = "more.oven"\ndatabase = "oven"\n\n'
            "[functions.bake]\n",
        },
        ["more/oven/bake.py:5: error: two functions are called oven.bake: they would share"],
    ),
    "commands and events on one topic": (
        changed("oven/messages.py", ('ed(Event, topic="oven.events', 'ed(Event, topic="oven.bake')),
        ["oven/bake.py:5: error: oven.bake reads oven.bake as commands, but oven.unbake answers"],
    ),
    "topics that Kafka can't tell apart": (
        changed("oven/messages.py", ('"oven.unbake"', '"oven_bake"')),
        ["oven/unbake.py:5: error: Kafka can't have topics oven.bake and oven_bake"],
    ),
    "topic that Kafka refuses": (
        changed("oven/messages.py", ('"oven.unbake"', '"oven unbake"')),
        ["oven/messages.py:16: error: Unbake: 'oven unbake' can't be a topic"],
    ),
    "field that takes the topic's place": (
        changed("oven/messages.py", ("weight: int", "weight: int\n    topic: str")),
        ["oven/messages.py:4: error: Baked can't have a field topic: call it otherwise"],
    ),
    "message that does not survive the wire": (
        changed(
            "oven/messages.py",
            ("weight: int", "weight: int = Field(1, exclude=True)"),
            ("from saga", "from pydantic import Field\n\nfrom saga"),
        ),
        ["oven/messages.py:6: error: Baked does not survive the wire: sent, weight = 7 comes back"],
    ),
    "message that can't be made up": (
        changed(
            "chef/dinner.py",
            ("flour: int", 'flour: int\n    seed: str = Field("b", pattern="^[b-z]{2}$")'),
            ("from saga", "from pydantic import Field\n\nfrom saga"),
        ),
        ["chef/dinner.py:7: warning: Dine was not tried on the wire, for want of values (seed: "],
    ),
    "two sagas of one name": (
        changed("stacks/chef.toml", ("[sagas.dinner]", "[sagas.dinner]\n\n[sagas.lunch]"))
        | {"chef/lunch.py": GOOD["chef/dinner.py"].replace("dinner = ", "lunch = ")},
        ["chef/lunch.py:9: error: saga 'dinner' has the name of the one in dinner.py:9"],
    ),
    "two sagas on one topic": (
        changed("stacks/chef.toml", ("[sagas.dinner]", "[sagas.dinner]\n\n[sagas.lunch]"))
        | changed("chef/dinner.py", ('"dinner"', '"a meal"'))
        | {
            "chef/lunch.py": GOOD["chef/dinner.py"]
            .replace("dinner = ", "lunch = ")
            .replace('"dinner"', '"a_meal"')
        },
        ["chef/lunch.py:9: error: saga 'a_meal' tells on a_meal.ended which have ended"],
    ),
    "entry without a module": (
        changed("stacks/oven.toml", ("[functions.bake]", "[functions.fry]\n\n[functions.bake]")),
        ["stacks/oven.toml:5: error: fry has no function: there is no module oven.fry"],
    ),
    "entry without a function": (
        {"oven/unbake.py": "UNBAKE = 1\n"},
        ["stacks/oven.toml:8: error: oven.unbake declares 0 functions; one file holds one"],
    ),
    "function without an entry": (
        changed("stacks/oven.toml", ("[functions.unbake]\nreplicas = 1\n", "")),
        [
            "chef/dinner.py:13: error: no function takes Unbake from oven.unbake",
            "oven/unbake.py:5: error: unbake has no stack entry: oven.toml lacks [functions.un",
        ],
    ),
    "handler called otherwise than its file": (
        changed("oven/unbake.py", ("def unbake", "def undo_bake")),
        ["oven/unbake.py:5: error: undo_bake's file and stack entry are called unbake"],
    ),
    "two functions in one file": (
        changed("oven/bake.py", ("@function", f"{REBAKE}@function")),
        ["oven/bake.py:10: error: oven.bake declares 2 functions; one file holds one"],
    ),
    "file that is no Python": (
        {"oven/unbake.py": "def unbake(:\n"},
        ["oven/unbake.py:1: error: SyntaxError: invalid syntax"],
    ),
    "module that fails": (
        changed("oven/unbake.py", ("@function", "1 / 0\n\n\n@function")),
        ["oven/unbake.py:5: error: ZeroDivisionError: division by zero"],
    ),
    "module that exits": (
        changed("oven/unbake.py", ("@function", "raise SystemExit(3)\n\n\n@function")),
        ["oven/unbake.py:5: error: SystemExit: 3"],
    ),
    "module that imports what is not there": (
        changed("oven/unbake.py", ("from saga", "import nowhere\nfrom saga")),
        ["oven/unbake.py:2: error: ModuleNotFoundError: No module named 'nowhere'"],
    ),
    "command without a topic": (
        changed("oven/messages.py", ('Unbake(Command, topic="oven.unbake", ', "Unbake(Command, ")),
        ["oven/messages.py:16: error: Unbake needs a topic"],
    ),
    "package that is not there": (
        changed("stacks/oven.toml", ('package = "oven"', 'package = "oben"')),
        ["stacks/oven.toml:2: error: there is no package oben: is its folder on PYTHONPATH?"],
    ),
    "adapter that is not there": (
        changed("stacks/oven.toml", ('"\n\n', '"\nadapter = "oven.web"\nport = 1\n\n')),
        ["stacks/oven.toml:4: error: oven has no adapter: there is no module oven.web"],
    ),
    "stack file with a wrong value": (
        changed("stacks/oven.toml", ("replicas = 1\n\n", "replicas = -1\n\n")),
        ["stacks/oven.toml:6: error: functions.bake.replicas: Input should be greater"],
    ),
    "stack file that is no TOML": (
        changed("stacks/oven.toml", ("[functions.bake]", "[functions.bake")),
        ["stacks/oven.toml:5: error: "],
    ),
    "service that two stacks claim": (
        {"stacks/z.toml": 'service = "oven"\npackage = "oven"\ndatabase = "oven"\n'},
        ["stacks/z.toml:1: error: service: oven is taken by oven.toml"],
    ),
}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder to write systems into; what they import is forgotten afterwards."""
    monkeypatch.setattr(registry_module, "_registry", {})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(files):
        for name, text in {**GOOD, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def findings(folder):
    found = check(collect(folder / "stacks"))
    return [f"{f.path.relative_to(folder)}:{f.line}: {f.level}: {f.text}" for f in found]


def test_a_good_system_has_no_findings(project):
    facts = collect(project({}) / "stacks")
    assert check(facts) == []
    assert (len(facts.functions), len(facts.sagas)) == (3, 1)


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_told_with_its_place_and_nothing_else(project, what):
    files, expected = WRONG[what]
    found = findings(project(files))
    assert len(found) == len(expected), found
    for line, beginning in zip(found, expected, strict=True):
        assert line.startswith(beginning)
        assert "\n" not in line


def test_hidden_files_are_none_of_the_systems(project):
    hidden = {
        f"{folder}/._x.{kind}": "\0" for folder in ("stacks", "oven") for kind in ("toml", "py")
    }
    assert findings(project({**hidden, "oven/.#bake.py": GOOD["oven/unbake.py"]})) == []


def test_a_byte_order_mark_is_no_fault_and_moves_no_line(project):
    [stack] = [name for name in GOOD if name.endswith("oven.toml")]
    assert findings(project({stack: "\ufeff" + GOOD[stack]})) == []
    wrong = "\ufeff" + GOOD[stack].replace('package = "oven"', 'package = "nowhere"')
    assert findings(project({stack: wrong}))[0].startswith(f"{stack}:2: error: there is no package")


def test_several_faults_are_told_at_once(project):
    files = (
        changed("oven/bake.py", ("command: Bake", "command"))
        | changed("chef/remind.py", ("now: datetime", "now"))
        | {"stacks/z.toml": "service = 1\n"}
    )
    assert [line.partition(": ")[0] for line in findings(project(files))] == [
        "chef/remind.py:7",
        "oven/bake.py:5",
        "stacks/z.toml:1",
    ]


def test_a_folder_without_stack_files_is_an_error(tmp_path):
    [found] = check(collect(tmp_path))
    assert found == Finding(tmp_path, 1, "error", "no stack files (*.toml) in this folder")


def test_no_facts_give_no_findings():
    assert check(Facts()) == []


def test_the_shipped_system_has_no_findings():
    facts = collect(Settings().saga_stacks)
    assert check(facts) == []
    assert {placed.place.path.name for placed in facts.sagas} == {"place_order.py"}
    assert all(
        placed.step(step) != placed.place for placed in facts.sagas for step in placed.saga.steps
    )


@pytest.fixture
def saga(monkeypatch):
    """Run the command in a folder."""
    monkeypatch.setattr(registry_module, "_registry", {})

    def run(folder, *arguments):
        return run_saga(arguments, {**os.environ, "SAGA_STACKS": "stacks"}, folder)

    return run


def test_the_command_counts_what_is_healthy(saga, project):
    done = saga(project({}), "check")
    assert done.stdout == "stacks: 3 functions, 1 saga, no problems.\n", done.stderr
    assert done.returncode == 0


def test_the_command_says_that_there_are_no_stacks_here(tmp_path):
    environment = {name: text for name, text in os.environ.items() if name != "SAGA_STACKS"}
    done = run_saga(["check"], environment, tmp_path)
    assert done.stdout == "the built-in orders: 7 functions, 1 saga, no problems.\n", done.stderr


def test_the_command_fails_on_errors(saga, project):
    files, _ = WRONG["function without an entry"]
    folder = project(files)
    done = saga(folder, "check")
    assert done.returncode == 1
    *lines, summary = done.stdout.splitlines()
    assert lines[0].startswith("chef/dinner.py:13: error: no function takes Unbake")
    assert lines[1].endswith("oven.toml lacks [functions.unbake]")
    assert summary == "stacks: 2 functions, 1 saga, 2 errors."
    listed = json.loads(saga(folder, "check", "--json").stdout)
    assert [(row["path"], row["line"], row["level"]) for row in listed] == [
        ("chef/dinner.py", 13, "error"),
        ("oven/unbake.py", 5, "error"),
    ]


def test_the_command_shows_the_file_and_not_a_link_to_it(saga, project, monkeypatch):
    """What is installed editable is imported over links."""
    files, _ = WRONG["function without an entry"]
    folder = project(files)
    (folder / "links").mkdir()
    for package in ("chef", "oven"):
        (folder / package).rename(folder / f"{package}-real")
        (folder / "links" / package).symlink_to(folder / f"{package}-real")
    monkeypatch.syspath_prepend(folder / "links")
    done = saga(folder, "check")
    assert done.stdout.startswith("chef-real/dinner.py:13: error: "), done.stdout + done.stderr


def test_the_command_lets_warnings_pass(saga, project):
    files, _ = WRONG["command that nobody sends"]
    done = saga(project(files), "check")
    assert done.returncode == 0
    assert done.stdout.endswith("4 functions, 1 saga, 2 warnings.\n")


def test_the_command_makes_a_function_once(saga, tmp_path):
    done = saga(tmp_path, "new", "function", "gift.wrap_gift")
    assert done.returncode == 0, done.stderr
    assert "made     gift/wrap_gift.py\n" in done.stdout
    assert "python -m pytest tests/test_wrap_gift.py" in done.stdout
    assert saga(tmp_path, "check").returncode == 0
    again = saga(tmp_path, "new", "function", "gift.wrap_gift")
    assert again.returncode == 1
    assert again.stderr == "saga: gift/wrap_gift.py is there already: nothing was made\n"
