"""The package of docs/adapters.md, run as it stands."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

from saga.http import orchestrator, order, product, user
from saga.runtime.system.stack import parse_stack
from saga.runtime.web import ProblemType, saga_blueprint
from saga.runtime.web.problem_types import ANYWHERE, OF_SAGAS
from support.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
FILES = re.findall(r"<!-- test: file (\S+) -->\n```python\n(.*?)```", TEXT, re.DOTALL)


def test_its_tests_pass(tmp_path: Path) -> None:
    (tmp_path / "parcels").mkdir()
    (tmp_path / "parcels" / "__init__.py").touch()
    for name, code in FILES:
        (tmp_path / name).write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_every_block_of_code_is_tested() -> None:
    [toml] = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    stack = parse_stack(toml.encode(), "docs")
    assert f"{str(stack.adapter).replace('.', '/')}.py" in dict(FILES)
    assert TEXT.count("```") == 2 * (len(FILES) + 1)


def test_every_option_of_a_sagas_blueprint_is_there() -> None:
    table = TEXT.partition("| option of `saga_blueprint` | what |\n")[2].partition("\n\n")[0]
    options = [p for p in inspect.signature(saga_blueprint).parameters if p != "saga"]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == options


def test_every_type_of_problem_is_there() -> None:
    adapters = (orchestrator, order, product, user)
    types = [*ANYWHERE, *OF_SAGAS]
    types += [one for app in adapters for one in vars(app).values() if isinstance(one, ProblemType)]
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
    of_ours = {(t.code, str(t.status), t.title, t.about) for t in types}
    assert sorted(told) == sorted(of_ours)
    assert len({code for code, *_ in told}) == len(told)


def test_code_of_a_problem_is_in_snake_case() -> None:
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", one.code) for one in (*ANYWHERE, *OF_SAGAS))
