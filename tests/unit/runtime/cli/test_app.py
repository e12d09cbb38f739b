"""What is common to all commands: what they are given, and what they say."""

import pytest

from saga.runtime.cli.app import without_empty


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
