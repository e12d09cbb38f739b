"""What `saga logs` prints of the logs in a data directory."""

from pathlib import Path

import pytest

from support.command import run_saga

SAGA = "0199aa"
FIRST = f"2026-01-01T00:00:01.000000Z INFO    w [{SAGA}]: baked"
SECOND = f'{{"time": "2026-01-01T00:00:02.000000Z", "message": "b", "saga_id": "{SAGA}"}}'
THIRD = f"2026-01-01T00:00:03.000000Z ERROR   w: {SAGA}/bake/do failed"
OTHERS = "2026-01-01T00:00:02.000000Z INFO    w [0199ab]: baked"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "a.f.log").write_text(f"{OTHERS}\n{THIRD}\n    Traceback\nchat\n")
    (folder / "a.f.log.1").write_text(f"{FIRST}\n")
    (folder / "b.g.log").write_text(f"{SECOND}\nno JSON\n")
    return tmp_path


def told(logs: Path, *words: str) -> list[str]:
    done = run_saga(["logs", *words, "--data", str(logs)], {})
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_sagas_lines_are_told_in_order_of_time_whichever_file_and_format_they_are_in(logs):
    assert told(logs, "--saga", SAGA.upper()) == [
        f"a.f | {FIRST}",
        SECOND,
        f"a.f | {THIRD}",
        "a.f |     Traceback",
    ]
    assert told(logs, "b.g", "--saga", SAGA) == [SECOND]


def test_a_line_of_json_stays_one_beside_what_is_none(logs):
    assert told(logs)[-2:] == [SECOND, "b.g | no JSON"]


def test_a_saga_that_nothing_was_logged_of_is_told(logs):
    done = run_saga(["logs", "--saga", "0199", "--data", str(logs)], {})
    assert (done.returncode, done.stderr) == (1, "saga: no log has a line of saga 0199\n")
