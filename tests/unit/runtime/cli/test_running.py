"""Where a system can be started, how it is shown, and what is left alone."""

import io
import subprocess
import sys
from collections.abc import Callable

import pytest

from saga.runtime.cli import running
from saga.runtime.cli.running import up
from saga.runtime.cli.terminal import Terminal
from saga.runtime.deploy.target import Instance
from saga.runtime.errors import SagaError
from saga.runtime.system.state import is_locked, lock_system
from support.command import run_saga
from support.waiting import DEADLINE

READING = ["check", "deployments user", "dlq list", "down", "invoke user.refund_payment --data {}"]
READING += ["logs", "ps", "sagas", "show x"]


@pytest.mark.parametrize("detach", [False, True])
def test_up_is_refused_where_it_can_not_run(tmp_path, monkeypatch, detach):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SagaError, match=r"^saga up needs Linux, macOS or WSL$"):
        up(data=tmp_path / "data", detach=detach)
    assert list(tmp_path.iterdir()) == []


def test_command_line_needs_nothing_that_only_unix_has():
    code = "import sys; sys.modules['fcntl'] = None; import saga.stacks.cli"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=DEADLINE)


INSTANCES = [
    Instance("order.create_order", "order.create_order", "function", "86a99af269ec7d", "ready"),
    Instance(
        "product.release_product-12",
        "product.release_product",
        "function",
        "86a99af269ec7d",
        "restarting",
        restarts=117,
        pid=4_194_304,
        where="order.events product.events user.events",
    ),
]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def show(*, wide: bool) -> list[str]:
        out = io.StringIO()
        monkeypatch.setattr(running, "console", Terminal(file=out, width=80, markup=False))
        running.show(INSTANCES, wide=wide)
        return out.getvalue().splitlines()

    return show


def test_80_columns_hold_a_line_for_each_instance(shown: Callable[..., list[str]]) -> None:
    heading, *lines = shown(wide=False)
    assert heading.split() == ["NAME", "STATE", "VERSION", "RESTARTS", "WHERE"]
    assert [line.split()[:4] for line in lines] == [
        ["order.create_order", "ready", "86a99af269ec", "0"],
        ["product.release_product-12", "restarting", "86a99af269ec", "117"],
    ]
    assert lines[1].endswith("  117       order.events pr…")
    assert max(map(len, lines)) == 80


def test_all_that_is_known_is_shown_where_it_is_asked_for(
    shown: Callable[..., list[str]],
) -> None:
    heading, *lines = shown(wide=True)
    assert heading.split()[-3:] == ["KIND", "PID", "WHERE"]
    assert lines[1].split()[4:] == ["function", "4194304", *INSTANCES[1].where.split()]


@pytest.mark.parametrize("words", READING)
def test_a_command_that_reads_makes_nothing(tmp_path, words):
    run_saga(words.split(), {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["ps", "ps --data="])
def test_an_empty_variable_is_not_the_current_folder(tmp_path, words):
    with lock_system(tmp_path):
        told = run_saga(words.split(), {"SAGA_DATA": ""}, tmp_path).stderr
        assert is_locked(tmp_path)
    assert told == "saga: no system runs on .saga: start one with `saga up`\n"
