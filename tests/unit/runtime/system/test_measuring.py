"""The process that serves a system's metrics is there where it can be, and in nobody's way."""

import logging
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest

from saga.runtime.address import listen
from saga.runtime.settings import Settings
from saga.runtime.system.measuring import COUNTS, metrics_process


def test_where_metrics_are_off_there_is_no_process(tmp_path: Path) -> None:
    settings = Settings(saga_metrics_port=0)
    assert metrics_process(settings, tmp_path, get_context("forkserver")) == []


def test_taken_port_is_told_in_one_line_and_keeps_nothing_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with listen("127.0.0.1", 0) as taken, caplog.at_level(logging.WARNING):
        port = taken.getsockname()[1]
        settings = Settings(saga_metrics_port=port)
        assert metrics_process(settings, tmp_path, get_context("forkserver")) == []
    assert caplog.messages == [
        f"no metrics are served, as port {port} on 127.0.0.1 can't be had: Address already in use; "
        "SAGA_METRICS_PORT names another, or 0"
    ]


def test_system_begins_to_count_at_0(tmp_path: Path) -> None:
    (tmp_path / COUNTS).mkdir()
    (tmp_path / COUNTS / "counter_user.pay.db").write_text("of an earlier run")
    metrics_process(Settings(saga_metrics_port=0), tmp_path, get_context("forkserver"))
    assert not (tmp_path / COUNTS).exists()


def test_supervisor_and_its_processes_import_nothing_that_counts() -> None:
    """And an adapter without sagas imports no console, and the supervisor no database's driver."""
    code = """
import sys
import saga.runtime.system.supervisor
print([name for name in ("peewee", "psycopg", "quixstreams", "sanic") if name in sys.modules])
import saga.runtime.system.host, saga.runtime.web, saga.http.user
from saga.runtime.console.mounting import mount
from saga.runtime.settings import Settings
mount(saga.http.user.make_app(Settings()), Settings())
unwanted = ("prometheus", "saga.runtime.metrics.", "jinja2")
print([name for name in sys.modules if name.startswith(unwanted)])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n[]\n"
