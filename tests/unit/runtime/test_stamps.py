"""The moments of an attempt, as a reply carries them, and what lies between them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import stamps
from saga.runtime.clock import microseconds
from saga.runtime.stamps import Parts, Stamps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT_NOON = 1_767_268_800_000_000
MOMENTS = st.datetimes(datetime(1960, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


def at(*milliseconds: int) -> list[int]:
    return [AT_NOON + n * 1000 for n in milliseconds]


@given(st.builds(Stamps, *[st.integers(-(10**15), 10**17 - 1)] * 5))
def test_what_is_written_is_read(stamped: Stamps) -> None:
    assert stamps.read(stamps.write(stamped).decode()) == stamped


@given(MOMENTS, st.lists(MOMENTS, min_size=4, max_size=4), MOMENTS)
def test_parts_add_up_to_the_whole_time(
    sent: datetime, later: list[datetime], applied: datetime
) -> None:
    """To the microsecond, also where the clocks of hosts differ, so that a part is below zero."""
    stamped = stamps.stamped(sent.isoformat(), *map(microseconds, later))
    assert stamped is not None
    assert sum(stamps.parts(stamps.between(stamped, applied)), timedelta()) == applied - sent


def test_each_part_lies_between_two_moments() -> None:
    stamped = stamps.stamped(NOON.isoformat(), *at(1, 3, 6, 10))
    assert stamped == Stamps(*at(0, 1, 3, 6, 10))
    found = stamps.parts(stamps.between(stamped, NOON + timedelta(milliseconds=15)))
    assert found == Parts(*[timedelta(milliseconds=n) for n in (1, 2, 3, 4, 5)])


def test_clock_that_is_behind_makes_a_part_negative() -> None:
    stamped = stamps.stamped(NOON.isoformat(), *at(-40, -39, -38, -37))
    assert stamped is not None
    assert stamps.parts(stamps.between(stamped, NOON)).queue == timedelta(milliseconds=-40)


@pytest.mark.parametrize(
    "value", [None, "", "1 2 3 4", "1 2 3 4 5 6", "a b c d e", "1 2 3 4 5.0", f"1 2 3 4 {10**17}"]
)
def test_header_of_somebody_else_is_no_stamps(value: str | None) -> None:
    assert stamps.read(value) is None


@pytest.mark.parametrize("sent", ["", "now", "2026-01-01T12:00:00"])
def test_command_that_tells_no_time_has_no_stamps(sent: str) -> None:
    assert stamps.stamped(sent, *at(1, 2, 3, 4)) is None


@pytest.mark.parametrize("given", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [10**30] * 5])
def test_what_is_no_parts_is_refused(given: list[int]) -> None:
    with pytest.raises((TypeError, OverflowError)):
        stamps.parts(given)
