"""The command `saga` is there whatever the order system's files are like."""

import subprocess
import sys

import pytest

BROKEN = (
    "import sys; sys.modules['saga.functions.orchestrator.place_order'] = None; "
    "from saga.stacks.cli import main; sys.argv = ['saga', *sys.argv[1:]]; main()"
)


def saga(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where the order saga can't be imported."""
    return subprocess.run(
        [sys.executable, "-c", BROKEN, *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("name", ["bench", "simulate"])
def test_commands_of_the_orders_say_that_they_cant_be_imported(name: str) -> None:
    done = saga(name)
    assert done.returncode == 1
    assert done.stderr.startswith("saga: the order system can't be imported, see `saga check`:")
    assert "Traceback" not in done.stderr


def test_other_commands_work() -> None:
    assert saga("down", "--help").returncode == 0
    assert "place_order" in saga("check").stdout
