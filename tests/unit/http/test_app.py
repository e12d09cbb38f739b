"""What all adapters have in common: errors, limits, health."""

import asyncio
import sys
import threading
import types

import peewee
import pytest
from sanic.exceptions import NotFound, RequestTimeout

from saga.http import orchestrator, user
from saga.runtime import errors
from saga.runtime.errors import BrokerUnavailable
from saga.runtime.web import app as app_module
from saga.runtime.web import threads as threads_module
from saga.runtime.web.problems import Busy, Conflict
from saga.runtime.web.threads import THREADS

ANN = {"name": "Ann", "email": "ann@example.com", "balance": "10.50"}
BODIES = [("POST", "/users"), ("PUT", "/users/1")]


def is_problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json
    assert problem["status"] == status
    assert problem["type"] == f"/docs/problems#{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    return True


def plain(line, *headers, body=b""):
    """Write a request, after which the connection is closed."""
    head = [line + b" HTTP/1.1", b"Connection: close", *headers, b"", b""]
    return b"\r\n".join(head) + body


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "text",
    ["", "{", "{'a': 1}", '{"balance": NaN}', "[1,]", b"\xff", b"\xef\xbb\xbf{}", "[" * 99_999],
)
def test_malformed_json_is_a_bad_request(users, method, path, text):
    assert is_problem(users.send_text(method, path, text), 400)


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("text", ["[]", "null", "1", '"x"', "true", "[{}]"])
def test_json_other_than_an_object_is_not_acceptable(users, method, path, text):
    assert is_problem(users.send_text(method, path, text), 422)


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/jsonp", "application/json; charset=latin1"]
)
def test_body_not_declared_as_json_is_not_read(users, method, path, kind):
    response = users.ask(method, path, content="{}", headers={"content-type": kind})
    assert is_problem(response, 415)


def test_body_without_a_type_is_not_read(users):
    assert is_problem(users.ask("POST", "/users", content=b"{}"), 415)


@pytest.mark.parametrize(
    "kind",
    [
        'Application/JSON; charset="UTF-8"',
        "application/json;charset=utf8",
        "application/json;",
        "application/json ; charset=utf-8;",
        "application/json;; charset=utf-8",
        "application/json; version=1",
    ],
)
def test_json_may_be_declared_with_parameters(users, kind):
    kind = {"content-type": kind}
    assert users.ask("PUT", "/users/1", content='{"name": "x"}', headers=kind).status_code == 404


def test_two_types_are_none(users):
    kinds = [("content-type", "application/json"), ("content-type", "application/json")]
    assert is_problem(users.ask("POST", "/users", content="{}", headers=kinds), 415)


def test_coded_body_is_not_read(users):
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    response = users.ask("POST", "/users", content="{}", headers=headers)
    assert is_problem(response, 415)
    assert response.headers["accept-encoding"] == "identity"
    headers["content-encoding"] = "Identity"
    assert users.ask("POST", "/users", content="{}", headers=headers).status_code == 422


@pytest.mark.parametrize("coding", [b"chunked ", b"Chunked", b"\tchunked\t"])
def test_chunks_are_put_together(users, coding):
    headers = (b"Content-Type: application/json \t", b"Transfer-Encoding:" + coding)
    request = plain(b"POST /users", *headers, body=b"2\r\n{}\r\n0\r\n\r\n")
    assert users.send_bytes(request).startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize("name", [b"Content-Length ", b" Content-Length", b"Content Length", b""])
def test_name_of_a_header_that_is_none_is_a_problem(users, name):
    second = plain(b"GET /users")
    answer = users.send_bytes(
        b"GET /users HTTP/1.1\r\n%b: %d\r\n\r\n" % (name, len(second)) + second
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("path", [b"/users/%31", b"/%75sers/1", b"http://x/u%73er%73/1?"])
def test_path_is_the_same_where_letters_and_digits_are_coded(users, path):
    users.post("/users", ANN)
    assert users.send_bytes(plain(b"GET " + path)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("path", [b"/users%2F1", b"/users/1%2f", b"/users/%2531"])
def test_path_with_another_code_is_another_path(users, path):
    users.post("/users", ANN)
    assert users.send_bytes(plain(b"GET " + path)).startswith(b"HTTP/1.1 404 ")


def test_coded_query_is_left_as_it_is(users):
    assert users.get("/users?%6Cimit=%31").status_code == 200
    assert list(users.get("/users?limit=1%2631").json["errors"]) == ["limit"]


def test_body_over_a_mebibyte_is_too_large(users):
    fitting = ('{"name": "%s"}' % ("x" * 1024 * 1024))[: 1024 * 1024 - 2] + '"}'
    assert len(fitting) == 1024 * 1024
    assert is_problem(users.send_text("POST", "/users", fitting), 422)
    assert is_problem(users.send_text("POST", "/users", fitting + " "), 413)


@pytest.mark.parametrize(("path", "status"), [(b"/users", b"413"), (b"/nowhere", b"404")])
@pytest.mark.parametrize("coding", [b"Content-Length: 12582912", b"Transfer-Encoding: chunked"])
def test_client_that_sends_much_can_read_the_early_answer(users, path, status, coding):
    body = b"x" * 12 * 1024**2
    if b"chunked" in coding:
        body = b"c00000\r\n" + body + b"\r\n0\r\n\r\n"
    kind = b"Content-Type: application/json"
    answer = users.send_bytes(plain(b"POST " + path, kind, coding, body=body))
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_type_of_a_problem_leads_to_a_paragraph_about_it(users):
    problem = users.get("/nowhere").json
    page, _, paragraph = problem["type"].partition("#")
    assert (paragraph, problem["title"]) == ("not_found", "There is no such thing")
    there = users.get(page)
    assert there.status_code == 200
    assert f'<h2 id="not_found">{problem["title"]}</h2>' in there.text
    assert "The <code>detail</code> says what is in the way." in there.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Busy("too much"), 503, "busy"),
        (asyncio.CancelledError(), 503, "stopping"),
        (BrokerUnavailable("gone"), 503, "unavailable"),
        (NotFound("no such user"), 404, "not_found"),
        (Conflict("no"), 409, "conflict"),
        (errors.Conflict("no"), 409, "conflict"),
        (errors.Conflict("no", "of_an_other_version"), 409, "conflict"),
        (errors.Unreadable("no"), 409, "saga_unreadable"),
    ],
    ids=str,
)
def test_error_has_a_code_that_a_program_can_tell(users, monkeypatch, error, status, code):
    def fail(*args):
        raise error

    monkeypatch.setattr(user, "page", fail)
    response = users.ask("GET", "/users", described=False)
    assert is_problem(response, status)
    assert response.json["code"] == code


def test_problem_of_no_type_is_told_by_its_status(users, monkeypatch):
    def fail(*args):
        raise RequestTimeout("too late")

    monkeypatch.setattr(user, "page", fail)
    problem = users.ask("GET", "/users", described=False).json
    assert problem == {
        "type": "about:blank",
        "code": "request_timeout",
        "title": "Request Timeout",
        "status": 408,
        "detail": "too late",
    }


def test_unknown_path(users):
    assert is_problem(users.get("/nowhere"), 404)


@pytest.mark.parametrize("path", ["/users", "/users/1", "/health", "/openapi.json", "/docs"])
def test_method_that_is_not_there_is_answered_with_those_that_are(users, path):
    response = users.ask("PATCH", path)
    assert is_problem(response, 405)
    assert {"GET", "HEAD"} <= set(response.headers["allow"].split(", "))


def test_head_is_get_without_a_body(users):
    response = users.ask("HEAD", "/users")
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize(
    "line", [b"nonsense", b"GET /users", b"GET /\xff HTTP/1.1", b"GET /users HTTP/9.9"]
)
def test_request_that_is_none_is_a_problem(users, line):
    answer = users.send_bytes(line + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def test_many_wrong_fields_do_not_make_a_long_answer(users):
    response = users.post("/users", {f"{n}" + "x" * 500: 1 for n in range(500)})
    assert is_problem(response, 422)
    assert len(response.content) < 10_000


def test_every_answer_forbids_sniffing(users):
    for path in ("/users", "/nowhere", "/docs"):
        assert users.get(path).headers["x-content-type-options"] == "nosniff"


def test_healthy_service(all_apis):
    for api in all_apis.values():
        response = api.get("/health")
        assert (response.status_code, response.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("error", [peewee.OperationalError, peewee.InterfaceError])
def test_absent_database_is_unavailable(users, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error("server closed the connection")

    users.post("/users", ANN)
    monkeypatch.setattr(app_module, "CHECKED_FOR", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(users.app.ctx.threads.database, "execute_sql", fail)
        for response in (users.get("/users"), users.post("/users", ANN), users.get("/health")):
            assert is_problem(response, 503)
            assert response.headers["retry-after"] == "1"
            assert response.json["away"] == ["database"]
    assert users.get("/users/1").status_code == 200


def test_live_is_who_answers_and_ready_who_has_a_database(users, monkeypatch):
    def fail(*args, **kwargs):
        raise peewee.OperationalError("server closed the connection")

    monkeypatch.setattr(app_module, "CHECKED_FOR", 0.0)
    monkeypatch.setattr(users.app.ctx.threads.database, "execute_sql", fail)
    assert users.get("/health/live").status_code == 200
    response = users.get("/health/ready")
    assert is_problem(response, 503)
    assert response.json["away"] == ["database"]


def test_health_is_asked_for_once_a_second(users, monkeypatch):
    asked = []
    monkeypatch.setattr(app_module, "CHECKED_FOR", 60.0)
    check = app_module.Check(lambda: users.app.ctx.threads.ask())
    ask = check._ask

    async def counted():
        asked.append(1)
        await ask()

    check._ask = counted
    monkeypatch.setitem(users.app.ctx.checks, "database", check)
    assert {users.get("/health").status_code for _ in range(5)} == {200}
    assert len(asked) == 1


def test_health_waits_for_no_busy_thread(users):
    """All threads that serve requests stand still; another one asks for a sign of life."""
    go_on, threads = threading.Event(), users.app.ctx.threads

    async def ask_while_busy():
        busy = [asyncio.ensure_future(threads.run(go_on.wait)) for _ in range(2 * THREADS)]
        await threads.ask()
        done = [task.done() for task in busy]
        go_on.set()
        await asyncio.gather(*busy)
        return done

    assert users.run(ask_while_busy()) == [False] * 2 * THREADS


def test_request_that_would_wait_too_long_for_a_thread_is_told_to_come_again(users, monkeypatch):
    monkeypatch.setattr(threads_module, "QUEUED", -THREADS)
    response = users.get("/users")
    assert is_problem(response, 503)
    assert response.headers["retry-after"] == "1"
    monkeypatch.undo()
    assert users.get("/users").status_code == 200


def test_connection_that_has_failed_is_replaced(users):
    threads, failed, together = users.app.ctx.threads, [], threading.Barrier(THREADS)

    def fail():
        failed.append(threads.database.connection())
        raise peewee.OperationalError("server closed the connection")

    def connection():
        together.wait(10)
        return threads.database.connection()

    async def connections():
        return await asyncio.gather(*(threads.run(connection) for _ in range(THREADS)))

    with pytest.raises(peewee.OperationalError):
        users.run(threads.run(fail))
    assert failed[0] not in users.run(connections())
    assert users.get("/users").status_code == 200


def test_absent_broker_is_named_by_health(settings, start, monkeypatch):
    away = [True]

    class Producer:
        def __init__(self, settings, on_sent): ...

        def check(self):
            if away:
                raise BrokerUnavailable("kafka:9092 does not answer")

        def post(self, envelopes): ...

        def close(self): ...

    class Tail:
        def __init__(self, settings, topic, on_records): ...

        def close(self): ...

    for stub in (Producer, Tail):
        module = types.ModuleType(f"saga.runtime.kafka.{stub.__name__.lower()}")
        monkeypatch.setattr(module, stub.__name__, stub, raising=False)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(app_module, "CHECKED_FOR", 0.0)
    api = start(orchestrator.make_app(settings))
    response = api.get("/health")
    assert is_problem(response, 503)
    assert response.json["away"] == ["broker"]
    # It takes orders all the same.
    assert api.get("/health/ready").status_code == 200
    away.clear()
    assert api.get("/health").status_code == 200


def test_fault_of_ours_is_logged_and_not_shown(users, monkeypatch, caplog):
    def fail(*args):
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(user, "list_rows", fail)
    response = users.get("/users")
    assert is_problem(response, 500)
    assert "42" not in response.text
    assert "the secret is 42" in caplog.text
