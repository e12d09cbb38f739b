"""A transaction that PostgreSQL gives up is begun again: no fault, and no attempt used."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from saga.runtime.database.connection import connect, transaction
from support.waiting import DEADLINE, wait_until

BOTH_DONE = [("t/bake/do/reply", "done"), ("s/bake/do/reply", "done")]
BOTH_TWICE = ["bake oat", "bake rye"] * 2


@pytest.fixture
def bakery(postgres, open_bakery):
    """A bakery with two loaves of before, `a` and `b`."""
    bakery = open_bakery(postgres)
    bakery.Loaf.insert_many([{"name": "a"}, {"name": "b"}]).execute()
    return bakery


@pytest.fixture
def other(postgres_url, bakery):
    """Another connection, which never gives up."""
    other = connect(postgres_url, shared=True)
    other.execute_sql(f"SET deadlock_timeout = '{DEADLINE:g}s'")
    yield other
    other.close()


def touch(database, name):
    """Write a row, as it is, and so lock it until the transaction ends."""
    database.execute_sql("UPDATE loaf SET name = name WHERE name = %s", (name,))


def waits(database):
    return bool(database.execute_sql("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone())


def bake_two(bakery):
    return bakery.baker.process([bakery.bake_record("oat", "t"), bakery.bake_record()])


def test_deadlock_in_a_handler_begins_the_batch_again(bakery, other, outcomes, caplog):
    def touch_both():
        with transaction(other):
            touch(other, "b")
            touch(other, "a")

    def get_in_each_others_way():
        touch(bakery.database, "a")
        bakery.database.execute_sql("SET deadlock_timeout = '1ms'")
        crossing.append(thread.submit(touch_both))
        wait_until(lambda: waits(bakery.database), "the other one waits")
        touch(bakery.database, "b")

    crossing = []
    bakery.before = [lambda: None, get_in_each_others_way]
    with ThreadPoolExecutor(1) as thread:
        assert outcomes(bake_two(bakery)) == BOTH_DONE
        crossing[0].result(DEADLINE)
    assert bakery.calls == BOTH_TWICE
    assert bakery.loaves == ["a", "b", "oat", "rye"]
    assert "failed, attempt" not in caplog.text


def test_serialization_failure_in_a_handler_begins_the_batch_again(bakery, other, outcomes, caplog):
    def be_too_late():
        touch(other, "a")
        touch(bakery.database, "a")

    bakery.database.execute_sql("SET default_transaction_isolation = 'repeatable read'")
    bakery.before = [lambda: None, be_too_late]
    assert outcomes(bake_two(bakery)) == BOTH_DONE
    assert bakery.calls == BOTH_TWICE
    assert bakery.loaves == ["a", "b", "oat", "rye"]
    assert "failed, attempt" not in caplog.text


def test_lock_that_a_handler_waited_for_in_vain_is_its_fault(bakery, other, outcomes):
    """PostgreSQL gives up the statement then, and no transaction."""

    def wait_in_vain():
        bakery.database.execute_sql("SET LOCAL lock_timeout = '1ms'")
        touch(bakery.database, "a")

    bakery.before = [lambda: None, wait_in_vain]
    with transaction(other):
        touch(other, "a")
        assert outcomes(bake_two(bakery)) == [BOTH_DONE[0], ("s/bake/do/reply", "failed")]
    assert bakery.calls == BOTH_TWICE[:3]
    assert bakery.loaves == ["a", "b", "oat"]
