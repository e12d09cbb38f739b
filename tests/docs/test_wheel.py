"""The wheel, installed where there is nothing else, does what the README says of a gift."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.waiting import DEADLINE

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SOURCES = ["LICENSE", "README.md", "pyproject.toml", "functions", "runtime", "http", "stacks"]
UV = Path(sys.executable).with_name("uv")

Run = Callable[[str], subprocess.CompletedProcess[str]]


def uv(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (UV, *arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0 or not check, done.stderr
    return done


def install(python: Path, *what: object) -> None:
    """Install from what uv has downloaded already, or else from the network."""
    command = ["pip", "install", "--python", python, *what]
    if uv(*command, "--offline", check=False).returncode:
        uv(*command)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel and pytest."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, as building leaves files among the sources
    source.mkdir()
    for path in [ROOT / name for name in SOURCES]:
        if path.is_dir():
            shutil.copytree(path, source / path.name)
        else:
            shutil.copy(path, source)
    build = ["--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder]
    uv("build", *build, source)
    [wheel] = folder.glob("*.whl")
    uv("venv", "--python", sys.executable, folder / "environment")
    binaries = folder / "environment" / "bin"
    locks = ["-r", ROOT / "requirements" / "run.txt", "-c", ROOT / "requirements" / "dev.txt"]
    install(binaries / "python", wheel, "pytest", *locks)
    # The broker's wheel, as `make install` has compiled it.
    install(binaries / "python", *(ROOT / ".venv" / "broker").glob("*.whl"))
    return binaries


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the README shows."""
    folder = tmp_path_factory.mktemp("project")
    shown = re.compile(r"<!-- test: file (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
    for name, code in shown.findall(README):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def run(programs: Path, project: Path) -> Run:
    """Run a command there, as if nobody had ever heard of the clone."""
    known = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
    environment = known | {"PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin"}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-ec", command],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )

    return run


def test_package_comes_from_the_wheel(run: Run, programs: Path) -> None:
    done = run("python -c 'import saga; print(*saga.__path__, sep=chr(10))'")
    [found] = done.stdout.splitlines()
    assert Path(found).is_relative_to(programs.parent)


def test_the_readmes_commands_work(run: Run) -> None:
    [block] = re.findall(r"```sh\n(saga check .*?)```", README, re.DOTALL)
    try:
        done = run(block)
    finally:
        run("saga down || true")
    assert done.returncode == 0, done.stdout + done.stderr
    told = ["1 function, 1 saga, no problems.", "gift.give ", "COMPLETED", "made ", "2 passed"]
    places = [done.stdout.find(text) for text in [*told, "Stopped."]]
    assert places == sorted(places), done.stdout
    assert places[0] >= 0
    assert "2 functions, 1 saga" in run("saga check").stdout
