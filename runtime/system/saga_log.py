"""The lines of many logs by their times, and those of one saga out of them.

A record begins with its time, be it text or JSON, and what belongs to it is indented below. All
else was written by somebody who knows of no saga: it is a line of its own.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_BEGINS = re.compile(r'(?:\{"time": ")?(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)Z')

Line = tuple[str, str]  # an instance's name, and what it has logged


class Dated(NamedTuple):
    """A line, and when its record was logged: that before it, for a line without a time."""

    time: str
    name: str
    text: str


def is_json(line: str) -> bool:
    """Tell whether a line is a record that was logged as JSON."""
    return line.startswith('{"time": "')


def dated(lines: Iterable[Line]) -> Iterator[Dated]:
    """Go through lines with the times of their records."""
    times: dict[str, str] = {}
    for name, text in lines:
        if begins := _BEGINS.match(text):
            times[name] = begins[1]
        yield Dated(times.get(name, ""), name, text)


def lines_of(saga_id: str, lines: Iterable[Line]) -> Iterator[Dated]:
    """Go through those lines that tell of a saga, with the tracebacks that belong to them."""
    whole = re.compile(rf"(?<![\w-]){re.escape(saga_id)}(?![\w-])")
    told: dict[str, bool] = {}  # whether what was logged last is the saga's
    for line in dated(lines):
        if not line.text[:1].isspace():
            told[line.name] = saga_id in line.text and whole.search(line.text) is not None
        if told.get(line.name):
            yield line


def saga_log(
    saga_id: str, read: Callable[[bool], Iterable[Line]], *, follow: bool
) -> Iterator[Line]:
    """Go through a saga's lines in the order of their times; then, to `follow`, as they come.

    `read` goes through all lines, and with true goes on as lines come.
    """
    found = sorted(lines_of(saga_id, read(False)), key=lambda line: line[:2])
    yield from ((line.name, line.text) for line in found)
    if follow:
        shown = Counter(found)
        for line in lines_of(saga_id, read(True)):
            if shown[line]:
                shown[line] -= 1
            else:
                yield line.name, line.text
