"""The moments of an attempt, as a reply carries them, and what lies between them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saga.runtime import stamps
from saga.runtime.stamps import Parts, Stamps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
STAMPS = st.builds(Stamps, *[MOMENTS] * 5)


def at(*milliseconds: int) -> list[datetime]:
    return [NOON + timedelta(milliseconds=n) for n in milliseconds]


@given(STAMPS)
def test_what_is_written_is_read(stamped: Stamps) -> None:
    assert stamps.read(stamps.write(stamped).decode()) == stamped


@given(STAMPS, MOMENTS)
def test_parts_add_up_to_the_whole_time(stamped: Stamps, applied: datetime) -> None:
    """Also where the clocks of hosts differ, so that a part is below zero."""
    assert sum(stamps.parts(stamped, applied), timedelta()) == applied - stamped.sent


def test_each_part_lies_between_two_moments() -> None:
    found = stamps.parts(Stamps(*at(0, 1, 3, 6, 10)), *at(15))
    assert found == Parts(*[timedelta(milliseconds=n) for n in (1, 2, 3, 4, 5)])


def test_clock_that_is_behind_makes_a_part_negative() -> None:
    assert stamps.parts(Stamps(*at(0, -40, -39, -38, -37)), *at(5)).queue < timedelta()


@pytest.mark.parametrize(
    "value", [None, "", "1 2 3 4", "1 2 3 4 5 6", "a b c d e", f"1 2 3 4 {10**30}", "1" * 200]
)
def test_header_of_somebody_else_is_no_stamps(value: str | None) -> None:
    assert stamps.read(value) is None


@pytest.mark.parametrize("sent", ["", "now", "2026-01-01T12:00:00"])
def test_command_that_tells_no_time_has_no_stamps(sent: str) -> None:
    assert stamps.stamped(sent, at(1, 2, 3, 4)) is None


def test_command_is_sent_when_it_says() -> None:
    assert stamps.stamped(NOON.isoformat(), at(1, 2, 3, 4)) == Stamps(*at(0, 1, 2, 3, 4))
