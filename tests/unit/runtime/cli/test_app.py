"""What is common to all commands: what they are given, and what they say."""

import os
import subprocess

import pytest

from saga.runtime.cli.app import without_empty
from support.command import SAGA
from support.waiting import DEADLINE


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["up", "--data", "", "-d"], ["up", "-d"]),
        (["up", "--data="], ["up"]),
        (["ps", "-t", "", "--data", "a"], ["ps", "--data", "a"]),
        (["up", "--broker", "", "--data", ""], ["up"]),
        (["invoke", "a.b", "--body", "{}", "--data="], ["invoke", "a.b", "--body", "{}"]),
        (["skip", "x", "y", "--reason", ""], ["skip", "x", "y", "--reason", ""]),
        (["new", ""], ["new", ""]),
        ([""], [""]),
        ([], []),
    ],
)
def test_an_option_of_a_setting_without_a_value_counts_as_not_given(given, kept):
    assert without_empty(given) == kept


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["check"], ["--version"], ["check", "--json"]])
def test_a_full_disk_under_standard_output_is_told(words, tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [SAGA, *words],
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
        )
    told = "saga: No space left on device, be it for standard output or in the data directory\n"
    assert (done.returncode, done.stderr) == (1, told)
