"""How often a turn waits for PostgreSQL: over a network, that is most of its time."""

from datetime import UTC, datetime

import pytest

from saga.runtime import Command, Event, Message, Saga, Step, saga_store
from saga.runtime.database.connection import transaction
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_store import SagaStore, Start
from support.round_trips import round_trips

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Begin(Message):
    goods: str


class Happened(Event, topic="shop.events"):
    pass


class Make(Command, topic="shop.make", event=Happened):
    goods: str


class Finish(Command, topic="shop.finish", event=Happened):
    pass


SAGA = Saga("shop", start=Begin, steps=[Step(Make), Step(Finish)], search=["goods"])


@pytest.fixture
def database(postgres):
    return postgres


@pytest.fixture
def store(database):
    bind(database, saga_store.TABLES)
    return SagaStore(database)


def start(store, *ids, **options):
    store.start(SAGA, [Start(each, Begin(goods="tea"), **options) for each in ids], NOW)


@pytest.mark.parametrize("breads", [1, 5])
def test_batch_of_commands_waits_for_its_beginning_its_inbox_and_its_end(bakery, breads):
    each = [(f"bread {number}", str(number)) for number in range(breads)]
    commands = [bakery.bake_record(name, saga_id) for name, saga_id in each]
    bakery.database.close()  # where a session comes to prepare a statement, it waits once more
    with round_trips(bakery.database) as count:
        bakery.baker.process(commands)
        assert count() == breads + 3  # what handlers wait for, each for itself
    assert len(bakery.inbox) == breads


@pytest.mark.parametrize(("sagas", "times"), [(1, 3), (5, 4)])
def test_batch_of_replies_waits_for_its_beginning_its_sagas_and_its_end(
    store, database, sagas, times
):
    ids = [str(number) for number in range(sagas)]
    start(store, *ids)
    replies = [Reply(each, "make", "do", "done", 1, "{}") for each in ids]
    with round_trips(database) as count:
        with transaction(database):
            commands = store.advance(SAGA, replies, NOW)
        assert count() == times
    assert len(commands) == sagas


def test_start_of_a_saga_waits_for_its_beginning_and_its_end_and_once_for_a_key(store, database):
    with round_trips(database) as count:
        start(store, "a")
        assert count() == 2
        start(store, "b", idempotency_key="b")
        assert count() == 5
