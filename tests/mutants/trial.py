"""Trials: the tests against one mutant after the other, in a fork of one pytest session each.

The session imports everything once. In a fork, the function takes over the mutant's code, and the
tests that run it are run until one fails. No file is touched, and no test runs in the session
itself: it would leave behind what a mutant must make anew, such as prepared statements.
"""

import contextlib
import gc
import multiprocessing
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import import_module
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from mutants.mutation import Mutant

ROOT = Path(__file__).parents[2]
PATIENCE = 10  # times the CPU time that the tests took before the change
LEAST = 10.0  # seconds of CPU time that the tests have in any case
NONE = -1  # the place of the test that fails, where none does

Where = tuple[str, str]  # a file, and the name of a function in it
Test = tuple[float, int]  # the CPU time it took, and its place among all


class Trials:
    """A pytest plugin: after the collection, `judge` is called with a `Bench` to try mutants on."""

    def __init__(
        self, files: Iterable[str], folder: str, judge: Callable[["Bench"], object]
    ) -> None:
        self.files, self.folder, self.judge = files, folder, judge

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Interrupted("not all tests can be collected")
        functions = live_functions(self.files)
        _start_postgres(session)
        gc.freeze()  # else each fork's first collection would copy all memory
        self.judge(Bench(session, functions, self.folder))
        return True


class Bench:
    """The functions to change, which tests run them, and a folder for what a mutant may write."""

    def __init__(
        self, session: pytest.Session, functions: dict[Where, list[FunctionType]], folder: str
    ) -> None:
        self.session, self.functions, self.folder = session, functions, folder
        self.failed = False
        session.config.pluginmanager.register(self)
        self.tests = self._measured()

    def survives(self, file: str, mutant: Mutant) -> bool:
        """Tell whether all tests pass that run the function."""
        where = file, mutant.function
        functions = self.functions[where]  # not in the fork: its error would be a mutant killed
        tests = self.tests.setdefault(where, [])
        failed: int | None = forked(lambda: self._trial(tests, functions, mutant.code))
        if failed is not None and failed != NONE:
            tests.insert(0, tests.pop(failed))  # what kills one may well kill the next
        return failed == NONE

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice that a test failed."""
        self.failed |= report.failed

    def _trial(self, tests: list[Test], functions: list[FunctionType], code: CodeType) -> int:
        """Run tests until one fails; return its place among them."""
        limit = int(LEAST + PATIENCE * sum(seconds for seconds, _ in tests))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        for function in functions:
            function.__code__ = code
        passed = self._passed(number for _, number in tests)
        return next((place for place, one in enumerate(passed) if not one), NONE)

    def _measured(self) -> dict[Where, list[Test]]:
        """Run each test in a fork of its own: what one has prepared, another would not call."""
        tests: dict[Where, list[Test]] = {}
        for number in range(len(self.session.items)):
            result: tuple[bool, set[Where], float] | None = forked(partial(self._called, number))
            if result is None or not result[0]:
                name = self.session.items[number].nodeid
                raise self.session.Interrupted(f"{name} fails already without a change")
            for where in result[1]:
                tests.setdefault(where, []).append((result[2], number))
        for some in tests.values():
            some.sort()
        return tests

    def _called(self, number: int) -> tuple[bool, set[Where], float]:
        """Run a test; tell whether it passed, which functions it called, and how long it took."""
        codes = {one.__code__: where for where, all_ in self.functions.items() for one in all_}
        called = set()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code in codes:
                called.add(codes[frame.f_code])

        threading.settrace(note)
        sys.settrace(note)
        passed = all(self._passed([number]))
        return passed, called, time.process_time()

    def _passed(self, numbers: Iterable[int]) -> Iterator[bool]:
        """Run tests; tell of each whether it passed."""
        os.chdir(self.folder)
        items = [*(self.session.items[number] for number in numbers), _last(self.session)]
        for item, following in pairwise(items):
            self.failed = False
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            yield not self.failed


def live_functions(files: Iterable[str]) -> dict[Where, list[FunctionType]]:
    """Import the files, and find the functions that were made from them, decorated ones too."""
    names = set(files)
    for name in names:
        import_module(f"saga.{name.removesuffix('.py').replace('/', '.')}")
    found: dict[Where, list[FunctionType]] = {}
    gc.unfreeze()  # it tells of nothing that is frozen
    objects = gc.get_objects()
    gc.freeze()
    for one in objects:
        if isinstance(one, FunctionType) and (file := _file(one.__code__.co_filename)) in names:
            found.setdefault((file, one.__code__.co_qualname), []).append(one)
    return found


@cache
def _file(path: str) -> str:
    return os.path.relpath(os.path.realpath(path), ROOT)


def _start_postgres(session: pytest.Session) -> None:
    """Start the server that the tests share, if there is one, before the first fork needs it."""

    def needs(postgres_url: str) -> None:
        pass

    item = pytest.Function.from_parent(session.items[0].parent, name="needs", callobj=needs)
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=_last(session))


def _last(session: pytest.Session) -> pytest.Item:
    """Return what never runs: while it is to come, what the tests share is kept for the session."""
    return pytest.Function.from_parent(session, name="last", callobj=lambda: None)


def forked(work: Callable[[], Any]) -> Any:
    """Run something, silently, in a fork; return its result, or None where it came to no end."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_silently, args=(work, sender))
    process.start()
    sender.close()
    with contextlib.suppress(EOFError), receiver:
        result = receiver.recv()
        process.join()
        return result
    process.join()
    return None


def _silently(work: Callable[[], Any], sender: Connection) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sender.send(work())
    os._exit(0)
