"""Acting on all sagas that pass a filter, and its record."""

import json
import re
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from saga.runtime.clock import utcnow
from saga.runtime.console import action_record, actions
from saga.runtime.console.action_record import SILENT, ActionRow
from saga.runtime.console.actions import Actions
from saga.runtime.saga_store import TABLES, SagaStore
from support.api import empty
from support.console import FORGED, Console, begin, fail, start, status_of
from support.hanging_up import hang_up
from support.waiting import DEADLINE, wait_until

UNKNOWN = UUID(int=7)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with start(tmp_path_factory.mktemp("data")) as api:
        yield Console(api)


@pytest.fixture
def console(running):
    empty(running.api, [*TABLES, ActionRow])
    return running


@pytest.fixture
def sagas(console):
    return SagaStore(console.api.app.ctx.threads.database)


def act(console, verb, ids, **fields):
    """Act on sagas; return the record's page once it is over."""
    fields = {"by": "Ada", "sagas": " ".join(ids), **fields}
    done = console.post(f"/actions/{verb}", fields=fields)
    assert done.status == 303
    path = done.headers["location"].removeprefix("/console")
    deadline = utcnow().timestamp() + DEADLINE
    while "data-goes-on" in (page := console.get(path)).text:
        assert utcnow().timestamp() < deadline
    return page


def asked(page):
    [found] = re.findall(r'name="sagas" value="([^"]*)"', page.text)
    return found.split()


def test_list_of_a_status_leads_to_what_can_be_done(console, sagas):
    fail(sagas, begin(sagas, 1))
    begin(sagas, 2)
    assert "/console/actions/" not in console.get("/").text.replace('/console/actions"', "")
    assert "/console/actions/cancel?status=RUNNING" in console.get("/?status=RUNNING").text
    failed = console.get("/?status=FAILED&cake=Tart").text
    for verb in ("retry", "skip"):
        assert f"/console/actions/{verb}?status=FAILED&amp;cake=Tart" in failed


def test_count_is_shown_before(console, sagas):
    ids = [begin(sagas, number) for number in (1, 2, 3)]
    begin(sagas, 4, "Pie")
    fail(sagas, begin(sagas, 5))
    page = console.get("/actions/cancel?status=RUNNING&cake=Tart")
    assert "Cancel 3 sagas" in page.text
    assert asked(page) == ids[::-1]


def test_no_more_than_some_are_acted_on_at_once(console, sagas, monkeypatch):
    monkeypatch.setattr(actions, "MOST", 2)
    for number in (1, 2, 3):
        begin(sagas, number)
    page = console.get("/actions/cancel?status=RUNNING")
    assert "Cancel 2 sagas" in page.text
    assert "These are the newest 2" in page.text
    assert asked(page) == [str(UUID(int=3)), str(UUID(int=2))]


def test_all_that_were_shown_are_cancelled_and_no_other(console, sagas):
    ids = [begin(sagas, number) for number in (1, 2)]
    later = begin(sagas, 3)
    page = act(console, "cancel", ids, filter="status=RUNNING")
    assert [status_of(one) for one in ids] == ["COMPENSATING"] * 2
    assert status_of(later) == "RUNNING"
    for text in ("Over", "<dd>2</dd>", "<dd>Ada</dd>", "status=RUNNING"):
        assert text in page.text


def test_record_says_why_some_were_not_done(console, sagas):
    good, bad = begin(sagas, 1), begin(sagas, 2)
    fail(sagas, bad)
    act(console, "cancel", [good, bad, str(UNKNOWN)], filter="cake=Tart")
    [row] = ActionRow.select()
    assert (row.by, row.verb, row.filter, row.chosen, row.done) == (
        "Ada",
        "cancel",
        "cake=Tart",
        3,
        1,
    )
    assert json.loads(row.refused) == {"The saga has ended": 1, f"no saga {UNKNOWN}": 1}
    assert row.ended_at is not None
    assert "Cancel 3" in console.get("/actions").text


def test_failed_undos_of_many_are_skipped(console, sagas):
    ids = [begin(sagas, number) for number in (1, 2)]
    for one in ids:
        fail(sagas, one)
    act(console, "skip", ids, step="bake", reason="thrown away")
    assert [status_of(one) for one in ids] == ["COMPENSATED"] * 2


def test_error_of_one_saga_leaves_the_others(console, sagas, monkeypatch):
    ids = [begin(sagas, number) for number in (1, 2)]
    cancel = SagaStore.cancel

    def breaks(store, saga, saga_id, now):
        if saga_id == ids[0]:
            raise RuntimeError("a secret")
        return cancel(store, saga, saga_id, now)

    monkeypatch.setattr(SagaStore, "cancel", breaks)
    page = act(console, "cancel", ids)
    assert status_of(ids[1]) == "COMPENSATING"
    assert "something went wrong; it is in the log" in page.text
    assert "a secret" not in page.text


def test_action_whose_client_hangs_up_is_carried_out(console, sagas):
    one = begin(sagas, 1)
    request = console.bytes_of("/actions/cancel", {"by": "Ada", "sagas": one})
    hang_up(console.api, request, (Actions, "start"), (action_record, "add"))

    def over():
        console.get("/actions")  # the app goes on while it is asked for something
        return ActionRow.get_or_none(ActionRow.ended_at.is_null(False))

    row = wait_until(over, "the action is over")
    assert (row.done, status_of(one)) == (1, "COMPENSATING")


def test_action_whose_process_ended_is_told_as_broken_off(console):
    at = utcnow() - 2 * SILENT
    row = ActionRow.create(
        id=str(uuid4()),
        verb="retry",
        what="saga",
        by="Ada",
        filter="",
        chosen=9,
        began_at=at,
        updated_at=at,
    )
    page = console.get(f"/actions/{row.id}").text
    assert "Broken off" in page
    assert "data-goes-on" not in page


def test_record_says_meanwhile_how_far_it_is(console, sagas, monkeypatch):
    monkeypatch.setattr(action_record, "PAUSE", 0)
    ids, seen = [begin(sagas, number) for number in (1, 2)], []
    cancel = SagaStore.cancel

    def look(*arguments):
        seen.append(ActionRow.get().done)
        return cancel(*arguments)

    monkeypatch.setattr(SagaStore, "cancel", look)
    act(console, "cancel", ids)
    assert seen == [0, 1]


def test_oldest_records_are_dropped(console, monkeypatch):
    monkeypatch.setattr(action_record, "KEPT", 2)
    for name in ("Ada", "Bob", "Cleo"):
        act(console, "cancel", [], by=name)
    assert [row.by for row in ActionRow.select().order_by(ActionRow.id)] == ["Bob", "Cleo"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [({"by": ""}, "who wants it"), ({"sagas": "x"}, "are not ids of sagas")],
)
def test_form_that_is_wrong_is_told(console, fields, why):
    page = console.post("/actions/cancel", fields={"by": "Ada", "sagas": "", **fields})
    assert page.status == 422
    assert why in page.text
    assert ActionRow.select().count() == 0


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_nobody_else_acts_on_many(console, sagas, forged):
    saga_id = begin(sagas)
    fields = {"by": "Eve", "sagas": saga_id}
    assert console.post("/actions/cancel", fields=fields, **forged).status in (403, 421)
    assert status_of(saga_id) == "RUNNING"


def test_read_only_console_shows_records_and_does_nothing(tmp_path):
    with start(tmp_path, saga_console="read-only") as api:
        console, sagas = Console(api), SagaStore(api.app.ctx.threads.database)
        saga_id = begin(sagas)
        assert console.get("/actions").status == 200
        assert 'method="post"' not in console.get("/actions/cancel?status=RUNNING").text
        fields = {"by": "Ada", "sagas": saga_id}
        assert console.post("/actions/cancel", fields=fields).status == 403
        assert status_of(saga_id) == "RUNNING"


@pytest.mark.usefixtures("postgres")
def test_console_is_the_same_on_postgresql(tmp_path, postgres_url):
    with start(tmp_path, saga_database_url=SecretStr(postgres_url)) as api:
        console, sagas = Console(api), SagaStore(api.app.ctx.threads.database)
        ids = [begin(sagas, number) for number in (1, 2)]
        fail(sagas, ids[1])
        assert asked(console.get("/actions/cancel?cake=Tart")) == ids[:1]
        assert "Failed" in console.get(f"/sagas/{ids[1]}").text
        page = act(console, "cancel", ids)
        assert status_of(ids[0]) == "COMPENSATING"
        assert "The saga has ended" in page.text
        act(console, "cancel", [], by="A\0da")
        assert {row.by for row in ActionRow.select()} == {"Ada"}
