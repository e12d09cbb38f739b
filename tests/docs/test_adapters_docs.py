"""The package of docs/adapters.md, run as it stands."""

import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path

from saga.functions.orchestrator.place_order import place_order
from saga.http import orchestrator, order, product, user
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import SagaStore
from saga.runtime.settings import Settings
from saga.runtime.system.stack import parse_stack
from saga.runtime.web import ProblemType, saga_blueprint
from saga.runtime.web.problem_types import ANYWHERE, OF_SAGAS
from support.api import run_app
from support.missing import need_programs
from support.waiting import DEADLINE

TEXT = (Path(__file__).parents[2] / "docs" / "adapters.md").read_text()
COMMANDS = re.findall(r"<!-- test: curl -->\n```sh\n(.*?)```", TEXT, re.DOTALL)
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
    assert TEXT.count("```") == 2 * (len(FILES) + len(COMMANDS) + 1)


async def _run(command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE)
    told, _ = await process.communicate()
    return process.returncode, told.decode()


def test_sagas_are_followed_as_shown(tmp_path: Path) -> None:
    need_programs("curl", packages="curl")
    with run_app(orchestrator.make_app(Settings(saga_data=tmp_path), lambda _: None)) as api:
        wish = {"user_id": 1, "product_id": 1, "quantity": 1}
        saga_id = api.post("/orders", wish).json["saga_id"]
        reply = Reply(saga_id, "create_order", "do", "rejected", 1, '{"code": "no", "message": ""}')
        SagaStore(SagaRow._meta.database).advance(place_order, [reply], utcnow())
        [commands] = COMMANDS
        for known, of_this in (
            (":8003", f":{api.client.port}"),
            ("localhost", "127.0.0.1"),
            ("SAGA_ID", saga_id),
            ("LAST_ID", "0-0"),
            ("--max-time 60", "--max-time 1"),
        ):
            commands = commands.replace(known, of_this)
        one, new, missed = (api.run(_run(command)) for command in commands.splitlines())
    out_of_time = 28  # curl's exit code
    assert [code for code, _ in (one, new, missed)] == [0, out_of_time, out_of_time]
    assert re.findall("^id: (.*)", one[1], re.MULTILINE) == ["0", "1"]
    assert '"steps":[{"name":"create_order","status":"REJECTED","code":"no"}]' in one[1]
    assert "event:" not in new[1]
    assert missed[1].count(saga_id) == 2


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
