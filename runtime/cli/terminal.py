"""What the terminal shows: words as they are, whoever has written them.

Nothing is mark-up: a style is given apart from its words, as rich's `Text` has it. What would steer
the terminal, or turn the direction of its writing, is shown as a sign instead.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 160  # columns where there is no terminal to ask

STATUS_COLOURS = {
    "COMPLETED": "green",
    "DONE": "green",
    "ready": "green",
    "RUNNING": "cyan",
    "starting": "cyan",
    "PENDING": "dim",
    "COMPENSATING": "yellow",
    "COMPENSATED": "yellow",
    "UNDOING": "yellow",
    "UNDONE": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "stopped": "red",
    "unhealthy": "red",
    "REJECTED": "red",
    "FAILED": "red",
    "UNDO_FAILED": "bold red",
    "UNREADABLE": "bold red",
}

# Control characters as Unicode's pictures of them; others, which have none, as the sign for what
# can't be shown: what turns the direction of writing, and surrogates, for bytes that are no UTF-8.
_SIGNS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"}
_SIGNS[0x7F] = "\N{SYMBOL FOR DELETE}"
for first, last in ((0x80, 0x9F), (0x202A, 0x202E), (0x2066, 0x2069), (0xD800, 0xDFFF)):
    _SIGNS |= dict.fromkeys(range(first, last + 1), "\N{REPLACEMENT CHARACTER}")


class Terminal(Console):
    """A console on which text is text."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a `Text` of words: rich would leave some control characters out of one."""
        return super().render_str(text.translate(_SIGNS), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the pieces of what is printed, with signs for what would steer the terminal."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else Segment(piece.text.translate(_SIGNS), piece.style)


def open_closed_streams() -> None:
    """Open those standard streams that are closed, to nowhere; write what can't be encoded as `?`.

    Else the next file that is opened would be one of them, and be written to by whoever prints.
    """
    for number, mode in enumerate("rww"):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
        name = ("stdin", "stdout", "stderr")[number]
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a test's has not
            stream.reconfigure(errors="replace")


def _terminal(*, stderr: bool = False) -> Terminal:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if stderr or is_terminal else PIPED_WIDTH
    return Terminal(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


open_closed_streams()  # before anybody asks them what they are
console = _terminal()
errors = _terminal(stderr=True)


def coloured(status: str, width: int = 0) -> Text:
    """Return a status in its colour, filled up with blanks to a width in characters."""
    return Text(f"{status.translate(_SIGNS):<{width}}", STATUS_COLOURS.get(status, ""))


def line(*words: str | Text | tuple[str, str]) -> Text:
    """Put a line together from words, and from words with their style: `("saga:", "red")`."""
    return Text.assemble(*map(_clean, words))


def _clean(words: str | Text | tuple[str, str]) -> str | Text | tuple[str, str]:
    if isinstance(words, str):
        return words.translate(_SIGNS)
    return words if isinstance(words, Text) else (words[0].translate(_SIGNS), words[1])


def moment(at: datetime, unit: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """Write a time in UTC as RFC 3339 has it, the same in every command."""
    return at.astimezone(UTC).isoformat(timespec=unit).replace("+00:00", "Z")


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]], *, cut: bool) -> None:
    """Print a line for each row, with a status in its second place, under the columns' names.

    One that is too long for the terminal is `cut`, or else goes on below.
    """
    widths = [max(map(len, words)) for words in zip(columns, *rows, strict=True)]
    for words in (columns, *rows):
        first, status, *others = (f"{w:<{n}}" for w, n in zip(words, widths, strict=True))
        style = STATUS_COLOURS.get(words[1], "")
        shown = line(first, "  ", (status, style), "  ", "  ".join(others))
        if words is columns:
            shown.stylize("bold")
        shown.rstrip()
        if cut:
            shown.truncate(console.width, overflow="ellipsis")
        console.print(shown, soft_wrap=True)


def bare_table(*columns: str) -> Table:
    """Make a table without lines around its cells."""
    return Table(*columns, box=None, header_style="bold", pad_edge=False)
