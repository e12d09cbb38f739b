"""What is started after each kind of end."""

import json
from pathlib import Path

import pytest

from saga.runtime.system.recovery import Recovery, plan_recovery, read_stacks_of
from saga.runtime.system.wanted import Wanted


def record(*instances: tuple[str, ...]) -> bytes:
    keys = ("deployed", "version", "generation")
    found = {name: dict(zip(keys, of, strict=False)) for name, *of in instances}
    return json.dumps(found).encode()


OLD, NEW = ("a.f", "a.f", "old"), ("a.f-2", "a.f", "new")
AGAIN, AGAIN_TOO = ("a.f-2", "a.f", "old", "forced"), ("a.f-3", "a.f", "old", "forced")
OTHER = ("a.g", "a.g", "old")


@pytest.mark.parametrize(
    ("left", "deployed", "brought_back"),
    [
        ([], "old", []),
        ([OLD, OTHER], "old", ["a.f", "a.g"]),
        ([OLD], "new", ["a.f"]),
        ([OLD, ("a.f-3", "a.f", "old")], None, ["a.f", "a.f-3"]),
        ([OLD, NEW, OTHER], "old", ["a.f", "a.g"]),
        ([OLD, NEW, OTHER], "new", ["a.f-2", "a.g"]),
        ([OLD, NEW], None, ["a.f", "a.f-2"]),
        ([OLD, NEW], "neither", ["a.f", "a.f-2"]),
        ([OLD, AGAIN], "old", ["a.f"]),
        ([OLD, AGAIN, AGAIN_TOO, OTHER], "old", ["a.f-2", "a.f-3", "a.g"]),
        ([OLD, NEW, AGAIN_TOO], "old", ["a.f"]),
    ],
)
def test_what_ran_is_brought_back_without_what_a_deploy_had_left_half_done(
    left: list[tuple[str, ...]], deployed: str | None, brought_back: list[str]
) -> None:
    recovery = plan_recovery(record(*left), lambda _: deployed)
    assert recovery.wanted is not None
    assert list(recovery.wanted) == brought_back
    assert f"(instances: {len(brought_back)}, " in recovery.told
    assert "`saga up --fresh` starts the code as it is now" in recovery.told


def test_nothing_is_brought_back_after_a_clean_end() -> None:
    assert plan_recovery(None, lambda _: None) == Recovery(None, "")


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]", b'{"a.f": {}}', b"\xff\0", record(OLD)[:-9]])
def test_a_damaged_record_is_told_and_the_code_as_it_is_now_is_started(damaged: bytes) -> None:
    recovery = plan_recovery(damaged, lambda _: None)
    assert recovery.wanted is None
    assert "its record is damaged" in recovery.told


def test_a_version_that_cant_be_read_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "stack.toml").write_text('service="a"\npackage="a"\ndatabase="a"\n')
    wanted = [Wanted(deployed="a.f", version="new"), Wanted(deployed="a.g", version="gone")]
    assert [*read_stacks_of(tmp_path, wanted)] == ["a.f"]
