"""What `saga bench` makes of a run, and what it refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from saga.runtime.errors import SagaError
from saga.runtime.saga_state import SagaState, SagaStatus
from saga.stacks.bench import bench, measured
from saga.stacks.starting import due

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def after(milliseconds: float) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def saga(saga_id: str, began: float, ended: float, status: SagaStatus = "COMPLETED") -> SagaState:
    return SagaState(saga_id, "x", status, {}, (), after(began), after(ended), after(ended))


def test_saga_is_due_as_the_rate_has_it() -> None:
    assert [due(NOON, number, 100.0) for number in (0, 1, 50)] == [NOON, after(10), after(500)]


def test_saga_is_due_at_once_without_a_rate() -> None:
    assert due(NOON, 7, None) == NOON


def test_latency_is_counted_from_the_moments_that_are_given() -> None:
    states = [saga("a", 100, 110), saga("b", 100, 130)]
    rows = {state.id: state.created_at for state in states}
    intended = {"a": NOON, "b": after(10)}
    assert measured(states, rows, NOON, 1.0, invariants_ok=True).p50_ms == 20
    assert measured(states, intended, NOON, 1.0, invariants_ok=True).p50_ms == 115


def test_run_is_summed_up() -> None:
    states = [saga("a", 0, 400), saga("b", 0, 500, "COMPENSATED")]
    result = measured(states, {"a": NOON, "b": NOON}, NOON, 3.0, invariants_ok=False)
    assert (result.sagas, result.completed, result.compensated) == (2, 1, 1)
    assert (result.seconds, result.sagas_per_second) == (0.5, 4.0)
    assert (result.cpu_seconds_per_1000, result.invariants_ok) == (1500.0, False)


@pytest.mark.parametrize(("rate", "http"), [(None, True), (100.0, False)])
def test_open_loop_needs_a_rate_and_clients(rate: float | None, *, http: bool) -> None:
    with pytest.raises(SagaError, match="--open-loop needs"):
        bench(rate=rate, http=http, open_loop=True)
