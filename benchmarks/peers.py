"""The other engines, installed into a folder of their own, each as it is pinned."""

import re
import sys
from pathlib import Path

from .processes import ROOT, Failed, run

PINS = ROOT / "requirements" / "peers.txt"
RESTATE_SERVER = "1.7.12"


def install(folder: Path) -> None:
    """Install the engines' packages from PyPI, and Restate's server from npm; raise `Failed`."""
    python = python_of(folder)
    if not python.exists():
        run([sys.executable, "-m", "venv", folder / "venv"])
    run([python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", PINS])
    package = f"@restatedev/restate-server@{RESTATE_SERVER}"
    npm = folder / "npm"
    npm.mkdir(exist_ok=True)
    run(["npm", "install", "--no-audit", "--no-fund", "--prefix", npm, package])


def python_of(folder: Path) -> Path:
    """Return the Python that has the engines' packages."""
    return folder / "venv" / "bin" / "python"


def restate_server(folder: Path) -> Path:
    """Return Restate's server; raise `Failed` where npm has none for this machine."""
    name = "npm/node_modules/@restatedev/restate-server-*/bin/restate-server"
    for found in folder.glob(name):
        return found
    raise Failed(f"there is no {name} in {folder}")


def version(package: str) -> str:
    """Return the version of a package that is pinned."""
    pin = re.search(rf"(?m)^{package}(?:\[\w+\])?==([\w.]+)", PINS.read_text())
    if pin is None:
        raise Failed(f"{PINS} has no {package}")
    return pin[1]
