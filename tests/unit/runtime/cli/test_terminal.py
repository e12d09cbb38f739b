"""Words are shown as they are, whoever has written them, and never steer the terminal."""

import io
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from saga.runtime.cli.terminal import Terminal, bare_table, coloured, console, line, moment

STEERING = "a\x1b[31m\x07\r\x9b\x7f\u202eb\udcff"
SHOWN = "a␛[31m␇␍�␡�b�"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """Print something, and return what has come out."""

    def show(what: Any) -> str:
        out = io.StringIO()
        monkeypatch.setattr(console, "_file", out)  # `file` would stay what it is now
        console.print(what, soft_wrap=True)
        return out.getvalue().removesuffix("\n")

    return show


@pytest.mark.parametrize(
    "text", ["sku[/7]", "price[eu]", "[red]no[/]", "urn:id:Refund", ":key:", "\\[x]", "[link=x]y"]
)
@pytest.mark.parametrize("shape", ["text", "line", "styled", "cell", "heading", "status"])
def test_nothing_is_taken_for_mark_up(shown: Callable[[Any], str], text: str, shape: str) -> None:
    table = bare_table(text if shape == "heading" else "X")
    table.add_row(text)
    shapes: dict[str, Any] = {
        "text": text,
        "line": line("a ", text),
        "styled": line((text, "bold red")),
        "cell": table,
        "heading": table,
        "status": coloured(text),
    }
    assert text in shown(shapes[shape])


@pytest.mark.parametrize("shape", [str, line, coloured])
def test_what_steers_the_terminal_is_shown_as_a_sign(
    shown: Callable[[Any], str], shape: Callable[[str], Any]
) -> None:
    assert shown(shape(STEERING)) == SHOWN


def test_lines_and_tabs_are_kept(shown: Callable[[Any], str]) -> None:
    assert shown(line("a\n\tb")) == "a\n        b"


def test_styles_are_for_terminals() -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=True, color_system="standard", markup=False)
    terminal.print(line(("saga:", "red"), " [/]\x1b"))
    assert out.getvalue() == "\x1b[31msaga:\x1b[0m [/]␛\n"


def test_status_is_filled_up() -> None:
    assert coloured("DONE", 6).plain == "DONE  "
    assert coloured("DONE").style == "green"


CLOSED = """
import os
for number in {closed}:
    os.close(number)
import sys
sys.stdin = sys.stdout = sys.stderr = None
from saga.runtime.cli.terminal import console, errors
with open({path!r}, "w") as file:
    console.print("out \\udcff")
    errors.print("err")
    print(sys.stdin.read() == "")
    file.write("file")
"""


@pytest.mark.parametrize("closed", [(1,), (0, 1), (2,), (0, 1, 2)])
def test_closed_stream_is_no_file_that_is_opened_next(closed: tuple[int, ...], tmp_path) -> None:
    path = tmp_path / "file"
    code = CLOSED.format(closed=closed, path=str(path))
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL)
    assert path.read_text() == "file"


def test_times_are_told_in_utc_as_rfc_3339_has_them() -> None:
    at = datetime(2026, 1, 1, 0, 30, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert moment(at) == "2025-12-31T23:30:00Z"
    assert moment(at, "milliseconds") == "2025-12-31T23:30:00.123Z"
