"""What stays out of an artifact: tests, leftovers, links that lead elsewhere, `.sagaignore`."""

from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import SagaError

IGNORE_FILE = ".sagaignore"

TESTS = ("conftest.py", "test_*.py", "*_test.py")
LEFTOVERS = ("*.pyc", "*~", "#*#", "*.bak", "*.orig", "*.rej")  # Python's, an editor's, `patch`'s


class Ignored:
    """What is not deployed of a package's folder.

    The nearest `.sagaignore` counts, in the folder or above it, but not beyond its git repository;
    its lines are those of a .gitignore. Raises `SagaError` when it can't be read as one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real = folder.resolve()

    def leaves_out(self, path: Path) -> bool:
        """Tell it of something in the folder; a link is judged by what it leads to, too."""
        if not path.is_file():
            return True
        real = path.resolve()
        if not real.is_relative_to(self._real) or self.names(path):
            return True
        return any(map(is_left_out, (path.relative_to(self._folder), real.relative_to(self._real))))

    def names(self, path: Path) -> bool:
        """Tell whether the `.sagaignore` names a file, or what it leads to."""
        for root, patterns in self._patterns:
            places = {path.absolute(), path.resolve()}
            inside = [place.relative_to(root) for place in places if place.is_relative_to(root)]
            return any(patterns.match_file(place.as_posix()) for place in inside)
        return False

    @cached_property
    def _patterns(self) -> list[tuple[Path, Any]]:
        """Return the folder of the `.sagaignore` with its patterns, nothing if there is none."""
        file = _ignore_file(self._real)
        if file is None:
            return []
        # Imported late: most who import us make no version.
        from pathspec import GitIgnoreSpec

        try:
            return [(file.parent, GitIgnoreSpec.from_lines(file.read_text().splitlines()))]
        except (OSError, ValueError) as error:
            raise SagaError(f"{file}: {error}") from error


def is_left_out(path: Path) -> bool:
    """Tell it of a file by its path within the package."""
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    return hidden or any(path.match(pattern) for pattern in (*TESTS, *LEFTOVERS))


def _ignore_file(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / IGNORE_FILE).is_file():
            return place / IGNORE_FILE
        if (place / ".git").exists():
            return None
    return None
