"""What `saga new function` makes, and what it refuses to make."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from saga.runtime.authoring.check import check
from saga.runtime.authoring.scaffold import new_function
from saga.runtime.authoring.survey import collect
from saga.runtime.authoring.templates import Words
from saga.runtime.errors import SagaError
from support.waiting import DEADLINE

RUFF = Path(sys.executable).with_name("ruff")
RULES = "A,ARG,B,C4,D,E,F,I,N,PIE,RET,RUF,SIM,UP,W"


def run(folder, *command):
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def repository(tmp_path):
    """A folder laid out as this repository is."""
    packages = ["saga.functions", "saga.functions.order", "saga.runtime"]
    listed = "".join(f'    "{package}",\n' for package in packages)
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "__init__.py").write_text('"""Functions."""\n')
    (tmp_path / "pyproject.toml").write_text(f"# kept\npackages = [\n{listed}]\n")
    return tmp_path


def test_a_fresh_folder_gets_all_five_files(tmp_path):
    made = new_function("gift.wrap_gift", tmp_path)
    files = {str(change.path.relative_to(tmp_path)) for change in made.changes}
    assert files == {
        "gift/__init__.py",
        "gift/messages.py",
        "gift/wrap_gift.py",
        "stacks/gift.toml",
        "tests/test_wrap_gift.py",
    }
    assert all(change.is_new and change.path.exists() for change in made.changes)


def test_what_is_made_passes_its_test_and_ruff(tmp_path):
    for name in ("sock.darn", "sock.mend_very_long_and_winding_woollen_sock"):
        new_function(name, tmp_path)
    assert "2 passed" in run(tmp_path, sys.executable, "-m", "pytest", "-q", "tests")
    rules = ["--select", RULES, "--ignore", "D103,D203,D213", "--line-length", "100"]
    run(tmp_path, RUFF, "check", "--isolated", "--no-cache", *rules, ".")
    for width in (88, 100):
        run(tmp_path, RUFF, "format", "--isolated", "--check", "--line-length", width, ".")


def test_what_is_made_is_well_declared(tmp_path, monkeypatch):
    new_function("scaffolded.wrap_parcel", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    facts = collect(tmp_path / "stacks")
    assert [f.function.name for f in facts.functions] == ["scaffolded.wrap_parcel"]
    findings = check(facts)
    assert {finding.level for finding in findings} == {"warning"}
    assert "nobody sends to scaffolded.wrap_parcel" in findings[1].text


def test_a_stack_file_may_begin_with_a_byte_order_mark_beside_hidden_files(tmp_path):
    new_function("gift.wrap_gift", tmp_path)
    stack = tmp_path / "stacks" / "gift.toml"
    stack.write_text("\ufeff" + stack.read_text())
    (stack.parent / "._gift.toml").write_bytes(b"\xff")
    new_function("gift.send_gift", tmp_path)
    assert list(tomllib.loads(stack.read_text())["functions"]) == ["wrap_gift", "send_gift"]


def test_a_second_function_extends_what_is_there(tmp_path):
    new_function("gift.wrap_gift", tmp_path)
    stack = tmp_path / "stacks" / "gift.toml"
    stack.write_text("# ours\n" + stack.read_text().replace("replicas = 1", "replicas = 6  # many"))
    made = new_function("gift.send_gift", tmp_path)
    extended = {change.path.name for change in made.changes if not change.is_new}
    assert extended == {"messages.py", "gift.toml"}
    text = stack.read_text()
    assert text.startswith("# ours\n")
    assert "replicas = 6  # many\n" in text
    assert list(tomllib.loads(text)["functions"]) == ["wrap_gift", "send_gift"]
    messages = (tmp_path / "gift" / "messages.py").read_text()
    assert messages.count("from saga.runtime import") == 1
    assert "class WrapGiftDone(" in messages
    assert "class SendGiftDone(" in messages


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from saga.runtime import Event\n", "from saga.runtime import Command, Event\n"),
        (
            "from saga.runtime import (\n    Event,\n    Rejected,\n)\n",
            "from saga.runtime import Command, Event, Rejected\n",
        ),
        ("import json\n", "import json\nfrom saga.runtime import Command, Event\n"),
        ('"""Ours."""\n', '"""Ours."""\n\nfrom saga.runtime import Command, Event\n'),
        ("", "from saga.runtime import Command, Event\n"),
        (
            "from saga.runtime import Event as E\n",
            "from saga.runtime import Event as E\nfrom saga.runtime import Command, Event\n",
        ),
    ],
)
def test_messages_get_the_imports_that_they_lack(tmp_path, before, after):
    (tmp_path / "gift").mkdir()
    path = tmp_path / "gift" / "messages.py"
    path.write_text(before)
    new_function("gift.wrap_gift", tmp_path)
    assert path.read_text().startswith(f"{after}\n\nclass WrapGiftDone(")


def test_this_repositorys_layout_is_kept_to(repository):
    made = new_function("gift.wrap_gift", repository)
    assert made.file == repository / "functions" / "gift" / "wrap_gift.py"
    assert made.test == repository / "tests" / "unit" / "functions" / "test_wrap_gift.py"
    stack = tomllib.loads((repository / "stacks" / "gift.toml").read_text())
    assert stack["package"] == "saga.functions.gift"
    assert "from saga.functions.gift.messages import" in made.test.read_text()
    assert (repository / "pyproject.toml").read_text() == (
        "# kept\npackages = [\n"
        '    "saga.functions",\n    "saga.functions.gift",\n    "saga.functions.order",\n'
        '    "saga.runtime",\n]\n'
    )


def test_a_services_own_stack_file_and_package_are_used(tmp_path):
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "all.toml"
    path.write_text('service = "gift"\npackage = "shop.gift"\ndatabase = "gift"\n')
    made = new_function("gift.wrap_gift", tmp_path)
    assert made.file == tmp_path / "shop" / "gift" / "wrap_gift.py"
    assert "from shop.gift.messages import" in made.test.read_text()
    assert "wrap_gift" in tomllib.loads(path.read_text())["functions"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gift", "not of the form SERVICE.NAME"),
        ("gift.", "not of the form"),
        (".wrap", "not of the form"),
        ("gift.wrap.up", "not of the form"),
        ("Gift.wrap", "not of the form"),
        ("gift.wrap-up", "not of the form"),
        ("../gift.wrap", "not of the form"),
        ("gift.class", "no keyword"),
        ("lambda.wrap", "no keyword"),
        ("gift.messages", "messages is taken"),
        ("saga.wrap", "saga is taken"),
        ("gift.wrap_2_gifts", "name it wrap2_gifts"),
        ("gift._wrap", "not of the form"),
        ("gift." + "x" * 41, "longer than 40 letters"),
        ("json.wrap", "would be hidden"),
        ("pytest.wrap", "would be hidden"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path, name, reason):
    with pytest.raises(SagaError, match=reason):
        new_function(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def contents(folder):
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("gift/wrap_gift.py", "mine = 1\n", "wrap_gift.py is there already"),
        ("tests/test_wrap_gift.py", "mine = 1\n", "test_wrap_gift.py is there already"),
        ("gift/messages.py", "class WrapGift: ...\n", "has a class WrapGift already"),
        ("gift/messages.py", "class WrapGiftDone: ...\n", "has a class WrapGiftDone already"),
        ("gift/messages.py", 'TOPIC = "gift.wrap"\n', "has the topic gift.wrap already"),
        ("gift/messages.py", "class (:\n", "messages.py:1: invalid syntax"),
        ("stacks/gift.toml", 'service = "other"\n', "for another service"),
        ("stacks/gift.toml", "service = \n", "gift.toml: Invalid value"),
        ("stacks/gift.toml", 'service = "gift"\nfunctions = { a = {} }\n', "gift.toml: Cannot"),
    ],
)
def test_nothing_of_the_users_is_overwritten(tmp_path, file, text, reason):
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(SagaError, match=reason):
        new_function("gift.wrap_gift", tmp_path)
    assert contents(tmp_path) == before


def test_an_entry_that_waits_for_its_function_is_left_alone(tmp_path):
    (tmp_path / "stacks").mkdir()
    path = tmp_path / "stacks" / "gift.toml"
    path.write_text('service = "gift"\npackage = "gift"\n\n[functions.wrap_gift]\n')
    made = new_function("gift.wrap_gift", tmp_path)
    assert path not in [change.path for change in made.changes]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "gift").write_text("a file, not a folder")
    with pytest.raises(SagaError, match=r"gift/__init__\.py: "):
        new_function("gift.wrap_gift", tmp_path)


def test_an_event_is_called_done_and_says_that_it_wants_a_name(tmp_path):
    new_function("gift.wrap_gift", tmp_path)
    messages = (tmp_path / "gift" / "messages.py").read_text()
    assert 'class WrapGift(Command, topic="gift.wrap", event=WrapGiftDone):' in messages
    assert "Name it as the business says it, in the past tense." in messages


@pytest.mark.parametrize(
    ("service", "name", "topic"),
    [
        ("product", "reserve_product", "product.reserve"),
        ("hotel", "book_room", "hotel.book_room"),
        ("gift", "wrap", "gift.wrap"),
    ],
)
def test_a_topic_says_the_service_once(service, name, topic):
    assert Words(service, name).topic == topic


def test_the_next_commands_lead_into_the_folder(tmp_path):
    made = new_function("gift.wrap_gift", tmp_path)
    assert made.next_commands() == [
        f"cd {tmp_path}",
        "PYTHONPATH=. python -m pytest tests/test_wrap_gift.py",
        "saga check",
    ]


def test_the_next_commands_are_the_repositorys_own(repository):
    made = new_function("gift.wrap_gift", repository)
    assert made.next_commands()[1:] == [
        "python -m pytest tests/unit/functions/test_wrap_gift.py",
        "saga check",
    ]
