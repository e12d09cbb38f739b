"""Where a system can be started, and how it is shown."""

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
from support.waiting import DEADLINE


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
