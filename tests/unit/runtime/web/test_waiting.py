"""Waiting for sagas to end."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import peewee
import pytest

from saga.functions.orchestrator.place_order import PlaceOrder, place_order
from saga.runtime import transition
from saga.runtime.clock import utcnow
from saga.runtime.saga_state import to_json
from saga.runtime.web import waiting as module
from saga.runtime.web.batches import Batches
from saga.runtime.web.problems import Busy
from saga.runtime.web.waiting import KEPT, Waiting

NOW = utcnow()


def saga(saga_id, now=NOW):
    order = PlaceOrder(order_id=uuid4(), user_id=1, product_id=1, quantity=1)
    return transition.start(place_order, saga_id, order, now)[0]


def ended(saga_id, now=NOW):
    return replace(saga(saga_id, now), status="COMPLETED", due_at=None)


async def never(saga_ids):
    return []


def test_one_poll_serves_all_who_wait():
    asked = []

    async def all_of_them(saga_ids):
        asked.append(sorted(saga_ids))
        return [saga(saga_id) for saga_id in saga_ids]

    async def many():
        waiting = Waiting(all_of_them)
        sagas = [saga(f"{n % 50:02}") for n in range(100)]
        ends = await asyncio.gather(*(waiting.until_ended(each, 10) for each in sagas))
        if polling := waiting._polling:
            await polling  # it ends as there is nobody any more
        return ends

    states = asyncio.run(many())
    assert [state.id for state in states] == [f"{n % 50:02}" for n in range(100)]
    assert asked == [[f"{n:02}" for n in range(50)]]


def test_nobody_waits_longer_than_asked():
    assert asyncio.run(Waiting(never).until_ended(saga("a"), 0.01)) is None


def test_database_that_comes_back_is_asked_again():
    answers = iter([peewee.OperationalError("gone"), [], [saga("a")]])

    async def at_last(saga_ids):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert asyncio.run(Waiting(at_last).until_ended(saga("a"), 10)).id == "a"


@pytest.mark.parametrize("early", [False, True])
def test_end_that_another_version_has_told_is_left_to_the_poll(early):
    ends = []

    async def look(saga_ids):
        return ends

    async def wait():
        waiting = Waiting(look)
        if early:
            waiting.tell({"a": "{}"})
        going = asyncio.create_task(waiting.until_ended(saga("a"), 10))
        await asyncio.sleep(0)
        waiting.tell({"a": "{}", "b": to_json(ended("b"))})
        ends.append(ended("a"))
        return await going

    assert asyncio.run(wait()).status == "COMPLETED"


def test_who_comes_when_too_many_wait_is_answered_at_once(monkeypatch):
    monkeypatch.setattr(module, "WAITERS", 1)

    async def scenario():
        waiting = Waiting(never)
        task = asyncio.create_task(waiting.until_ended(saga("a"), 600))
        await asyncio.sleep(0)
        answer = await waiting.until_ended(saga("b"), 600)
        waiting.release()
        await task
        task = asyncio.create_task(waiting.until_ended(saga("b"), 600))
        await asyncio.sleep(0)
        waiting.tell({"b": to_json(ended("b"))})
        return answer, (await task).status

    assert asyncio.run(scenario()) == (None, "COMPLETED")


def test_poll_outlives_a_database_that_is_too_busy():
    asked = []

    async def busy_at_first(saga_ids):
        asked.append(1)
        if len(asked) < 3:
            raise Busy("1000 requests")
        return [ended("a")]

    async def scenario():
        return await Waiting(busy_at_first, interval=0.001).until_ended(saga("a"), 600)

    assert asyncio.run(scenario()).status == "COMPLETED"


def test_released_waiters_go_at_once():
    async def scenario():
        waiting = Waiting(never)
        task = asyncio.create_task(waiting.until_ended(saga("a"), 30))
        await asyncio.sleep(0)
        waiting.release()
        return await task

    assert asyncio.run(scenario()) is None


def test_who_waits_is_told_and_asks_nobody():
    async def scenario():
        waiting = Waiting(never, interval=600)
        tasks = [asyncio.create_task(waiting.until_ended(saga(i), 60)) for i in "aab"]
        await asyncio.sleep(0)
        assert waiting.count == 3
        waiting.tell({"a": to_json(ended("a")), "other": "{}"})
        told = await asyncio.gather(*tasks[:2])
        assert waiting.count == 1
        waiting.release()
        return [*told, await tasks[2]]

    first, second, nobody = asyncio.run(scenario())
    assert (first.id, first.status, second, nobody) == ("a", "COMPLETED", first, None)


def test_who_comes_a_moment_late_is_told_all_the_same():
    async def scenario():
        waiting = Waiting(never, interval=600)
        waiting.tell({"a": to_json(ended("a"))})
        return await waiting.until_ended(saga("a"), 60)

    assert asyncio.run(scenario()).status == "COMPLETED"


@pytest.mark.parametrize("told", ["before", "meanwhile"])
def test_end_from_before_an_operators_retry_is_none(told):
    retried = saga("a", NOW + timedelta(seconds=1))

    async def scenario():
        waiting = Waiting(never, interval=600)
        if told == "before":
            waiting.tell({"a": to_json(ended("a"))})
        task = asyncio.create_task(waiting.until_ended(retried, 60))
        await asyncio.sleep(0)
        waiting.tell({"a": to_json(ended("a"))})
        assert not task.done()
        waiting.tell({"a": to_json(ended("a", retried.updated_at))})
        return await task

    assert asyncio.run(scenario()).updated_at == retried.updated_at


def test_what_was_told_is_forgotten_at_last():
    async def scenario():
        waiting = Waiting(never, interval=600)
        waiting.tell({str(n): to_json(ended(str(n))) for n in range(KEPT + 1)})
        first = await waiting.until_ended(saga("0"), 0.01)
        return first, await waiting.until_ended(saga("1"), 0.01)

    forgotten, kept = asyncio.run(scenario())
    assert (forgotten, kept.id) == (None, "1")


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
