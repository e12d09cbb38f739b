"""The API of a saga that is no order: cakes, in a database that they share with bread."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel, Field, JsonValue, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from saga.runtime import Command, Event, Message, Saga, Step, saga_queries
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Reply
from saga.runtime.errors import ContractError
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_state import from_json, to_json
from saga.runtime.saga_store import TABLES, SagaStore, Start
from saga.runtime.settings import Settings
from saga.runtime.web.app import new_app
from saga.runtime.web.payload import Body
from saga.runtime.web.saga_shapes import ELSEWHERE
from saga.runtime.web.sagas import saga_blueprint
from support.api import Broker, empty, run_app

EXACT = "900000000000.0312345678901234567"
WISH = {"baker": "Ada", "layers": 3, "price": "12.50", "day": "2027-05-01"}
SHOWN = {**WISH, "note": None, "toppings": []}
DONE = "{}"
NO = '{"code": "no_flour", "message": "none left"}'


class Baked(Event, topic="bakery.events"):
    pass


class BakeLayers(Command, topic="bakery.bake", event=Baked):
    cake_id: UUID


class EatLayers(Command, topic="bakery.eat", event=Baked):
    cake_id: UUID


class SellCake(Command, topic="bakery.sell", event=Baked):
    cake_id: UUID
    price: Decimal


class Topping(BaseModel):
    name: str
    of: "list[Topping]" = Field(default_factory=list)


class BakeCake(Message):
    """A cake to bake."""

    cake_id: UUID
    baker: str
    layers: PositiveInt
    price: Decimal
    day: date
    note: JsonValue = None
    toppings: list[Topping] = Field(default_factory=list)

    @model_validator(mode="after")
    def _not_on_new_year(self):
        if (self.day.month, self.day.day) == (1, 1):
            raise PydanticCustomError("closed", "nobody bakes on New Year's Day")
        return self


class BakeBread(Message):
    cake_id: UUID


SEARCH = ("cake_id", "baker", "layers", "price", "day")
CAKE = Saga(
    "bake-cake", BakeCake, [Step(BakeLayers, undo=EatLayers), Step(SellCake)], search=SEARCH
)
BREAD = Saga("bake-bread", BakeBread, [Step(BakeLayers, undo=EatLayers)], search=("cake_id",))


SHARED_BROKER = Broker(CAKE)


@pytest.fixture
def broker():
    SHARED_BROKER.forget()
    return SHARED_BROKER


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory):
    settings = Settings(saga_data=tmp_path_factory.mktemp("data"))
    cakes = saga_blueprint(CAKE, assigned={"cake_id": uuid4}, send=SHARED_BROKER.send)
    with run_app(new_app("bakery", settings, TABLES, cakes)) as api:
        yield api


@pytest.fixture
def api(shared_api, broker):
    empty(shared_api, TABLES)
    return shared_api


def answering(outcome, data=DONE):
    """Answer each command as a function would."""

    def answer(command):
        saga_id, step, action = command.id.split("/")
        return Reply(saga_id, step, action, outcome, command.attempt, data)

    return answer


def bread(cake_id):
    """Start a saga of another declaration in the same database."""
    begin = Start(str(UUID(int=1)), BakeBread(cake_id=cake_id))
    [started] = SagaStore(SagaRow._meta.database).start(BREAD, [begin], utcnow())
    assert not isinstance(started, Exception)
    state, _ = started
    return state.id


def rewrite(saga_id, change):
    """Change a saga's row, as an older version might have written it."""
    this = SagaRow.id == saga_id
    state = json.loads(SagaRow.get(this).state)
    change(state)
    text = to_json(from_json(json.dumps(state)))
    SagaRow.update(state=text, status=state["status"]).where(this).execute()


def listed(api, query=""):
    response = api.get(f"/sagas{query}")
    assert response.status_code == 200
    return [saga["saga_id"] for saga in response.json]


def make(api, **changes):
    response = api.post("/sagas", {**WISH, **changes})
    assert response.status_code == 202
    return response.json["saga_id"]


def test_started_saga_shows_its_input_and_what_was_assigned(api, broker):
    response = api.post("/sagas", WISH)
    assert response.status_code == 202
    saga = response.json
    assert response.headers["location"] == f"/sagas/{saga['saga_id']}"
    assert (saga["name"], saga["status"], saga["input"]) == ("bake-cake", "RUNNING", SHOWN)
    assert [step["name"] for step in saga["steps"]] == ["bake_layers", "sell_cake"]
    [command] = broker.taken
    assert json.loads(command.data) == {"cake_id": saga["cake_id"]}
    assert api.get(response.headers["location"]).json == saga


def test_started_saga_shows_all_of_a_deep_input(api):
    deep = {"note": [{"a": 1}, None], "toppings": [{"name": "icing", "of": [{"name": "sugar"}]}]}
    shown = api.post("/sagas", {**WISH, **deep}).json["input"]
    assert shown["note"] == deep["note"]
    assert shown["toppings"][0]["of"] == [{"name": "sugar", "of": []}]


@pytest.mark.parametrize("price", [f'"{EXACT}"', "0.1", "1234567890123.45"])
def test_number_reaches_the_message_as_it_was_written(api, price):
    text = json.dumps({**WISH, "price": 0}).replace('"price": 0', f'"price": {price}')
    assert api.send_text("POST", "/sagas", text).json["input"]["price"] == price.strip('"')


def test_number_that_no_float_holds_is_refused(api):
    text = json.dumps({**WISH, "price": 0}).replace('"price": 0', f'"price": {EXACT}')
    refused = api.send_text("POST", "/sagas", text)
    assert (refused.status, list(refused.json["errors"])) == (422, ["body"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("baker", 7),
        ("baker", None),
        ("layers", 0),
        ("layers", "3"),
        ("layers", 3.5),
        ("price", "x"),
        ("price", True),
        ("day", 0),
        ("day", "tomorrow"),
        ("toppings", {}),
        ("cake_id", str(UUID(int=1))),
        ("colour", "red"),
    ],
)
def test_wrong_field_is_named(api, broker, field, value):
    response = api.post("/sagas", {**WISH, field: value})
    assert response.status_code == 422
    assert list(response.json["errors"]) == [field]
    assert broker.taken == []


@pytest.mark.parametrize("note", [r'"\ud83d"', r'{"\udc00": 1}', r'["\ude00\ud83d"]'])
def test_half_of_a_surrogate_pair_is_refused_wherever_it_is(api, broker, note):
    text = json.dumps({**WISH, "note": 0}).replace('"note": 0', f'"note": {note}')
    assert api.send_text("POST", "/sagas", text).status_code == 422
    assert api.send_text("POST", "/sagas", text.replace(note, r'"\ud83d\ude00"')).status_code == 202


@pytest.mark.parametrize("depth", [190, 197, 198, 199])
def test_note_that_is_nested_too_deep_for_a_row_is_refused(api, depth):
    note = json.loads("[" * depth + "]" * depth)
    answered = api.post("/sagas", {**WISH, "note": note})
    if depth > 197:
        assert (answered.status, answered.json["errors"]) == (422, {"body": "is nested too deep"})
    else:
        assert answered.status == 202


def test_message_refuses_a_body_by_checks_of_its_own(api):
    response = api.post("/sagas", {**WISH, "day": "2027-01-01"})
    assert response.status_code == 422
    assert response.json["errors"] == {"body": "nobody bakes on New Year's Day"}


def test_repeated_key_gives_the_same_saga(api, broker):
    headers = {"idempotency-key": "k"}
    first = api.post("/sagas", WISH, headers=headers)
    assert api.post("/sagas", dict(reversed(WISH.items())), headers=headers).json == first.json
    other = api.post("/sagas", {**WISH, "layers": 4}, headers=headers)
    assert (other.status_code, other.json["code"]) == (409, "key_reused")
    assert len(broker.taken) == 1


def test_key_of_another_saga_is_a_conflict(api, broker):
    fingerprint = json.dumps(WISH, sort_keys=True)
    begin = Start(str(uuid4()), BakeBread(cake_id=uuid4()), "k", fingerprint)
    SagaStore(SagaRow._meta.database).start(BREAD, [begin], utcnow())
    other = api.post("/sagas", WISH, headers={"idempotency-key": "k"})
    assert (other.status_code, other.json["code"]) == (409, "key_reused")
    assert broker.taken == []


def test_waiting_client_is_answered_when_the_saga_has_ended(api, broker):
    broker.replies = answering("rejected", NO)
    response = api.post("/sagas", WISH, headers={"prefer": "wait=30"})
    assert (response.status_code, response.json["status"]) == (200, "COMPENSATED")
    assert response.headers["preference-applied"] == "wait"
    assert response.json["failure"] == {"step": "bake_layers", **json.loads(NO)}


@pytest.mark.parametrize("prefer", ["wait=0", "wait=30"])
def test_shown_saga_may_be_waited_for(api, broker, prefer):
    if prefer == "wait=30":
        broker.replies = answering("rejected", NO)
    response = api.get(f"/sagas/{make(api)}", headers={"prefer": prefer})
    assert (response.status_code, response.headers["preference-applied"]) == (200, "wait")
    assert response.json["status"] == ("RUNNING" if prefer == "wait=0" else "COMPENSATED")


def test_accepted_request_says_when_to_ask_again(api, broker):
    saga_id = make(api)
    broker.replies = answering("rejected", NO)
    accepted = [
        api.post("/sagas", WISH),
        api.post("/sagas", WISH, headers={"prefer": "wait=0"}),
        api.delete(f"/sagas/{saga_id}"),
    ]
    broker.replies = answering("done")
    accepted.append(api.post(f"/sagas/{saga_id}/retry"))
    told = [(answer.status_code, answer.headers.get("retry-after")) for answer in accepted]
    assert told == [(202, "1"), (200, None), (202, "1"), (202, "1")]


def test_list_is_filtered_by_what_the_saga_can_be_found_by(api):
    ada, bob = make(api), make(api, baker="Bob & Söhne", layers=1, price=7, day="2027-05-02")
    cake_id = api.get(f"/sagas/{bob}").json["cake_id"]
    assert listed(api) == [ada, bob]
    assert listed(api, "?baker=Ada") == [ada]
    assert listed(api, "?baker=Bob+%26+S%C3%B6hne&layers=1") == [bob]
    assert listed(api, f"?cake_id={cake_id.upper()}") == [bob]
    assert listed(api, "?price=12.50&day=2027-05-01") == [ada]
    assert listed(api, "?baker=Ada&layers=1") == []
    assert listed(api, "?baker=Ada&status=COMPLETED") == []


def test_list_is_filtered_by_what_failed(api, broker):
    broker.replies = answering("rejected", NO)
    ada, bob = make(api), make(api, baker="Bob")
    broker.replies = lambda _: None
    cancelled = make(api)
    api.delete(f"/sagas/{cancelled}")
    make(api)
    assert listed(api, "?code=no_flour") == [ada, bob]
    assert listed(api, "?step=bake_layers") == [ada, bob, cancelled]
    assert listed(api, "?step=bake_layers&code=cancelled") == [cancelled]
    assert listed(api, "?code=no_flour&baker=Bob&status=COMPENSATED") == [bob]
    assert listed(api, "?step=sell_cake") == listed(api, "?code=no%00flour") == []
    first = api.get("/sagas?code=no_flour&limit=1")
    assert [s["saga_id"] for s in api.get(first.links["next"]["url"]).json] == [bob]


def test_list_is_filtered_by_time_and_id(api):
    start = datetime(2027, 1, 1, 12, tzinfo=UTC)
    made = []
    for milliseconds in range(3):
        saga_id = UUID(int=(int(start.timestamp() * 1000) + milliseconds) << 80 | 7 << 76 | 1)
        cake = BakeCake.model_validate({"cake_id": uuid4(), **WISH})
        begin = Start(str(saga_id), cake)
        SagaStore(SagaRow._meta.database).start(CAKE, [begin], start)
        made.append(str(saga_id))
    second = "2027-01-01T12:00:00.001Z"
    for asked, found in (
        (f"created_after={second}", made[1:]),
        (f"created_before={second}", made[:1]),
        (f"created_after={second}&created_before=2027-01-01T13:00:00.002%2B01:00", made[1:2]),
        ("created_after=2027-01-01T12:00:00.001999Z", made[1:]),
        ("created_after=1900-01-01t00:00:00z&created_before=9999-12-31T23:59:59Z", made),
        ("created_before=1900-01-01T00:00:00Z", []),
        (f"saga_id={made[1]}", made[1:2]),
        (f"saga_id={made[1]}&created_before={second}", []),
        (f"saga_id={made[1]}&baker=Ada&status=RUNNING", made[1:2]),
        (f"saga_id={made[1]}&baker=Bob", []),
        (f"saga_id={UUID(int=0)}", []),
        (f"saga_id={UUID(int=2**128 - 1)}", []),
    ):
        assert listed(api, f"?{asked}") == found
    first = api.get(f"/sagas?created_after={second}&limit=1")
    assert [s["saga_id"] for s in api.get(first.links["next"]["url"]).json] == made[2:]


@pytest.mark.parametrize("text", ["nul\0l", "x" * 1000])
def test_text_that_no_index_holds_as_it_is_is_found(api, text):
    saga_id = make(api, baker=text)
    assert listed(api, f"?baker={text.replace(chr(0), '%00')}") == [saga_id]
    assert listed(api, "?baker=%00%ED%A0%80") == []


@pytest.mark.parametrize(
    "query",
    [
        "cake_id=1",
        "layers=x",
        "layers=0",
        "layers=1.5",
        "layers=%201",
        "layers=",
        "price=x",
        "day=x",
        "baker=a&baker=b",
        "note=x",
        "status=x",
        "after=x",
        "limit=0",
        "saga_id=x",
        "created_after=1700000000",
        "created_after=2027-01-01",
        "created_before=2027-01-01T12:00:00",
        "created_before=2027-13-01T12:00:00Z",
    ],
)
def test_wrong_filter_is_named(api, query):
    response = api.get(f"/sagas?{query}")
    assert response.status_code == 422
    assert list(response.json["errors"]) == [query.partition("=")[0]]


def test_next_page_keeps_the_filters(api):
    made = [make(api, baker=baker) for baker in ("Ada", "B=b&", "Ada", "B=b&", "B=b&")]
    first = api.get("/sagas?baker=B%3Db%26&limit=1&day=2027-05-01&layers=3")
    second = api.get(first.links["next"]["url"])
    third = api.get(second.links["next"]["url"])
    pages = [response.json[0]["saga_id"] for response in (first, second, third)]
    assert pages == [made[1], made[3], made[4]]
    assert "link" not in third.headers


def test_list_of_what_cant_be_read_goes_on_behind_short_and_empty_pages(api, monkeypatch):
    monkeypatch.setattr(saga_queries, "READ_AT_ONCE", 2)
    made = [make(api) for _ in range(9)]
    for bad in (made[3], made[6], made[7]):
        pause(bad)
    for asked in ("status=UNREADABLE&limit=9", "baker=Ada&status=UNREADABLE&limit=1"):
        answer = api.get(f"/sagas?{asked}")
        pages = [answer.json]
        while "link" in answer.headers:
            answer = api.get(answer.links["next"]["url"])
            pages.append(answer.json)
        assert pages[0] == []
        assert [s["saga_id"] for one in pages for s in one] == [made[3], made[6], made[7]]
    assert listed(api, "?status=RUNNING&limit=1&after=" + made[2]) == [made[4]]
    assert listed(api, "?status=RUNNING&limit=9") == [made[i] for i in (0, 1, 2, 4, 5, 8)]


def test_cancelled_saga_is_undone(api, broker):
    saga_id = make(api)
    response = api.delete(f"/sagas/{saga_id}")
    assert (response.status_code, response.json["status"]) == (202, "COMPENSATING")
    assert response.headers["location"] == f"/sagas/{saga_id}"
    assert broker.taken[-1].topic == "bakery.eat"


def test_failed_saga_is_retried(api, broker):
    saga_id = make(api)
    refused = api.post(f"/sagas/{saga_id}/retry")
    assert (refused.status_code, refused.json["code"]) == (409, "saga_not_failed")
    broker.replies = answering("rejected", NO)
    api.delete(f"/sagas/{saga_id}")
    assert api.get(f"/sagas/{saga_id}").json["status"] == "FAILED"
    refused = api.delete(f"/sagas/{saga_id}")
    assert (refused.status_code, refused.json["code"]) == (409, "saga_ended")
    broker.replies = answering("done")
    assert api.post(f"/sagas/{saga_id}/retry").status_code == 202
    assert api.get(f"/sagas/{saga_id}").json["status"] == "COMPENSATED"


SECRET = "OperationalError: no way to db.internal as baker:pa55word"


def faulty(outcome, code="OperationalError"):
    return answering(outcome, json.dumps({"code": code, "message": SECRET}))


def pieces(api, saga_id):
    """Return all that a client may get of one saga, as text."""
    one = api.get(f"/sagas/{saga_id}", headers={"prefer": "wait=0"})
    return "".join(found.text for found in (one, api.get("/sagas"), api.get(f"/sagas/{saga_id}")))


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        (faulty("failed"), "attempts_exhausted"),
        (faulty("unsent", "not_sent"), "not_sent"),
        (faulty("rejected", "invalid_command"), "invalid_command"),
        (answering("rejected", SECRET), "unknown"),
        (answering("done", json.dumps({"code": SECRET})[:-1]), "attempts_exhausted"),
    ],
)
def test_text_of_a_fault_reaches_no_client(api, broker, replies, code):
    broker.replies = replies
    saga_id = make(api)
    store, now = SagaStore(SagaRow._meta.database), utcnow()
    for _ in range(20):  # more attempts than a do and its undo have
        now += timedelta(seconds=10)
        for command in store.sweep(CAKE, now):
            store.advance(CAKE, [replies(command)], now)
    failure = api.get(f"/sagas/{saga_id}").json["failure"]
    assert (failure["code"], failure["message"]) == (code, ELSEWHERE)
    assert SECRET[:10] not in pieces(api, saga_id).replace('"code":"OperationalError"', "")


def test_word_of_whoever_rejects_an_undo_is_shown(api, broker):
    saga_id = make(api)
    broker.replies = answering("rejected", NO)
    cancelled = api.delete(f"/sagas/{saga_id}").json
    assert cancelled["failure"]["message"] == "cancelled on request"
    [baked, _] = api.get(f"/sagas/{saga_id}").json["steps"]
    assert (baked["status"], baked["error"]) == ("UNDO_FAILED", json.loads(NO))


HAND = {"step": "bake_layers", "by": "Ada", "reason": "the birds have had it"}


def test_undo_done_by_hand_is_recorded_with_who_and_why(api, broker):
    saga_id = make(api)
    assert api.post(f"/sagas/{saga_id}/skip", HAND).json["code"] == "no_failed_undo"
    broker.replies = answering("rejected", NO)
    api.delete(f"/sagas/{saga_id}")
    other = api.post(f"/sagas/{saga_id}/skip", {**HAND, "step": "sell_cake"})
    assert other.json["code"] == "no_failed_undo"
    assert "no failed undo of 'sell_cake'" in other.json["detail"]
    done = api.post(f"/sagas/{saga_id}/skip", HAND)
    assert (done.status_code, done.headers["location"]) == (202, f"/sagas/{saga_id}")
    assert done.json["status"] == "COMPENSATED"
    assert done.json["steps"][0]["error"] == {
        "code": "skipped",
        "message": "Ada: the birds have had it",
    }
    assert api.post(f"/sagas/{saga_id}/skip", HAND).json["code"] == "no_failed_undo"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in HAND for value in ("", " ", "a\0", None, 7)],
        *[("by", "x" * 101), ("reason", "x" * 501), ("when", "now")],
    ],
)
def test_undo_done_by_hand_has_a_name_and_a_reason_of_a_bounded_size(api, field, value):
    response = api.post(f"/sagas/{make(api)}/skip", {**HAND, field: value})
    assert (response.status_code, list(response.json["errors"])) == (422, [field])


def test_saga_of_another_declaration_is_not_there(api):
    cake = make(api)
    other = bread(api.get(f"/sagas/{cake}").json["cake_id"])
    assert listed(api) == [cake]
    assert listed(api, f"?cake_id={api.get(f'/sagas/{cake}').json['cake_id']}") == [cake]
    assert api.get(f"/sagas/{other}").status_code == 404
    assert api.delete(f"/sagas/{other}").status_code == 404
    assert api.post(f"/sagas/{other}/retry").status_code == 404
    assert api.post(f"/sagas/{other}/skip", HAND).status_code == 404


def test_sagas_of_two_declarations_may_share_an_app(settings, start, broker):
    apis = [
        saga_blueprint(CAKE, path="/cakes", assigned={"cake_id": uuid4}, send=broker.send),
        saga_blueprint(BREAD, path="/breads", start="/bread", send=broker.send),
    ]
    api = start(new_app("bakery", settings, TABLES, *apis))
    made = api.post("/cakes", WISH), api.post("/bread", {"cake_id": str(UUID(int=1))})
    for response, path in zip(made, ("/cakes", "/breads"), strict=True):
        assert response.headers["location"] == f"{path}/{response.json['saga_id']}"
        assert api.get(path).json == [response.json]
    names = [
        operation["operationId"]
        for path in api.get("/openapi.json").json["paths"].values()
        for operation in path.values()
    ]
    assert len(names) == len(set(names)) == 21


def pause(saga_id):
    """Change a saga's row, as a newer version might have written it; return it as it was."""
    row = SagaRow.get(SagaRow.id == saga_id)
    paused = row.state.replace('"status":"RUNNING"', '"status":"PAUSED"', 1)
    SagaRow.update(state=paused).where(SagaRow.id == saga_id).execute()
    return row.state


def test_saga_whose_row_cant_be_read_is_shown_without_the_text_of_the_fault(api):
    good, bad = make(api), make(api)
    before = pause(bad)
    shown = api.get(f"/sagas/{bad}").json
    assert (shown["status"], shown["input"], shown["steps"]) == ("UNREADABLE", SHOWN, [])
    assert (shown["failure"]["step"], shown["failure"]["code"]) == ("", "unreadable")
    assert shown["failure"]["message"] == ELSEWHERE
    assert [saga["status"] for saga in api.get("/sagas").json] == ["RUNNING", "UNREADABLE"]
    refused = [api.post(f"/sagas/{bad}/retry"), api.delete(f"/sagas/{bad}")]
    assert [answer.json["code"] for answer in refused] == ["saga_unreadable"] * 2
    assert {answer.json["detail"] for answer in refused} == {
        f"saga {bad} is UNREADABLE: {ELSEWHERE}"
    }
    assert listed(api, "?status=UNREADABLE") == [bad]
    SagaStore(SagaRow._meta.database).advance(CAKE, [answered(bad)], utcnow())
    assert listed(api, "?status=UNREADABLE") == [bad]
    SagaRow.update(state=before).where(SagaRow.id == bad).execute()
    assert api.post(f"/sagas/{bad}/retry").json["status"] == "RUNNING"
    assert listed(api, "?status=RUNNING") == [good, bad]


@pytest.mark.parametrize("text", ["", "[]", '{"input": {"baker": {}, "price": 1e999}}'])
def test_row_that_holds_anything_is_listed(api, text):
    saga_id = make(api)
    SagaRow.update(state=text).where(SagaRow.id == saga_id).execute()
    # The document describes what was asked for, and of this one nobody knows.
    [shown] = api.get("/sagas", described=False).json
    assert (shown["saga_id"], shown["status"]) == (saga_id, "UNREADABLE")


def answered(saga_id):
    return Reply(saga_id, "bake_layers", "do", "done", 1, DONE)


def rename_step(state):
    state["steps"][0]["name"] = "bake_everything"


def test_saga_with_a_step_of_another_name_is_shown(api):
    old, new = make(api), make(api)
    rewrite(old, rename_step)
    assert listed(api) == [old, new]
    assert api.get(f"/sagas/{old}").json["steps"][0]["name"] == "bake_everything"


def test_saga_with_a_step_of_another_name_can_not_be_changed(api):
    old, failed = make(api), make(api)
    rewrite(old, rename_step)

    def fail(state):
        rename_step(state)
        state["status"] = "FAILED"
        state["steps"][0]["status"] = "UNDO_FAILED"

    rewrite(failed, fail)
    for response in (api.delete(f"/sagas/{old}"), api.post(f"/sagas/{failed}/retry")):
        assert response.json["code"] == "saga_outdated"
        assert "does not fit its declaration of today" in response.json["detail"]
        assert "bake_everything" not in response.text
    assert api.get(f"/sagas/{old}").json["status"] == "RUNNING"


@pytest.mark.parametrize(
    "old",
    [
        {},
        {"cake_id": 7, "layers": "many", "price": [1.5], "day": {"of": "May"}, "toppings": "nuts"},
    ],
)
def test_saga_that_was_started_with_something_else_is_shown(api, old):
    saga_id = make(api)
    rewrite(saga_id, lambda state: state.update(input=old))
    # The document describes the declaration of today.
    shown = api.get(f"/sagas/{saga_id}", described=False).json
    assert shown["cake_id"] == old.get("cake_id")
    assert shown["input"] == {name: old.get(name) for name in SHOWN}
    assert api.get("/sagas", described=False).json == [shown]


class ShortCake(Body):
    """A cake of one layer."""

    baker: str


def test_body_may_be_a_part_of_the_message(settings, start, broker):
    rest = {
        "cake_id": uuid4,
        "day": lambda: date(2027, 5, 1),
        "price": Decimal,
        "layers": lambda: 1,
    }
    cakes = saga_blueprint(
        CAKE, start="/cakes", body=ShortCake, assigned=rest, send=broker.send, summary="Bake one."
    )
    api = start(new_app("bakery", settings, TABLES, cakes))
    saga = api.post("/cakes", {"baker": "Ada"}).json
    assert saga["input"] == {"baker": "Ada"}
    assert [saga[name] for name in ("day", "price", "layers")] == ["2027-05-01", "0", 1]
    assert api.post("/cakes", WISH).status_code == 422
    assert api.post("/sagas", WISH).status_code == 405
    operation = api.get("/openapi.json").json["paths"]["/cakes"]["post"]
    assert operation["summary"] == "Bake one"


class Unfitting(Body):
    baker: str
    flour: str


class Named(Message):
    cake_id: UUID
    status: str


NAMED = Saga("named", Named, [Step(BakeLayers)])
FILTERED = Saga("filtered", Named, [Step(BakeLayers)], search=("status",))


@pytest.mark.parametrize(
    ("saga", "options", "reason"),
    [
        (CAKE, {"body": Unfitting}, "BakeCake has no flour"),
        (CAKE, {"body": ShortCake}, "nothing gives cake_id, day, layers, price"),
        (CAKE, {"assigned": {"oven": uuid4}}, "BakeCake has no oven"),
        (CAKE, {"body": BakeCake, "assigned": {"day": date.today}}, "twice given: day"),
        (NAMED, {"assigned": {"status": str}}, "a shown saga has its own status"),
        (FILTERED, {}, "a page has its own status"),
    ],
)
def test_declaration_that_can_not_work_is_refused(saga, options, reason):
    with pytest.raises(ContractError, match=f"the API of {saga.name}: {reason}"):
        saga_blueprint(saga, **options)


def test_document_describes_the_declared_types(api):
    document = api.get("/openapi.json").json
    schemas = document["components"]["schemas"]
    saga, told, body = (schemas[f"BakeCake{part}"] for part in ("Saga", "Input", ""))
    assert saga["properties"]["cake_id"]["format"] == "uuid"
    assert set(saga["required"]) == {*saga["properties"]}
    assert saga["properties"]["input"] == {"$ref": "#/components/schemas/BakeCakeInput"}
    assert told["properties"]["day"]["format"] == "date"
    assert told["properties"]["layers"]["type"] == "integer"
    assert set(told["properties"]) == set(SHOWN)
    assert set(body["properties"]) == set(SHOWN)
    assert body["required"] == list(WISH)
    assert body["additionalProperties"] is False
    assert schemas["SagaStep"]["properties"]["name"]["type"] == "string"
    asked = {p["name"]: p["schema"] for p in document["paths"]["/sagas"]["get"]["parameters"]}
    filters = {"status", "step", "code", "saga_id", "created_after", "created_before"}
    assert set(asked) == {*SEARCH, *filters, "limit", "after"}
    assert asked["created_after"] == {"type": "string", "format": "date-time"}
    assert (asked["cake_id"]["format"], asked["day"]["format"]) == ("uuid", "date")
    assert (asked["layers"]["type"], asked["layers"]["exclusiveMinimum"]) == ("integer", 0)
