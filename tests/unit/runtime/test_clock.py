"""How a length of time is written."""

import pytest

from saga.runtime.clock import length


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
