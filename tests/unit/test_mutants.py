"""The mutants of `make mutants`: small changes that are changes."""

import ast
import gc
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from mutants.mutation import mutants
from mutants.trial import Bench, live_functions

ROOT = Path(__file__).parents[2]
CONFIGURATION = tomllib.loads((ROOT / "tests/mutants/mutants.toml").read_text())


def bodies(*lines):
    """Return what becomes of a function's only line."""
    source = "def f(a, b):\n" + "".join(f"    {line}\n" for line in lines)
    return {mutant.after for mutant in mutants(source, "f.py")}


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("return a < b", {"return", "return a <= b", "return a >= b"}),
        ("return a and b", {"return", "return a", "return b", "return a or b"}),
        ("return not a", {"return", "return a"}),
        ("return a + 1", {"return", "return a - 1", "return a + 2"}),
        ("return True", {"return", "return False"}),
        ("return 'a'", {"return", "return 'aXX'"}),
        ("return f'a{b}'", {"return", "return 'XX'"}),
        ("return a if b else 0", {"return", "return a", "return 0", "return a if b else 1"}),
        ("return {'a': b}", {"return", "return {}", "return {'aXX': b}"}),
        ("return [a, b]", {"return", "return [a]", "return [b]"}),
        ("a.b(a, c=b)", {"pass", "a.b(None, c=b)", "a.b(a)", "a"}),
        ("return a.b().c()", {"return", "return a.b()", "return a.c()"}),
        ("a += b", {"a -= b", "pass"}),
        ("a.b = b", {"pass"}),
        ("if a: b()", {"if not a:", "pass"}),
        ("while a in b: pass", {"while a not in b:"}),
        ("with a: b()", {"if True:", "pass"}),
        ("raise a", {"pass"}),
    ],
)
def test_changes_of(line, changed):
    assert bodies(line) == changed


@pytest.mark.parametrize("line", ["'''Say it.'''", "log.error('no %s', a)", "a: dict[str, int]"])
def test_what_is_said_or_declared_stays(line):
    assert bodies(line) == set()


def test_decorators_and_defaults_stay():
    source = "@cache(1)\ndef f(a=1):\n    return a"
    assert {mutant.after for mutant in mutants(source, "f.py")} == {"return"}


def test_method_is_named_with_its_class():
    source = "class A:\n    class B:\n        def f(self):\n            return 1"
    assert {mutant.function for mutant in mutants(source, "f.py")} == {"A.B.f"}


def test_mutant_is_the_functions_code():
    def f(a):
        return a + 1

    (less,) = (m for m in mutants("def f(a):\n    return a + 1", "f.py") if "-" in m.after)
    f.__code__ = less.code
    assert f(3) == 2


@pytest.mark.parametrize(("failing", "then"), [({2, 3}, [2, 1, 3]), (set(), [1, 2, 3])])
def test_test_that_kills_a_mutant_is_the_first_for_the_next(monkeypatch, failing, then):
    def f(a):
        return a + 1

    bench, where = object.__new__(Bench), ("f.py", "f")
    bench.functions = {where: [f]}  # type: ignore[list-item]
    bench.tests = {where: [(0.1, number) for number in (1, 2, 3)]}
    monkeypatch.setattr(bench, "_passed", lambda tests: (number not in failing for number in tests))
    mutant = next(mutants("def f(a):\n    return a + 1", "f.py"))
    assert bench.survives("f.py", mutant) is not bool(failing)
    assert [number for _, number in bench.tests[where]] == then


def test_source_is_as_before_after_all_mutants():
    path = ROOT / "runtime/inbox.py"
    first = [(m.label, m.code) for m in mutants(path.read_text(), str(path))]
    assert first == [(m.label, m.code) for m in mutants(path.read_text(), str(path))]
    assert max(Counter(label for label, _ in first).values()) == 1


def _only(named, holder, prefix=""):
    """Leave nothing in a module, or a class, but the functions of these names: others take long."""
    body = []
    for node in holder.body:
        name = f"{prefix}{getattr(node, 'name', '')}"
        if isinstance(node, ast.ClassDef):
            body += [_only(named, node, f"{name}.")]
        elif name in named:
            body += [node]
    holder.body = body or [ast.Pass()]
    return holder


@pytest.mark.parametrize("file", CONFIGURATION["survivors"])
def test_survivors_with_a_reason_are_mutants(file):
    survivors = CONFIGURATION["survivors"][file].keys()
    named = {label.partition(": ")[0] for label in survivors}
    changed = ast.unparse(_only(named, ast.parse((ROOT / file).read_text())))
    made = {mutant.label for mutant in mutants(changed, file)}
    assert survivors - made == set()


def test_functions_to_change_are_found_though_they_are_frozen():
    file = "runtime/inbox.py"
    live_functions([file])
    gc.freeze()
    found = {name for _, name in live_functions([file])}
    assert {mutant.function for mutant in mutants((ROOT / file).read_text(), file)} <= found
