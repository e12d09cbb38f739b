"""What a client hears of its saga: no answer contradicts one before it."""

from itertools import product

import pytest

from saga.runtime.errors import SagaError
from saga.runtime.testing.request import MAY_FOLLOW, Request

STATUSES = ("RUNNING", "COMPENSATING", "COMPLETED", "COMPENSATED", "FAILED")
GOES_ON = {
    *(("RUNNING", after) for after in STATUSES),
    *product(("COMPENSATING", "FAILED"), ("COMPENSATING", "COMPENSATED", "FAILED")),
    ("COMPLETED", "COMPLETED"),
    ("COMPENSATED", "COMPENSATED"),
}


@pytest.mark.parametrize("status", STATUSES)
def test_anything_may_be_heard_first(status: str) -> None:
    request = Request({}, told=["s1"])
    request.hear(status)
    assert request.heard == status


@pytest.mark.parametrize(("before", "after"), [*product(STATUSES, STATUSES)])
def test_end_stays_and_nothing_goes_back(before: str, after: str) -> None:
    request = Request({}, told=["s1"], heard=before)
    if (before, after) in GOES_ON:
        request.hear(after)
        assert request.heard == after
    else:
        with pytest.raises(SagaError, match=f"^saga s1 was {before}, and is {after}$"):
            request.hear(after)
        assert request.heard == before


def test_every_status_has_its_followers() -> None:
    assert set(MAY_FOLLOW) == {None, *STATUSES}
