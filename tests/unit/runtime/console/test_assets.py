"""The files that the console brings along: what they are, and how large."""

from hashlib import sha256

import pytest

from saga.runtime.console.assets import FOLDER

SCRIPTS = 120_000  # bytes that a browser loads at most
PINNED = (FOLDER / "SHA256SUMS").read_text().splitlines()
OTHERS = {name: pin for pin, name in map(str.split, PINNED)}


def test_files_of_others_are_those_that_are_pinned():
    assert {name: sha256((FOLDER / name).read_bytes()).hexdigest() for name in OTHERS} == OTHERS
    assert set(OTHERS) == {"htmx.min.js", "htmx.LICENSE.txt"}


def test_scripts_are_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.js")) <= SCRIPTS


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.[cj]s*")), ids=lambda path: path.name)
def test_no_file_leads_to_another_host(path):
    text = path.read_text()
    assert "sourceMappingURL" not in text
    assert "//" not in text.replace("// ", "") or path.name in OTHERS
