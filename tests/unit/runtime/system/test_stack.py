"""Stack files: what is wrong is told in one line, with the file, the key and the reason."""

import pytest

from saga.runtime.errors import StackError
from saga.runtime.system.stack import read_stack, read_stacks

GOOD = """\
service = "cake"
package = "shop.cake"
database = "cake"
"""
PORT = "port = 8000\n"

WRONG = {
    "empty": ("", "service", "Field required"),
    "no package": ('service = "cake"\ndatabase = "cake"\n', "package", "Field required"),
    "no database": ('service = "cake"\npackage = "shop"\n', "database", "Field required"),
    "unknown key": (GOOD + "prot = 8000\n", "prot", "Extra inputs are not permitted"),
    "service in capitals": (GOOD.replace('"cake"', '"Cake"'), "service", "String should match"),
    "package with a path": (GOOD.replace("shop.cake", "shop/cake"), "package", "should match"),
    "package with a dot at its end": (GOOD.replace("shop.cake", "shop."), "package", "match"),
    "database a path": (GOOD.replace('base = "', 'base = "/'), "database", "should match"),
    "port zero": (GOOD + "port = 0\n", "port", "greater than or equal to 1"),
    "port too large": (GOOD + "port = 65536\n", "port", "less than or equal to 65535"),
    "port a word": (GOOD + 'port = "http"\n', "port", "valid integer"),
    "adapter a path": (GOOD + PORT + 'adapter = "http/cake.py"\n', "adapter", "should match"),
    "function's name": (GOOD + "[functions.Bake]\n", "functions.Bake", "should match"),
    "function's key": (
        GOOD + "[functions.bake]\npartition = 3\n",
        "functions.bake.partition",
        "Extra inputs",
    ),
    "no partitions": (
        GOOD + "[functions.bake]\npartitions = 0\n",
        "functions.bake.partitions",
        "greater than or equal to 1",
    ),
    "negative replicas": (
        GOOD + "[functions.bake]\nreplicas = -1\n",
        "functions.bake.replicas",
        "greater than or equal to 0",
    ),
    "environment a number": (
        GOOD + "[functions.bake.environment]\nLEVEL = 3\n",
        "functions.bake.environment.LEVEL",
        "valid string",
    ),
    "environment of the runtime's": (
        GOOD + '[functions.bake.environment]\nSAGA_DATABASE_URL = "sqlite://"\n',
        "functions.bake.environment",
        "SAGA_DATABASE_URL is the runtime's own",
    ),
    "saga of a function's name": (
        GOOD + "[functions.bake]\n[sagas.bake]\n",
        "sagas",
        "bake is a function, too: they are deployed by their names",
    ),
    "saga's replicas": (
        GOOD + "[sagas.bake]\nreplicas = 101\n",
        "sagas.bake.replicas",
        "less than or equal to 100",
    ),
    "functions a list": (GOOD + "functions = []\n", "functions", "valid dictionary"),
    "function a number": (GOOD + "[functions]\nbake = 3\n", "functions.bake", "valid dictionary"),
}


@pytest.fixture
def stack_file(tmp_path):
    path = tmp_path / "cake.toml"

    def write(text, name="cake.toml"):
        path.with_name(name).write_text(text)
        return path.with_name(name)

    return write


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_key_is_named_with_the_reason(stack_file, wrong):
    text, key, reason = WRONG[wrong]
    path = stack_file(text)
    with pytest.raises(StackError) as error:
        read_stack(path)
    line = str(error.value)
    assert line.startswith(f"{path}: {key}: ")
    assert reason in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("service = \n", "Invalid value (at line 1"),
        (GOOD + "[functions", "end of a table declaration"),
        (GOOD + GOOD, "Cannot overwrite a value (at line 4"),
    ],
)
def test_file_that_is_not_toml_is_told_with_the_place(stack_file, text, reason):
    path = stack_file(text)
    with pytest.raises(StackError) as error:
        read_stack(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_file_that_is_not_text_is_told(tmp_path):
    path = tmp_path / "cake.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StackError, match=r"cake\.toml: .*utf-8"):
        read_stack(path)


def test_missing_file_is_told(tmp_path):
    with pytest.raises(StackError, match=r"none\.toml: .*No such file"):
        read_stack(tmp_path / "none.toml")


def test_file_may_begin_with_a_byte_order_mark(stack_file):
    assert read_stack(stack_file("\ufeff" + GOOD)).service == "cake"


def test_hidden_file_is_no_stack_file(stack_file):
    """macOS leaves one beside each file, Emacs a link to nowhere beside those that it edits."""
    folder = stack_file(GOOD).parent
    stack_file("\0\5\x16\7", "._cake.toml")
    (folder / ".#cake.toml").symlink_to("nobody@nowhere:1")
    assert [stack.service for stack in read_stacks(folder)] == ["cake"]


def test_stack_without_functions_is_read(stack_file):
    stack = read_stack(stack_file(GOOD))
    assert (stack.service, stack.functions, stack.port) == ("cake", {}, None)


def test_function_has_defaults(stack_file):
    stack = read_stack(stack_file(GOOD + "[functions.bake]\n"))
    entry = stack.functions["bake"]
    assert (entry.partitions, entry.replicas, entry.environment) == (1, 1, {})
    assert stack.module("bake") == "shop.cake.bake"


@pytest.mark.parametrize(
    ("partitions", "replicas", "told", "width"),
    [(1, 0, 0, 1), (1, 1, 1, 1), (3, 1, 2, 3), (2, 4, 3, 4), (2, 3, 5, 5)],
)
def test_topic_has_a_partition_for_each_who_reads_it(stack_file, partitions, replicas, told, width):
    given = f"[functions.bake]\npartitions = {partitions}\nreplicas = {replicas}\n"
    assert read_stack(stack_file(GOOD + given)).functions["bake"].width(told) == width


def test_folder_without_stacks_is_told(tmp_path):
    with pytest.raises(StackError, match="no stack files"):
        read_stacks(tmp_path)


def test_stacks_are_read_in_the_order_of_their_names(stack_file):
    stack_file(GOOD, "b.toml")
    folder = stack_file(GOOD.replace('"cake"', '"pie"'), "a.toml").parent
    assert [stack.service for stack in read_stacks(folder)] == ["pie", "cake"]


def test_service_taken_twice_is_told(stack_file):
    stack_file(GOOD, "a.toml")
    folder = stack_file(GOOD, "b.toml").parent
    with pytest.raises(StackError, match=r"b\.toml: service: cake is taken by a\.toml"):
        read_stacks(folder)


def test_port_taken_twice_is_told(stack_file):
    stack_file(GOOD + PORT, "a.toml")
    folder = stack_file(GOOD.replace('"cake"', '"pie"') + PORT, "b.toml").parent
    with pytest.raises(StackError, match=r"b\.toml: port: 8000 is taken by a\.toml"):
        read_stacks(folder)


def test_adapter_needs_a_port(stack_file):
    folder = stack_file(GOOD + 'adapter = "saga.http.cake"\n').parent
    with pytest.raises(StackError, match=r"cake\.toml: port: an adapter needs a port"):
        read_stacks(folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('memory = "256"', "should match"),
        ('memory = "0m"', "should match"),
        ('memory = "-1m"', "should match"),
        ('memory = "256M"', "should match"),
        ('memory = "256 m"', "should match"),
        ('memory = "256k"', "should match"),
        ('memory = "1.5g"', "should match"),
        ("memory = 256", "valid string"),
        ("cpu = 0", "greater than 0"),
        ("cpu = -0.5", "greater than 0"),
        ("cpu = 1025", "less than or equal to 1024"),
        ("cpu = nan", "less than or equal to 1024"),
        ('cpu = "half"', "valid number"),
        ('secrets = "KEY"', "valid tuple"),
        ('secrets = ["MY-KEY"]', "should match"),
        ('secrets = ["../KEY"]', "should match"),
        ('secrets = [""]', "should match"),
        ('environment = { "MY-KEY" = "1" }', "should match"),
    ],
)
@pytest.mark.parametrize("place", ["", "functions.bake."])
def test_wrong_resources_are_named_with_the_reason(stack_file, place, line, reason):
    key = line.partition(" ")[0]
    text = GOOD + (f"[functions.bake]\n{line}\n" if place else f"{line}\n")
    with pytest.raises(StackError, match=rf"cake\.toml: {place}{key}.*: .*{reason}") as error:
        read_stack(stack_file(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("memory", ["1m", "256m", "16g"])
@pytest.mark.parametrize("cpu", [0.01, 1, 1024])
def test_limits_are_read(stack_file, memory, cpu):
    stack = read_stack(stack_file(f'{GOOD}memory = "{memory}"\ncpu = {cpu}\n'))
    assert (stack.resources().memory, stack.resources().cpu) == (memory, cpu)


HOSTING = """\
adapter = "shop.cake.http"
port = 8000
memory = "512m"
secrets = ["KEY", "TOKEN"]
[environment]
LEVEL = "1"
COLOUR = "red"
[functions.bake]
memory = "1g"
cpu = 2
secrets = ["OVEN_PIN", "KEY"]
environment = { LEVEL = "2" }
[functions.sell]
"""


def test_functions_resources_go_before_the_services(stack_file):
    bake = read_stack(stack_file(GOOD + HOSTING)).resources("bake")
    assert (bake.memory, bake.cpu) == ("1g", 2)
    assert bake.environment == {"LEVEL": "2", "COLOUR": "red"}
    assert bake.secrets == ("KEY", "TOKEN", "OVEN_PIN")


@pytest.mark.parametrize("function", ["sell", None])
def test_services_resources_are_for_all_functions_and_the_adapter(stack_file, function):
    resources = read_stack(stack_file(GOOD + HOSTING)).resources(function)
    assert (resources.memory, resources.cpu) == ("512m", None)
    assert resources.environment == {"LEVEL": "1", "COLOUR": "red"}
    assert resources.secrets == ("KEY", "TOKEN")


def test_stack_that_says_nothing_gives_little(stack_file):
    resources = read_stack(stack_file(GOOD + "[functions.bake]\n")).resources("bake")
    assert (resources.memory, resources.cpu) == ("256m", None)
    assert (resources.environment, resources.secrets) == ({}, ())


def test_secrets_of_all_are_listed_once(stack_file):
    assert read_stack(stack_file(GOOD + HOSTING)).all_secrets() == {"KEY", "TOKEN", "OVEN_PIN"}


def test_what_can_be_deployed_are_the_functions_and_the_adapter(stack_file):
    with_adapter = read_stack(stack_file(GOOD + HOSTING))
    assert with_adapter.names() == ["cake.bake", "cake.sell", "cake"]
    without = read_stack(stack_file(GOOD + "[functions.bake]\nreplicas = 3\n"))
    assert without.names() == ["cake.bake"]
    assert without.replicas("cake.bake") == 3
    assert with_adapter.replicas("cake") == 1


SAGA = "[functions.bake]\n[sagas.party]\nreplicas = 2\n"
SAGA += 'memory = "64m"\nenvironment = {LEVEL = "3"}\n'


def test_saga_is_deployed_as_a_function_is(stack_file):
    stack = read_stack(stack_file(GOOD + SAGA))
    assert stack.names() == ["cake.bake", "cake.party"]
    assert [stack.kind(name) for name in ("bake", "party", None)] == ["function", "saga", "adapter"]
    assert (stack.replicas("cake.party"), stack.entries["party"].width()) == (2, 2)
    given = stack.resources("party")
    assert (given.memory, given.environment) == ("64m", {"LEVEL": "3"})
