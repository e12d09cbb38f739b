"""What has a key is done once, however the requests with it meet."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import peewee
import pytest
from pydantic import BaseModel
from sanic.compat import Header

from saga.runtime.database.schema import bind
from saga.runtime.errors import NotFound
from saga.runtime.web.problems import Conflict
from saga.runtime.web.repeats import RequestKey, _once, once

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


class Count(BaseModel):
    number: int


@pytest.fixture(autouse=True)
def _keys(database):
    bind(database, [RequestKey])


@pytest.fixture
def ask(database):
    """Ask for something with a key; what was done before is counted."""
    done = []

    def count(key="k", asked="this", work=lambda: None):
        def counted():
            done.append(key)
            work()
            return Count(number=len(done))

        return _once(database, key, asked, Count, counted).number

    return count


def test_what_has_a_key_is_done_once(ask):
    assert [ask("a"), ask("b"), ask("a"), ask("b")] == [1, 2, 1, 2]


def test_what_has_no_key_is_done_each_time(ask):
    assert [ask(None), ask(None)] == [1, 2]


def test_key_is_for_one_thing(ask):
    ask()
    with pytest.raises(
        Conflict, match=r"^the idempotency key was used for something else$"
    ) as refused:
        ask(asked="that")
    assert refused.value.problem_type.code == "key_reused"


def test_what_failed_may_be_asked_again(ask):
    def fail():
        raise NotFound("no such thing")

    with pytest.raises(NotFound):
        ask(work=fail)
    assert (ask(), ask()) == (2, 2)


def test_keys_of_another_app_in_the_process_are_not_looked_at(ask):
    assert ask() == 1
    RequestKey.bind(peewee.SqliteDatabase(None))  # which is not even there
    assert (ask(), ask("other")) == (1, 2)


class Threads:
    """Stands in for those of an app: it calls at once."""

    def __init__(self, database):
        self.database = database

    async def run(self, work, *args):
        return work(*args)


def test_request_is_done_once_by_its_key(database):
    done = []

    def work():
        done.append("done")
        return Count(number=len(done))

    def ask(asked, *keys):
        request: Any = SimpleNamespace(
            app=SimpleNamespace(ctx=SimpleNamespace(threads=Threads(database))),
            headers=Header([("idempotency-key", key) for key in keys]),
        )
        return asyncio.run(once(request, asked, Count, work))

    assert [ask("this", *keys).number for keys in ("a", "a", "b", "", "b")] == [1, 1, 2, 3, 2]
    with pytest.raises(Conflict):
        ask("that", "a")


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_repeated_request_waits_for_the_first(database, ask, until):
    def ask_apart():
        with database.connection_context():
            return ask()

    with ThreadPoolExecutor(1) as pool:
        second = []

        def work():
            second.append(pool.submit(ask_apart))
            until(lambda: database.execute_sql(WAITING).fetchone()[0], "the second waits")

        assert ask(work=work) == 1
        assert second[0].result() == 1
