"""The judge of any saga: each request has one, which is as its rows and its client say."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from saga.runtime import Command, Event, Message, Retry, Saga, Step, saga_queries, saga_store
from saga.runtime.database.connection import connect
from saga.runtime.database.schema import bind
from saga.runtime.envelope import Reply
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_search import SearchRow
from saga.runtime.saga_store import SagaStore, Start
from saga.runtime.testing.judgement import Judgement, judge, sagas_of
from saga.runtime.testing.request import Request

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = timedelta(milliseconds=1)


class Order(Message):
    goods: str
    note: str | None = None


class Done(Event, topic="cakes.events"):
    pass


class Bake(Command, topic="cakes.bake", event=Done):
    goods: str


class Bin(Command, topic="cakes.bin", event=Done):
    pass


class Sell(Command, topic="cakes.sell", event=Done):
    pass


STEPS = [Step(Bake, undo=Bin, retry=Retry(attempts=2, first=0.0)), Step(Sell)]
CAKE = Saga("cake", start=Order, steps=STEPS, search=("goods", "note"))
OTHER = Saga("other", start=Order, steps=STEPS)


class Bakery:
    """Sagas by their ids, and what their clients have asked for and heard."""

    def __init__(self, database):
        bind(database, saga_store.TABLES)
        self.store, self.now = SagaStore(database), NOW
        self.requests = {}

    def order(self, saga_id, saga=CAKE, **changes):
        goods = {"goods": f"cake {saga_id}"}
        self.store.start(saga, [Start(saga_id, Order(**goods), f"key {saga_id}")], self.now)
        asked: dict[str, Any] = {"wanted": goods, "key": f"key {saga_id}", "told": [saga_id]}
        asked |= {"tries": 1} | changes
        self.requests[saga_id] = Request(**asked)
        return self.requests[saga_id]

    def answer(self, saga_id, step, action="do", outcome="done", attempt=1, data="{}"):
        self.now += SOON
        reply = Reply(saga_id, step, action, outcome, attempt, data)
        self.store.advance(CAKE, [reply], self.now)

    def complete(self, saga_id, **changes):
        request = self.order(saga_id, **changes)
        for step in ("bake", "sell"):
            self.answer(saga_id, step)
        return request

    def refuse(self, saga_id, code="no_buyer", undo="done", **changes):
        request = self.order(saga_id, **changes)
        self.answer(saga_id, "bake")
        data = json.dumps({"code": code, "message": ""})
        self.answer(saga_id, "sell", outcome="rejected", data=data)
        self.answer(saga_id, "bake", "undo", undo)
        return request

    def judge(self, before=frozenset(), **options) -> Judgement:
        database = self.store.database
        return judge(CAKE, database, list(self.requests.values()), before, **options)

    @property
    def violations(self):
        return self.judge().violations

    def change(self, saga_id, **columns):
        SagaRow.update(**columns).where(SagaRow.id == saga_id).execute()

    def change_state(self, saga_id, **changes):
        state = json.loads(SagaRow.get_by_id(saga_id).state) | changes
        self.change(saga_id, state=json.dumps(state))


@pytest.fixture
def bakery(sqlite):
    return Bakery(sqlite)


def test_run_that_went_well_is_counted_by_kinds(bakery):
    for saga_id in ("a", "b", "c"):
        bakery.complete(saga_id)
    bakery.refuse("d")
    found = bakery.judge()
    assert found.violations == []
    assert +found.seen == {"completed": 3, "compensated": 1}
    assert [case.state.id for case in found.cases] == ["a", "b", "c", "d"]
    assert [case.code for case in found.cases] == ["", "", "", "no_buyer"]
    assert [str(case) for case in found.cases] == [f"saga {name}" for name in "abcd"]
    assert all(len(case.path) > 1 for case in found.cases)


def test_sagas_are_read_from_the_database_that_is_named(bakery):
    bakery.complete("a")
    database, empty = bakery.store.database, connect("sqlite://")
    with empty.bind_ctx([SagaRow, SearchRow]):
        empty.create_tables([SagaRow, SearchRow])
        assert sagas_of(CAKE, database) == {"a"}
        found = bakery.judge()
    empty.close()
    assert (found.violations, len(found.cases)) == ([], 1)


def test_request_without_an_answer_and_a_saga_is_nothing(bakery):
    bakery.requests["x"] = Request({"goods": "cake x"}, "key x")
    assert bakery.judge() == Judgement()


@pytest.mark.parametrize("excuses", [set(), {"no_buyer"}, {"no_seller"}])
def test_end_by_an_excuse_is_counted(bakery, excuses):
    bakery.complete("a")
    bakery.refuse("b")
    found = bakery.judge(excuses=excuses)
    assert (found.seen["excused"], found.violations) == ("no_buyer" in excuses, [])


def test_attempts_and_time_are_excuses(bakery):
    bakery.refuse("a", "attempts_exhausted")
    bakery.refuse("b", "deadline_exceeded")
    bakery.refuse("c", "cancelled")
    assert bakery.judge().seen["excused"] == 2


def test_cancellation_is_counted_and_needs_one_who_asked(bakery):
    bakery.order("a", cancel="accepted")
    bakery.store.cancel(CAKE, "a", NOW + SOON)
    bakery.answer("a", "bake", "undo")
    assert (bakery.violations, bakery.judge().seen["cancels"]) == ([], 1)
    bakery.requests["a"].cancel = "no"
    assert bakery.violations == ["saga a: cancelled, which nobody asked for"]


def test_accepted_cancellation_is_not_followed_by_completion(bakery):
    bakery.complete("a", cancel="accepted")
    bakery.complete("b", cancel="asked")
    assert bakery.violations == ["saga a: COMPLETED, though its cancellation was accepted"]


def test_undo_by_hand_is_counted(bakery):
    bakery.refuse("a", undo="rejected")
    bakery.refuse("b", undo="done")
    assert "saga a: has not ended: FAILED" in bakery.violations
    assert bakery.judge().seen["skips"] == 0
    bakery.store.skip(CAKE, "a", bakery.now + SOON, step="bake", by="Ada", reason="by hand")
    assert bakery.judge().seen["skips"] == 1


def test_fault_and_what_clients_did_again_are_counted(bakery):
    bakery.order("a")
    bakery.answer("a", "bake", outcome="failed")
    bakery.store.sweep(CAKE, bakery.now)
    bakery.answer("a", "bake", attempt=2)
    bakery.answer("a", "sell")
    bakery.complete("b", tries=2)
    bakery.complete("c", tries=2, reads=1)
    found = bakery.judge()
    assert found.violations == []
    kinds = {"retries": 1, "repeated requests": 2, "read again": 1}
    assert +found.seen == {"completed": 3, **kinds}


def test_saga_that_was_answered_late_is_counted_as_a_retry(bakery):
    bakery.order("a")
    bakery.now += timedelta(seconds=STEPS[0].timeout)
    bakery.store.sweep(CAKE, bakery.now)
    bakery.answer("a", "bake")
    bakery.answer("a", "sell")
    found = bakery.judge()
    assert (found.violations, +found.seen) == ([], {"completed": 1, "retries": 1})


def test_client_hears_no_other_end(bakery):
    bakery.complete("a", heard="COMPENSATED")
    told = "is COMPLETED, and its client has heard that it is COMPENSATED"
    assert bakery.violations == [f"saga a: {told}"]


def test_saga_is_for_what_was_asked(bakery):
    bakery.complete("a", wanted={"goods": "pie", "note": None})
    bakery.change_state("a", input={"goods": "cake a", "price": 1, "more": 2})
    got = "{'goods': 'cake a', 'note': None}, asked was {'goods': 'pie', 'note': None}"
    others = "has more, price in its input, which was not in the request"
    assert bakery.violations == [f"saga a: is for {got}", f"saga a: {others}"]


def test_what_was_there_before_is_not_judged(bakery):
    for saga_id in ("a", "c"):
        bakery.order(saga_id)
    bakery.order("d", OTHER)
    before = sagas_of(CAKE, bakery.store.database)
    assert before == {"a", "c"}
    bakery.requests.clear()
    assert bakery.judge(before) == Judgement()
    for saga_id in ("b", "e"):
        bakery.complete(saga_id)
    found = bakery.judge(before)
    assert (found.violations, +found.seen) == ([], {"completed": 2})


def test_saga_that_nobody_asked_for_and_one_that_is_not_there_are_told(bakery):
    bakery.complete("a")
    bakery.requests["a"].told, bakery.requests["a"].key = ["y", "x"], None
    assert bakery.violations == [
        "saga x: accepted, but there is no row",
        "saga y: accepted, but there is no row",
        "one request started 2 sagas: x, y",
        "saga a: nobody asked for it",
    ]


def test_saga_is_given_to_one_client(bakery):
    request = bakery.complete("a")
    bakery.requests["again"] = request
    bakery.complete("b")
    assert bakery.violations == ["saga a: 2 clients were given it"]


def test_saga_is_its_clients_by_key_or_by_answer(bakery):
    bakery.complete("a").told = []
    bakery.complete("b").key = None
    bakery.order("c", told=[], key="key a")
    assert bakery.violations == [
        "saga a: 2 clients were given it",
        "saga c: nobody asked for it",
        "saga a: is for {'goods': 'cake a'}, asked was {'goods': 'cake c'}",
    ]


def test_row_that_cant_be_read_is_told_by_the_first_line_and_the_others_are_judged(bakery):
    bakery.complete("a")
    bakery.complete("b")
    bakery.change("a", state="{}")
    first, *others = bakery.violations
    assert first.startswith("saga a: can't be read: ")
    assert "\n" not in first
    assert others == ["saga a: accepted, but there is no row"]


@pytest.mark.parametrize("status", ["RUNNING", "FAILED"])
def test_column_tells_the_status_of_the_state(bakery, status):
    bakery.complete("a")
    bakery.change("a", status=status)
    assert bakery.violations == [f"saga a: is COMPLETED, and its column {status}"]


@pytest.mark.parametrize(
    ("column", "fine"),
    [(timedelta(0), True), (-SOON, True), (SOON, False), (None, False)],
)
def test_saga_in_flight_is_looked_at_no_later_than_it_is_due(bakery, column, fine):
    bakery.order("a")
    due_at = saga_queries.find(bakery.store.database, "a").due_at
    looked_at = None if column is None else due_at + column
    bakery.change("a", due_at=looked_at)
    told = [] if fine else [f"saga a: is due at {due_at}, and its column {looked_at}"]
    assert bakery.violations == [*told, "saga a: has not ended: RUNNING"]


def test_saga_that_has_ended_is_not_looked_at(bakery):
    bakery.complete("a")
    bakery.change("a", due_at=NOW)
    assert bakery.violations == [f"saga a: is due at None, and its column {NOW}"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"awaiting": True}, "has ended, and still waits: due_at None, awaiting True"),
        ({"history": []}, "has no history"),
        ({"history": [[0, "0R"], [1000, "0D", "1R"]]}, "is COMPLETED, and its history ends"),
    ],
)
def test_row_tells_a_way_and_an_end_that_fit_together(bakery, changes, told):
    bakery.complete("a")
    bakery.change_state("a", **changes)
    assert any(text.startswith(f"saga a: {told}") for text in bakery.violations)


def test_attempt_that_is_counted_was_made(bakery):
    bakery.complete("a")
    steps = json.loads(SagaRow.get_by_id("a").state)["steps"]
    steps[0]["attempts"] = 2
    bakery.change_state("a", steps=steps)
    assert bakery.violations == ["saga a: bake counts 2 attempts RUNNING, of 1 made"]


def test_saga_is_found_by_what_it_is_searched_by_and_by_nothing_else(bakery):
    for saga_id in ("a", "b", "c"):
        bakery.complete(saga_id)
    SearchRow.delete().where(SearchRow.saga_id == "a").execute()
    SearchRow.create(key="cake/note/x", saga_id="b")
    SearchRow.create(key="cake/note/x", saga_id="z")
    goods = "'cake/goods/cake {}'".format
    assert bakery.violations == [
        f"saga a: is found by [], not by [{goods('a')}]",
        f"saga b: is found by [{goods('b')}, 'cake/note/x'], not by [{goods('b')}]",
    ]


@pytest.fixture
def shown(bakery, monkeypatch):
    """Let the list show four of six sagas' ids, on two pages, as a test changes them."""
    for saga_id in "abcdef":
        bakery.complete(saga_id)
    state = {one: saga_queries.find(bakery.store.database, one) for one in "abcdef"}
    pages = []
    monkeypatch.setattr(
        saga_queries, "page", lambda *_, **__: [state[i] for i in (pages.pop(0) if pages else "")]
    )
    return pages


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        (["ab", "cd", "ef"], []),
        (["ab", "cd", "", "ef"], []),
        (["ab", "d", "ef"], ["saga c: is 0 times on the pages of the list"]),
        (["ab", "bcd", "ef"], ["saga b: is 2 times on the pages of the list"]),
        (["ba", "cd", "ef"], ["the list is not in the order of its ids"]),
    ],
)
def test_each_saga_is_on_one_page_of_the_list(bakery, shown, pages, told):
    shown += pages
    assert bakery.violations == told


def test_list_shows_nothing_else(bakery, shown):
    shown += ["ab", "cd", "ef"]
    bakery.store.database.execute_sql("DELETE FROM saga WHERE id = 'c'")
    del bakery.requests["c"]
    assert "saga c: is 1 times on the pages of the list" in bakery.violations


def test_list_is_read_from_the_first_new_saga_on_in_four_pages(bakery, monkeypatch):
    for saga_id in "ab":
        bakery.order(saga_id)
    bakery.requests.clear()
    for saga_id in "cdefg":
        bakery.complete(saga_id)
    page, asked = saga_queries.page, []

    def note(database, limit, after, **options):
        asked.append((limit, after, options))
        return page(database, limit, after, **options)

    monkeypatch.setattr(saga_queries, "page", note)
    assert bakery.judge(frozenset("ab")).violations == []
    assert asked[:3] == [(2, after, {"saga": CAKE}) for after in "bdf"]
