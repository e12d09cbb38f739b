"""Where a system can be started."""

import subprocess
import sys

import pytest

from saga.runtime.cli.running import up
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
