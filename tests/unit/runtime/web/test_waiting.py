"""Waiting for sagas to end."""

import asyncio
from uuid import uuid4

import peewee
import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import transition
from saga.runtime.clock import utcnow
from saga.runtime.web.batches import Batches
from saga.runtime.web.waiting import Waiting


def saga(saga_id):
    order = PlaceOrder(order_id=uuid4(), user_id=1, product_id=1, quantity=1)
    return transition.start(place_order, saga_id, order, utcnow())[0]


def test_one_poll_serves_all_who_wait():
    asked = []

    async def ended(saga_ids):
        asked.append(sorted(saga_ids))
        return [saga(saga_id) for saga_id in saga_ids]

    async def many():
        waiting = Waiting(ended)
        return await asyncio.gather(*(waiting.until_ended(f"{n % 50:02}", 10) for n in range(100)))

    states = asyncio.run(many())
    assert [state.id for state in states] == [f"{n % 50:02}" for n in range(100)]
    assert asked == [[f"{n:02}" for n in range(50)]]


def test_nobody_waits_longer_than_asked():
    async def never(saga_ids):
        return []

    assert asyncio.run(Waiting(never).until_ended("a", 0.01)) is None


def test_database_that_comes_back_is_asked_again():
    answers = iter([peewee.OperationalError("gone"), [], [saga("a")]])

    async def ended(saga_ids):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert asyncio.run(Waiting(ended).until_ended("a", 10)).id == "a"


def test_released_waiters_go_at_once():
    async def scenario():
        polled = asyncio.Event()

        async def never(saga_ids):
            polled.set()
            return []

        waiting = Waiting(never)
        task = asyncio.create_task(waiting.until_ended("a", 30))
        await polled.wait()
        waiting.release()
        return await task

    assert asyncio.run(scenario()) is None


def test_failed_batch_fails_for_each_item_and_the_next_one_works():
    async def work(items):
        if "bad" in items:
            raise ValueError("bad")
        return [item.upper() for item in items]

    async def scenario():
        batches = Batches(work)
        failed = await asyncio.gather(batches.add("bad"), batches.add("b"), return_exceptions=True)
        return failed, await batches.add("c")

    failed, fine = asyncio.run(scenario())
    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert fine == "C"


def test_item_whose_request_is_gone_does_not_disturb_the_batch():
    async def scenario():
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def work(items):
            begun.set()
            await go_on.wait()
            return items

        batches = Batches(work)
        gone = asyncio.create_task(batches.add("gone"))
        await begun.wait()
        gone.cancel()
        stays = asyncio.create_task(batches.add("stays"))
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await stays

    assert asyncio.run(scenario()) == "stays"
