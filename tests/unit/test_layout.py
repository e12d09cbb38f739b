"""Who may import whom, and that folders, packages and the standard library's http get along."""

import ast
import http
import http.client
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["functions", "runtime", "http", "stacks"]
BROKER = ROOT / "runtime" / "kafka" / "broker"  # a distribution of its own
MODULES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if not path.is_relative_to(BROKER)
)
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))  # no part of the package
SERVICES = sorted(
    path.name for path in (ROOT / "functions").iterdir() if (path / "__init__.py").exists()
)
STDLIB = Path(sysconfig.get_path("stdlib"))
# What happens on one saga's way.
CORE = ["function", "message", "envelope", "saga", "transition", "saga_store"]
CORE += ["inbox", "worker", "transport"]
# Which rooms of `runtime/` a room may look into. Its flat modules are what happens to a message and
# to a saga; `client` and the package itself are what users import, and see the whole.
ROOMS = {
    "flat": {"database"},
    "client": {"flat", "database", "kafka", "system"},
    "database": {"flat"},
    "kafka": {"flat"},
    "metrics": {"flat", "database", "kafka"},
    "tracing": {"flat"},
    "system": {"flat", "database", "kafka", "metrics", "web", "console", "tracing"},
    "deploy": {"flat", "kafka", "system"},
    "web": {"flat", "database", "kafka", "metrics"},
    "console": {"flat", "database", "kafka", "web", "metrics", "system", "deploy"},
    "testing": {"flat", "database"},
    "simulation": {"flat", "client", "database", "system", "testing"},
    "authoring": {"flat", "system"},
    "cli": {"flat", "client", "database", "kafka", "system", "deploy", "authoring", "metrics"},
}


@cache
def text(path):
    return path.read_text()


@cache
def tree(path):
    return ast.parse(text(path))


@cache
def imports(path):
    """List what a module imports from `saga`, as `saga.a.b` and `saga.a.b.name`.

    A relative import is written out. One that goes across top-level folders begins with `saga.`,
    one inside of a folder does not: so a border is seen when it is crossed.
    """
    found = set()
    package = ["saga", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
            assert not any(name.split(".")[0] == "saga" for name in names), f"{path}: {names}"
        elif isinstance(node, ast.ImportFrom):
            around = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*around, *filter(None, [node.module])])
            crosses = module.split(".")[:2] != package[:2]
            assert crosses == (not node.level) or not module.startswith("saga"), f"{path}: {module}"
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "saga"}


def outside(names, *allowed):
    """Return those names that are neither allowed nor inside of what is allowed."""
    return {n for n in names if not any(n == a or n.startswith(f"{a}.") for a in allowed)}


def relative(path):
    return str(path.relative_to(ROOT))


def test_standard_librarys_http_wins_here():
    assert Path(http.__file__).is_relative_to(STDLIB)
    assert http.client.HTTPConnection


@pytest.mark.parametrize("root_is", ["the folder", "on PYTHONPATH"])
def test_standard_librarys_http_wins_with_the_root_on_the_path(tmp_path, root_is):
    """Once as `python -c` in the root finds it, once as `python -m pytest` puts it there."""
    code = "import sys, json, http, http.client; print(json.dumps([sys.path[:2], http.__file__]))"
    here = root_is == "the folder"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT if here else tmp_path,
        env=os.environ | {"PYTHONPATH": "" if here else str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    path, file = json.loads(run.stdout)
    assert path[0] == "" if here else str(ROOT) in path
    assert Path(file).is_relative_to(STDLIB)


def test_http_has_no_init_file():
    assert not (ROOT / "http" / "__init__.py").exists()


def test_tests_have_no_init_files():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_packages_listed_are_those_on_disk():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {f"saga.{relative(path.parent).replace('/', '.')}" for path in MODULES}
    assert sorted(project["packages"]) == sorted(on_disk)
    assert project["package-dir"] == {f"saga.{folder}": folder for folder in FOLDERS}


def test_no_module_needs_the_benchmarks():
    lines = [(relative(path), line.strip()) for path in MODULES for line in text(path).splitlines()]
    assert [one for one in lines if one[1].startswith(("import bench", "from bench"))] == []


def test_every_package_but_http_has_an_init_file():
    folders = {path.parent for path in MODULES} - {ROOT / "http"}
    assert [relative(f) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_every_module_has_a_docstring():
    paths = [*MODULES, *BENCHMARKS]
    assert [relative(path) for path in paths if not ast.get_docstring(tree(path))] == []


def test_runtime_knows_no_business():
    paths = sorted((ROOT / "runtime").rglob("*.py"))
    found = {relative(path): outside(imports(path), "saga.runtime") for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def allowed_to(service):
    """Return what a service's functions may import."""
    others = [f"saga.functions.{other}.messages" for other in SERVICES]
    own = [f"saga.functions.{service}.{module}" for module in ("messages", "store", "place_order")]
    return ["saga.runtime", *own, *(others if service == "orchestrator" else [])]


def test_function_reaches_the_messages_and_store_of_its_own_service_alone():
    paths = sorted((ROOT / "functions").rglob("*.py"))
    found = {relative(p): outside(imports(p), *allowed_to(p.parent.name)) for p in paths}
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("name", ["messages", "store"])
@pytest.mark.parametrize("service", ["order", "product", "user"])
def test_messages_and_stores_stand_alone(service, name):
    path = ROOT / "functions" / service / f"{name}.py"
    assert outside(imports(path), "saga.runtime") == set()


def runtime_modules():
    """Return what each module of the runtime imports of the runtime, also inside of functions."""
    paths = {dotted(path): path for path in (ROOT / "runtime").rglob("*.py")}
    named = {module: imports(path) for module, path in paths.items()}
    return {
        module: {n if n in paths else n.rpartition(".")[0] for n in names} & paths.keys()
        for module, names in named.items()
    }


def dotted(path):
    return f"saga.{relative(path.with_suffix('')).replace('/', '.')}".removesuffix(".__init__")


def room(module):
    """Return the room that a module of the runtime is in; None for the package itself."""
    parts = module.split(".")[2:]
    if not parts:
        return None
    if (ROOT / "runtime" / parts[0]).is_dir():
        return parts[0]
    return "client" if parts[0] == "client" else "flat"


def test_no_module_imports_one_that_imports_it():
    graph = runtime_modules()
    ranked = set()
    while free := {module for module in graph if graph[module] <= ranked} - ranked:
        ranked |= free
    assert sorted(graph.keys() - ranked) == []


def test_rooms_look_only_into_those_that_they_may():
    graph = runtime_modules()
    crossed = {
        (room(module), room(other), f"{module} imports {other}")
        for module, others in graph.items()
        for other in others
        if room(module) not in (None, room(other))
    }
    assert [what for here, there, what in sorted(crossed) if there not in ROOMS[here]] == []
    assert {room(module) for module in graph} - {None} == ROOMS.keys()


def test_no_module_is_long():
    lines = {relative(path): text(path).count("\n") for path in [*MODULES, *BENCHMARKS]}
    assert {path: count for path, count in lines.items() if count > 300} == {}


def test_the_core_is_small():
    lines = [(ROOT / "runtime" / f"{name}.py").read_text().count("\n") for name in CORE]
    assert sum(lines) <= 1600


def test_four_services_are_here():
    assert SERVICES == ["orchestrator", "order", "product", "user"]
