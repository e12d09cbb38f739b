"""What CONTRIBUTING.md says of the folders and files is so."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:\w+/)+\w*(?:\.\w+)?)`", TEXT))
    assert len(named) > 25
    assert [name for name in sorted(named) if not _is_there(name)] == []


def _is_there(name: str) -> bool:
    return any((ROOT / folder / name).exists() for folder in ("", "runtime", "tests"))


def test_every_module_of_the_runtime_is_named() -> None:
    rooms = TEXT.partition("The rooms of `runtime/`")[2].partition("Arrows point downwards")[0]
    modules = {path.stem for path in (ROOT / "runtime").rglob("*.py")}
    modules -= {"__init__", "build_broker"}
    in_cli = {path.stem for path in (ROOT / "runtime" / "cli").glob("*.py")}
    unnamed = {name for name in modules - in_cli if f"`{name}`" not in rooms}
    assert unnamed <= WEB | TESTING | SIMULATION


# Told by what they are for, not by name.
WEB = {path.stem for path in (ROOT / "runtime" / "web").glob("*.py")}
TESTING = {path.stem for path in (ROOT / "runtime" / "testing").glob("*.py")}
SIMULATION = {path.stem for path in (ROOT / "runtime" / "simulation").glob("*.py")}


ROWS = re.findall(r"(?m)^\| (`\w+/`|flat) \|.*\| ([^|]+) \|$", TEXT)
TOP = ("functions", "runtime", "http", "stacks", "examples", "benchmarks", "tests")


def mirrored(room: str) -> str:
    """Return where the unit tests of a folder or room are."""
    path = room.strip("`")
    return (
        "unit/runtime/"
        if path == "flat"
        else f"unit/{'' if path[:-1] in TOP else 'runtime/'}{path}"
    )


def test_every_folder_and_room_names_its_tests() -> None:
    rooms = {path.name for path in (ROOT / "runtime").iterdir() if (path / "__init__.py").exists()}
    assert {room for room, _ in ROWS} == {f"`{name}/`" for name in {*TOP, *rooms}} | {"flat"}
    named = {name for _, cell in ROWS for name in re.findall(r"`(.+?)`", cell)}
    assert [name for name in sorted(named) if not (ROOT / "tests" / name).exists()] == []
    assert all(re.fullmatch(r"(`[\w/]+(\.py)?` ?)+", cell) for _, cell in ROWS)


def test_unit_tests_mirror_the_folders() -> None:
    folders = {path.parent for path in (ROOT / "tests" / "unit").glob("*/**/test_*.py")}
    told = {name for room, cell in ROWS if f"`{(name := mirrored(room))}`" in cell}
    assert {f"{path.relative_to(ROOT / 'tests')}/" for path in folders} == told


def test_every_dependency_has_a_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert block is not None
    names = re.findall(r'"([a-z0-9-]+)', block.group(1))
    reasons = TEXT.partition("| package | why |")[2]
    assert [name for name in names if not re.search(rf"\b{name}\b", reasons)] == []
