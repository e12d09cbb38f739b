"""How many traces are kept that begin in one process."""

import pytest
from opentelemetry.trace import SpanKind

from saga.runtime.tracing.sampling import AtMost


class Asked:
    """A sampler that keeps five a second, and its clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sampler = AtMost(5, lambda: self.now)

    def kept(self, times: int, name: str = "POST /orders", kind: SpanKind = SpanKind.SERVER) -> int:
        asked = [self.sampler.should_sample(None, n, name, kind, {"n": n}) for n in range(times)]
        assert all(
            (one.attributes or {}) == ({"n": n} if one.decision.is_sampled() else {})
            for n, one in enumerate(asked)
        )
        return sum(one.decision.is_sampled() for one in asked)


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_all_are_kept_while_there_are_few(asked):
    for _ in range(20):
        asked.now += 0.2
        assert asked.kept(1) == 1


def test_of_a_flood_so_many_a_second_are_kept(asked):
    assert asked.kept(1000) == 5
    for _ in range(10):
        asked.now += 1
        assert asked.kept(1000) == 5
    asked.now += 0.5
    assert asked.kept(1000) == 2
    asked.now += 0.5
    assert asked.kept(1000) == 3


def test_quiet_hours_leave_no_more_than_a_second_has(asked):
    asked.kept(1)
    asked.now += 3600
    assert asked.kept(1000) == 5


def test_who_asks_often_leaves_room_for_other_routes(asked):
    asked.kept(1000, "GET /orders/{id}")
    assert asked.kept(1000) == 5


def test_whatever_names_are_made_up_share_one_second(asked):
    kept = [asked.kept(1, f"oven {n}", SpanKind.INTERNAL) for n in range(100)]
    assert kept == [1] * 5 + [0] * 95
    assert len(asked.sampler._left) == 1


def test_it_says_what_it_does(asked):
    assert asked.sampler.get_description() == "AtMost{5/s}"
