"""What the documents send with `saga invoke` is a command that its function takes."""

import re
import shlex
from pathlib import Path

import pytest

from saga.runtime import body
from saga.runtime.function import Function
from saga.runtime.settings import Settings
from saga.runtime.system.stack import read_stacks

ROOT = Path(__file__).parents[2]
SHOWN = [
    (path, shlex.split(call))
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for call in re.findall(r"(?m)^saga invoke (?:.*\\\n)*.*", path.read_text().replace("\\\n", " "))
]


@pytest.fixture(scope="module")
def functions() -> dict[str, Function]:
    stacks = read_stacks(Settings().saga_stacks)
    hosted = [hosted for stack in stacks for hosted, _ in stack.load()]
    return {one.name: one for one in hosted if isinstance(one, Function)}


def test_there_are_some() -> None:
    assert {path.name for path, _ in SHOWN} >= {"README.md", "deploying.md"}


@pytest.mark.parametrize(("path", "words"), SHOWN, ids=[f"{p.name} {w[2]}" for p, w in SHOWN])
def test_function_takes_what_is_sent(
    path: Path, words: list[str], functions: dict[str, Function]
) -> None:
    _, _, name, option, text = words
    assert option == "--body"
    function = functions.get(name)
    if function is None:
        assert name.startswith("gift.")  # made, deployed and asked by the document's own test
        return
    assert function.command is not None
    assert body.read(function.command, text)
