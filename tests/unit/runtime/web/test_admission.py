"""Admission: so many are let in, and counted anew only now and then."""

import asyncio
from collections.abc import Sequence

import pytest

from saga.runtime.web import admission, batches
from saga.runtime.web.admission import Admission
from saga.runtime.web.batches import Batches
from saga.runtime.web.problems import Busy


class Clock:
    """Stands in for the module `time`."""

    now = 0.0  # as where the machine has just been started

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


async def enter(gate: Admission) -> None:
    async with gate.one_more():
        pass


async def let_in(gate: Admission, wanted: int) -> int:
    """Return how many of so many are let in."""
    results = await asyncio.gather(*(enter(gate) for _ in range(wanted)), return_exceptions=True)
    assert all(result is None or isinstance(result, Busy) for result in results)
    told = {str(result) for result in results if isinstance(result, Busy)}
    assert told <= {"busy: 10 sagas are in flight"}
    return results.count(None)


def test_as_many_are_let_in_as_there_is_room_for_and_counted_once(clock: Clock) -> None:
    counted = []

    async def count(most: int) -> int:
        counted.append(most)
        return 7

    async def run() -> list[int]:
        gate = Admission(10, count)
        first = await let_in(gate, 1) + await let_in(gate, 9)
        later = await let_in(gate, 1)
        clock.now += admission.COUNTED_FOR
        return [first, later, await let_in(gate, 1) + await let_in(gate, 9)]

    assert asyncio.run(run()) == [3, 0, 3]
    assert counted == [10, 10]


@pytest.mark.parametrize("stored", ["before it is counted", "after it is counted"])
def test_what_is_let_in_and_not_stored_yet_is_not_forgotten_by_a_count(
    clock: Clock, stored: str
) -> None:
    rows = 0

    async def count(most: int) -> int:
        found = rows
        await counting.wait()
        return min(found, most)

    async def start() -> None:
        nonlocal rows
        async with gate.one_more():
            await storing.wait()
            rows += 1

    async def run() -> list[bool]:
        first = [asyncio.ensure_future(start()) for _ in range(3)]
        counting.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        counting.clear()
        clock.now += admission.COUNTED_FOR
        others = [asyncio.ensure_future(start()) for _ in range(4)]
        await asyncio.sleep(0)
        for event in (storing, counting) if "before" in stored else (counting, storing):
            event.set()
            await asyncio.sleep(0)
        results = await asyncio.gather(*first, *others, return_exceptions=True)
        return [isinstance(result, Busy) for result in results]

    gate, counting, storing = Admission(5, count), asyncio.Event(), asyncio.Event()
    assert asyncio.run(run()).count(False) == rows == 5


def test_who_comes_while_the_first_count_is_made_waits_for_nobody(clock: Clock) -> None:
    async def run() -> None:
        counted = asyncio.Event()

        async def count(most: int) -> int:
            await counted.wait()
            return 0

        gate = Admission(2, count)
        first = asyncio.ensure_future(enter(gate))
        await asyncio.sleep(0)
        await enter(gate)
        counted.set()
        await first

    asyncio.run(run())


def test_item_that_nobody_waits_for_is_not_worked_on() -> None:
    worked: list[list[int]] = []

    async def run() -> None:
        first = asyncio.Event()

        async def work(items: Sequence[int]) -> Sequence[int]:
            worked.append(list(items))
            await first.wait()
            return items

        items = Batches(work)
        tasks = [asyncio.ensure_future(items.add(n)) for n in range(4)]
        await asyncio.sleep(0)
        more = [asyncio.ensure_future(items.add(n)) for n in (4, 5)]
        await asyncio.sleep(0)
        more[0].cancel()
        await asyncio.sleep(0)
        first.set()
        assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
        assert await more[1] == 5

    asyncio.run(run())
    assert worked == [[0, 1, 2, 3], [5]]


@pytest.mark.parametrize("is_busy", [True, False])
def test_batch_waits_for_company_where_many_are_at_work(
    monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    worked: list[list[int]] = []
    waited: list[float] = []
    tick = asyncio.sleep

    async def run() -> None:
        over = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            await over.wait()

        async def work(items: Sequence[int]) -> Sequence[int]:
            worked.append(list(items))
            return items

        monkeypatch.setattr(asyncio, "sleep", sleep)
        items = Batches(work, lambda: is_busy)
        first = asyncio.ensure_future(items.add(1))
        for _ in range(3):
            await tick(0)
        second = asyncio.ensure_future(items.add(2))
        await tick(0)
        over.set()
        assert (await first, await second) == (1, 2)

    asyncio.run(run())
    assert worked == ([[1, 2]] if is_busy else [[1], [2]])
    assert waited == ([batches.COMPANY] if is_busy else [])


def test_item_beyond_those_that_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "QUEUED", 2)

    async def run() -> list[object]:
        async def work(items: Sequence[int]) -> Sequence[int]:
            return items

        items = Batches(work)
        return await asyncio.gather(*(items.add(n) for n in range(3)), return_exceptions=True)

    *taken, refused = asyncio.run(run())
    assert taken == [0, 1]
    assert isinstance(refused, Busy)
