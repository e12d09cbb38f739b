"""The other engines: which versions are installed, and what their apps may import."""

import ast
import re
import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks import peers
from benchmarks.processes import Failed

FOLDER = Path(benchmarks.__file__).parent


@pytest.mark.parametrize("package", ["dbos", "granian", "restate-sdk"])
def test_version_is_the_one_that_is_pinned(package):
    assert re.fullmatch(r"\d+(\.\d+)+", peers.version(package))


def test_package_that_is_not_pinned_has_no_version():
    with pytest.raises(Failed, match="no such-package"):
        peers.version("such-package")


def test_machine_without_a_restate_server_is_told(tmp_path):
    with pytest.raises(Failed, match="there is no npm/"):
        peers.restate_server(tmp_path)


def imported(module: str) -> set[str]:
    """Return what a module and those of this folder that it imports import from elsewhere."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = str(node.module)
            found |= imported(name) if node.level else {name}
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize(("app", "engine"), [("restate_app", "restate"), ("dbos_app", "dbos")])
def test_app_needs_nothing_but_its_engine(app, engine):
    assert imported(app) - sys.stdlib_module_names == {engine}
    assert imported("__init__") == set()
