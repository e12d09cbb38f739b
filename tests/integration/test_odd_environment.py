"""A system starts, deploys and stops where nothing is as it usually is."""

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from saga.runtime.settings import Settings
from support.command import SAGA
from support.system import ROOT, lay_out
from support.waiting import DEADLINE

NOWHERE = "127.0.0.1:9"
PROXIES = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy"), f"http://{NOWHERE}")
PROXIES |= dict.fromkeys(("all_proxy", "ALL_PROXY"), f"socks5://{NOWHERE}")
EMPTY = {name.upper(): "" for name in Settings.model_fields}


def loopback() -> str:
    """Return an IPv6 address of this machine's own, or else another than the usual one."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return "::1"
    except OSError:
        return "127.0.0.2"


def read_only() -> list[str]:
    """Return what runs a command for which the checkout, with all that is installed, can't change.

    It is nothing where no file system may be mounted.
    """
    mount = f"mount --bind {ROOT} {ROOT} && mount -o remount,ro,bind {ROOT}"
    apart = (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    )
    tried = subprocess.run([*apart, "sh", "-c", mount], stderr=subprocess.DEVNULL)
    return [*apart, "sh", "-c", f'{mount} && exec "$@"', "sh"] if tried.returncode == 0 else []


CLOSED = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]


@pytest.mark.proof
def test_all_is_done_under_odd_names_variables_and_files(tmp_path: Path) -> None:
    system = lay_out(tmp_path / "größer als gedacht")
    user = system.stacks / "user.toml"
    (system.stacks / "._user.toml").write_bytes(b"\0\5\x16\7")
    (system.stacks / ".#user.toml").symlink_to("nobody@nowhere:1")
    user.write_text("\ufeff" + user.read_text())
    temporary = tmp_path / ("t" * 100)
    temporary.mkdir()
    odd = {
        "LC_ALL": "C",
        "TMPDIR": str(temporary),
        "SAGA_HOST": loopback(),
        "SAGA_STACKS": "stacks",
    }
    usual = {name: value for name, value in os.environ.items() if name != "HOME"}
    environment, unchanged = {**usual, **PROXIES, **EMPTY, **odd}, read_only()

    def saga(*arguments: str, through: Sequence[str] = ()) -> str:
        done = subprocess.run(
            [*unchanged, *through, SAGA, *arguments],
            env=environment,
            cwd=system.stacks.parent,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def version() -> Any:
        [line] = [line for line in saga("ps").splitlines() if "user.refund_payment" in line]
        return line.split()[2]

    saga("up", "--detach", through=CLOSED)
    try:
        assert "Ada had 100.00 and has 60.02." in saga("demo")
        before = version()
        table = "[functions.refund_payment]\n"
        user.write_text(user.read_text().replace(table, f'{table}environment = {{ A = "1" }}\n'))
        saga("deploy", "user.refund_payment")
        assert version() != before
        saga("rollback", "user.refund_payment")
        assert version() == before
    finally:
        assert saga("down") == "Stopped.\n"
    assert (system.stacks.parent / ".saga").is_dir()
    assert list(temporary.iterdir()) == []
