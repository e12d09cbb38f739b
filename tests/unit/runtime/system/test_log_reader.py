"""What is read of the logs in a data directory."""

from collections.abc import Generator
from pathlib import Path

import pytest

from saga.runtime.system.log_reader import TAIL, last_lines, last_words, read_logs


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.f.log").write_text("1\n")
    return tmp_path / "logs"


def test_who_follows_hears_of_renamed_and_of_later_logs_each_line_once(logs: Path) -> None:
    read = read_logs(logs.parent, lambda _, deployed: deployed == "a.f", follow=True)
    assert isinstance(read, Generator)
    assert next(read) == ("a.f", "1")
    with (logs / "a.f.log").open("a") as log:
        log.write("2\nhal")
        log.flush()
        assert next(read) == ("a.f", "2")
        log.write("f\n3\n")
    (logs / "a.f.log").rename(logs / "a.f.log.1")
    (logs / "a.f.log").write_text("4\n")
    (logs / "a.f-2.log").write_text("5\n")
    (logs / "a.g.log").write_text("of another\n")
    later = sorted([next(read) for _ in range(4)])
    read.close()
    assert later == [("a.f", "3"), ("a.f", "4"), ("a.f", "half"), ("a.f-2", "5")]


def test_a_line_without_its_end_is_read_where_nobody_waits_for_it(logs: Path) -> None:
    (logs / "a.f.log").write_bytes(b"1\n\xff2")
    read = read_logs(logs.parent, lambda *_: True, follow=False)
    assert [*read] == [("a.f", "1"), ("a.f", "\ufffd2")]


def test_last_lines_are_read_from_the_end_with_the_one_that_is_half_written(logs: Path) -> None:
    log = logs / "a.f.log"
    log.write_text("".join(f"{n}\n" for n in range(99_999)) + "half")
    assert last_lines(log, 3) == ["99997", "99998", "half"]
    log.write_text("1\n2\n")
    assert last_lines(log, 1) == ["2"]
    assert last_lines(log, 9) == ["1", "2"]


def test_last_lines_go_on_in_what_was_written_before(logs: Path) -> None:
    log = logs / "a.f.log"
    (logs / "a.f.log.2").write_text("a\nb\n")
    (logs / "a.f.log.1").write_text("c\n")
    log.write_text("")
    assert last_lines(log, 2) == ["b", "c"]
    assert last_lines(log, 3) == ["a", "b", "c"]


def test_last_lines_are_of_so_many_bytes(logs: Path) -> None:
    log = logs / "a.f.log"
    (logs / "a.f.log.1").write_text(f"first\n{'x' * TAIL}\n")
    log.write_text("last\n")
    cut, last = last_lines(log, 9)
    assert (cut, last) == ("x" * (TAIL - 6), "last")


def test_log_that_is_not_there_has_no_last_lines(logs: Path) -> None:
    (logs / "a.g.log").touch()
    assert last_lines(logs / "a.g.log", 9) == last_lines(logs / "a.h.log", 9) == []


TRACEBACK = """
Traceback (most recent call last):
  File "x.py", line 1, in <module>
ValidationError: 1 validation error for ConnectionConfig
security_protocol
  Input should be 'plaintext' or 'ssl'
    For further information visit https://errors.pydantic.dev/
"""


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("begun\nsaga: the port is taken\n", "the port is taken"),
        (f"saga: why\n{TRACEBACK}", "why"),
        (TRACEBACK, "ValidationError: 1 validation error for ConnectionConfig"),
        ("killed\n\n", "killed"),
        ("", ""),
    ],
)
def test_last_words_are_what_a_person_can_read(log: str, told: str) -> None:
    assert last_words(log) == told
