"""The orchestrator over HTTP."""

import json
import re
from uuid import UUID

import pytest

from saga.functions.orchestrator.place_order import place_order
from saga.http import orchestrator
from saga.runtime.clock import utcnow
from saga.runtime.envelope import Reply
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.saga_rows import SagaRow
from saga.runtime.saga_store import SagaStore

WISH = {"user_id": 1, "product_id": 2, "quantity": 3}
STEPS = ["create_order", "reserve_product", "process_payment", "complete_order"]
SAGA_FIELDS = {"saga_id", "order_id", "name", "status", "input", "failure", "steps"} | {
    "created_at",
    "updated_at",
    "due_at",
}
STEP_FIELDS = {"name", "status", "attempts", "undo_attempts", "started_at", "finished_at", "error"}
REFUSAL = '{"code": "insufficient_stock", "message": "none left"}'
UNKNOWN = f"/sagas/{UUID(int=99)}"


def refuse(command):
    """Answer as a function that says no."""
    saga_id, step, action = command.id.split("/")
    return Reply(saga_id, step, action, "rejected", command.attempt, REFUSAL)


def fail_saga(path):
    """Make the undo of a cancelled saga fail for good."""
    saga_id = path.rpartition("/")[2]
    refused = Reply(saga_id, "create_order", "undo", "rejected", 1, REFUSAL)
    SagaStore(SagaRow._meta.database).advance(place_order, [refused], utcnow())


def test_placed_order_is_a_running_saga(sagas, broker):
    response = sagas.post("/orders", WISH)
    assert response.status_code == 202
    saga = response.json
    assert response.headers["location"] == f"/sagas/{saga['saga_id']}"
    assert UUID(saga["saga_id"]).version == UUID(saga["order_id"]).version == 7
    assert (saga["name"], saga["status"], saga["input"]) == ("place-order", "RUNNING", WISH)
    assert [step["name"] for step in saga["steps"]] == STEPS
    assert saga["steps"][0]["status"] == "RUNNING"
    assert saga["failure"] is None
    (command,) = broker.taken
    assert command.id == f"{saga['saga_id']}/create_order/do"
    assert json.loads(command.data)["order_id"] == saga["order_id"]


def test_saga_shows_what_the_contract_says_and_no_more(sagas):
    saga = sagas.post("/orders", WISH).json
    assert set(saga) == SAGA_FIELDS
    assert set(saga["steps"][0]) == STEP_FIELDS


@pytest.mark.parametrize("field", WISH)
@pytest.mark.parametrize("value", [0, 2**63, "1", True, None])
def test_wrong_field_is_named(sagas, field, value):
    response = sagas.post("/orders", {**WISH, field: value})
    assert response.status_code == 422
    assert list(response.json["errors"]) == [field]


def test_repeated_key_gives_the_same_saga_and_sends_nothing(sagas, broker):
    headers = {"idempotency-key": "k"}
    first = sagas.post("/orders", WISH, headers=headers)
    again = sagas.post("/orders", dict(reversed(WISH.items())), headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
    assert len(broker.taken) == 1


def test_repeated_key_with_another_body_is_a_conflict(sagas, broker):
    headers = {"idempotency-key": "k" * 255}
    sagas.post("/orders", WISH, headers=headers)
    assert (
        sagas.post("/orders", {**WISH, "quantity": 4}, headers=headers).json["code"] == "key_reused"
    )
    assert len(broker.taken) == 1


def test_blanks_around_a_header_are_no_part_of_it(sagas, broker):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = json.dumps(WISH)
    for blanks in ("", " ", "\t \t"):
        fields = {
            "connection": "close",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "idempotency-key": "k",
            "traceparent": trace,
        }
        head = "".join(f"{name}:{blanks}{value}{blanks}\r\n" for name, value in fields.items())
        answer = sagas.send_bytes(f"POST /orders HTTP/1.1\r\n{head}\r\n{body}".encode())
        assert answer.startswith(b"HTTP/1.1 202 ")
    assert [command.traceparent for command in broker.taken] == [trace]


def test_two_keys_are_refused(sagas, broker):
    for other in ("k", "l"):
        keys = [("idempotency-key", "k"), ("idempotency-key", other)]
        response = sagas.post("/orders", WISH, headers=keys)
        assert response.status_code == 422
        assert response.json["errors"] == {"Idempotency-Key": "must be given once"}
    assert broker.taken == []


@pytest.mark.parametrize("key", [b"", b"k" * 256, b"\xff", b"a\x01", "ä".encode()])
def test_key_that_can_not_be_kept_is_refused(sagas, key):
    response = sagas.post("/orders", WISH, headers={b"idempotency-key": key})
    assert response.status_code == 422
    assert list(response.json["errors"]) == ["Idempotency-Key"]


def test_absent_broker_does_not_refuse_an_order(settings, start):
    def send(envelopes):
        raise BrokerUnavailable("gone")

    sagas = start(orchestrator.make_app(settings, send))
    response = sagas.post("/orders", WISH)
    assert response.status_code == 202
    assert sagas.delete(response.headers["location"]).status_code == 202


def test_orders_at_the_same_time_are_stored_together(sagas, broker, monkeypatch):
    stored, start = [], SagaStore.start

    def counted(store, saga, requests, now):
        stored.append(len(requests))
        return start(store, saga, requests, now)

    monkeypatch.setattr(SagaStore, "start", counted)
    responses = sagas.post_many("/orders", [WISH] * 30)
    assert {response.status_code for response in responses} == {202}
    assert len({response.json()["saga_id"] for response in responses}) == 30
    assert len(broker.taken) == 30
    assert sum(stored) == 30 > len(stored)


def test_waiting_client_is_answered_when_the_saga_has_ended(sagas, broker):
    broker.replies = refuse
    response = sagas.post("/orders", WISH, headers={"prefer": "respond-async, wait=30"})
    assert response.status_code == 200
    assert response.headers["preference-applied"] == "wait"
    saga = response.json
    assert (saga["status"], saga["due_at"]) == ("COMPENSATED", None)
    assert saga["failure"] == {"step": "create_order", **json.loads(REFUSAL)}
    assert saga["steps"][0]["error"] == json.loads(REFUSAL)


def test_waiting_client_is_answered_when_its_patience_ends(sagas):
    response = sagas.post("/orders", WISH, headers={"prefer": "wait=0"})
    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait"
    assert response.json["status"] == "RUNNING"


def test_key_of_an_ended_saga_is_answered_at_once(sagas, broker):
    broker.replies = refuse
    headers = {"idempotency-key": "k", "prefer": "wait=30"}
    first = sagas.post("/orders", WISH, headers=headers)
    again = sagas.post("/orders", WISH, headers=headers)
    assert (again.status_code, again.json) == (200, first.json)


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "return=minimal"]
)
def test_malformed_preference_is_ignored(sagas, prefer):
    response = sagas.post("/orders", WISH, headers={"prefer": prefer})
    assert response.status_code == 202
    assert "preference-applied" not in response.headers


def test_trace_is_carried_on(sagas, broker):
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sagas.post("/orders", WISH, headers={"traceparent": given})
    assert broker.taken[0].traceparent == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "nonsense",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
    ],
)
def test_trace_is_started_when_none_is_given(sagas, broker, given):
    sagas.post("/orders", WISH, headers={"traceparent": given})
    assert broker.taken[0].traceparent not in (None, given)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", broker.taken[0].traceparent)


def test_trace_is_started_when_two_are_given(sagas, broker):
    traces = [f"00-{number:032x}-b7ad6b7169203331-01" for number in (1, 2)]
    sagas.post("/orders", WISH, headers=[("traceparent", trace) for trace in traces])
    assert broker.taken[0].traceparent not in (None, *traces)


def test_saga_is_found_by_its_id(sagas):
    response = sagas.post("/orders", WISH)
    path = response.headers["location"]
    assert sagas.get(path).json == response.json
    assert sagas.get(path.upper().replace("SAGAS", "sagas")).json == response.json


@pytest.mark.parametrize("path", [UNKNOWN, "/sagas/1", "/sagas/x", f"/sagas/{UUID(int=98).hex}"])
def test_unknown_saga(sagas, path):
    assert sagas.get(path).status_code == 404
    assert sagas.delete(path).status_code == 404
    assert sagas.post(f"{path}/retry").status_code == 404


def test_sagas_are_listed_oldest_first(sagas):
    made = [sagas.post("/orders", WISH).json["saga_id"] for _ in range(5)]
    sagas.delete(f"/sagas/{made[0]}")
    first = sagas.get("/sagas?limit=2&status=RUNNING")
    rest = sagas.get(first.links["next"]["url"])
    assert [saga["saga_id"] for saga in first.json + rest.json] == made[1:]
    assert "link" not in rest.headers
    assert sagas.get("/sagas?status=COMPENSATING").json[0]["saga_id"] == made[0]


@pytest.mark.parametrize(
    "query",
    ["status=NOPE", "after=1", "limit=0", "user_id=x", "user_id=0", "order_id=1", "quantity=1"],
)
def test_wrong_query_parameter_is_refused(sagas, query):
    assert sagas.get(f"/sagas?{query}").status_code == 422


def test_cancelled_saga_is_undone(sagas, broker):
    path = sagas.post("/orders", WISH).headers["location"]
    response = sagas.delete(path)
    assert response.status_code == 202
    assert response.json["status"] == "COMPENSATING"
    assert response.json["failure"]["code"] == "cancelled"
    assert broker.taken[-1].id.endswith("/create_order/undo")


def test_ended_saga_can_not_be_cancelled(sagas, broker):
    broker.replies = refuse
    path = sagas.post("/orders", WISH).headers["location"]
    assert sagas.delete(path).json["code"] == "saga_ended"


def test_failed_saga_can_be_retried(sagas, broker):
    path = sagas.post("/orders", WISH).headers["location"]
    sagas.delete(path)
    fail_saga(path)
    assert sagas.get(path).json["status"] == "FAILED"
    response = sagas.post(f"{path}/retry")
    assert response.status_code == 202
    assert response.json["status"] == "COMPENSATING"
    assert [command.attempt for command in broker.taken] == [1, 1, 2]


def test_saga_that_has_not_failed_can_not_be_retried(sagas):
    path = sagas.post("/orders", WISH).headers["location"]
    assert sagas.post(f"{path}/retry").json["code"] == "saga_not_failed"
