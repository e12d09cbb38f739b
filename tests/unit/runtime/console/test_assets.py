"""The files that the console brings along: what they are, and how large."""

from hashlib import sha256

import pytest

from saga.runtime.console.assets import FOLDER
from saga.runtime.console.words import length

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


@pytest.mark.parametrize(
    ("microseconds", "written"),
    [
        (0, "0 \N{MICRO SIGN}s"),
        (999, "999 \N{MICRO SIGN}s"),
        (1_000, "1.00 ms"),
        (12_345, "12.3 ms"),
        (999_999, "999 ms"),
        (1_000_000, "1.00 s"),
        (59_999_999, "59.9 s"),
        (60_000_000, "1 min"),
        (125_000_000, "2 min 5 s"),
        (3_600_000_000, "1 h"),
        (3_725_000_000, "1 h 2 min"),
        (90_000_000_000, "1 d 1 h"),
        (-5_000, "\N{MINUS SIGN}5.00 ms"),
    ],
)
def test_lengths_of_time_are_written_shortly(microseconds, written):
    assert length(microseconds) == written
