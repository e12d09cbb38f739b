"""What `make` says and does, and what an installing step that fails says to do."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from saga.runtime.kafka.embedded import NOT_BUILT
from support.waiting import DEADLINE

ROOT = Path(__file__).parents[2]
BROKER = "runtime/kafka/broker"
MAKEFILE = (ROOT / "Makefile").read_text()

# A Python that is as old as FAKE_VERSION, and lacks what FAKE_MISSING names.
PYTHON = """\
#!/bin/sh
case "$*" in
  --version) echo "Python $FAKE_VERSION" ;;
  -c*) [ "$FAKE_VERSION" = 3.12.1 ] ;;
  "-m $FAKE_MISSING"*) echo "it said why"; exit 1 ;;
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""

# Installs all but the broker.
BUILDS_NOTHING = """\
#!/bin/sh
case "$*" in
  *wheel*) printf 'Building\\n  go build: no such host\\nand so on\\n' >&2; exit 1 ;;
esac
"""


@pytest.fixture
def clone(tmp_path):
    """A clone as far as installing goes."""
    for folder in ("requirements", BROKER):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder, *arguments, **environment):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def install(clone, version="3.12.1", missing="nothing"):
    (clone / "python").write_text(PYTHON)
    (clone / "python").chmod(0o755)
    done = make(clone, "install", "PYTHON=./python", FAKE_VERSION=version, FAKE_MISSING=missing)
    assert done.returncode != 0
    return done.stderr


def test_make_alone_lists_every_target_with_a_line():
    [phony] = re.findall(r"(?m)^\.PHONY: (.*)", MAKEFILE)
    listed = dict(re.findall(r"(?m)^make (\w+) +(\S.*)$", make(ROOT).stdout))
    assert sorted(listed) == sorted(phony.split())


def test_missing_python_is_told(clone):
    said = make(clone, "install", "PYTHON=no-such-python").stderr
    assert "There is no no-such-python. Install Python 3.11 or newer" in said


def test_old_python_is_told(clone):
    said = install(clone, version="3.9.2")
    assert "Python 3.9.2 is too old, 3.11 or newer is needed: make PYTHON=/path/" in said


def test_missing_venv_module_is_told(clone):
    said = install(clone, missing="venv")
    assert "it said why" in said
    assert "as root: apt-get install python3-venv" in said


def test_failing_download_is_told(clone):
    said = install(clone, missing="pip")
    assert "it said why" in said
    assert "could not be downloaded. Is there a network" in said


def test_vanished_python_is_told(clone):
    (clone / ".venv" / "bin").mkdir(parents=True)
    (clone / ".venv" / "bin" / "uv").touch()
    said = make(clone, "install").stderr
    assert "The Python that .venv was made with is gone. Remove .venv" in said


def steps(clone, target):
    return re.findall(r"requirements/install (\w+)", make(clone, "--dry-run", target).stdout)


@pytest.fixture
def installed(clone):
    """A clone with all that `make install` leaves, from the last minute."""
    (clone / ".venv" / "bin").mkdir(parents=True)
    sources = [*(clone / "requirements").iterdir(), *(clone / BROKER).iterdir()]
    for path in [*sources, clone / "pyproject.toml"]:
        os.utime(path, (0, 0))
    for name in ("bin/uv", ".run", ".dev"):
        (clone / ".venv" / name).touch()
        os.utime(clone / ".venv" / name, (time.time() - 60,) * 2)
    return clone


@pytest.mark.parametrize(
    ("target", "expected"), [("up", ["uv", "run"]), ("test", ["uv", "run", "dev"])]
)
def test_fresh_clone_installs_what_is_needed_alone(clone, target, expected):
    assert steps(clone, target) == expected


@pytest.mark.parametrize("target", ["up", "test", "lint", "containers", "proof"])
def test_what_is_installed_stays(installed, target):
    assert steps(installed, target) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("requirements/uv.txt", ["uv", "run", "dev"]),
        ("requirements/run.txt", ["run", "dev"]),
        ("pyproject.toml", ["run", "dev"]),
        ("requirements/dev.txt", ["dev"]),
        ("runtime/kafka/broker/main.go", ["run", "dev"]),
        ("runtime/kafka/broker/go.sum", ["run", "dev"]),
    ],
)
def test_change_is_installed(installed, changed, expected):
    (installed / changed).touch()
    assert steps(installed, "test") == expected


def test_broker_that_can_not_be_compiled_is_told_and_tried_again(installed):
    (installed / ".venv" / "bin" / "python").write_text(BUILDS_NOTHING)
    (installed / ".venv" / "bin" / "uv").write_text(BUILDS_NOTHING)
    for name in ("python", "uv"):
        (installed / ".venv" / "bin" / name).chmod(0o755)
    (installed / ".venv" / ".run").unlink()
    for _ in range(2):
        done = make(installed, ".venv/.run")
        assert done.returncode == 0, done.stderr
        assert "could not be compiled (go build: no such host): use another one" in done.stderr
    failed = installed / ".venv" / "saga-functions-broker.failed"
    assert failed.read_text() == "go build: no such host\n"


def test_reason_lies_where_the_broker_looks_for_it():
    assert f".venv/{NOT_BUILT}" in (ROOT / "requirements" / "install").read_text()


def test_editors_and_mypy_find_the_package_over_links():
    links = ROOT / ".venv" / "src" / "saga"
    if not links.exists():
        pytest.skip("installed by pip alone")
    found = {link.name: link.resolve() for link in links.iterdir()}
    assert found == {name: ROOT / name for name in ("functions", "runtime", "http", "stacks")}
