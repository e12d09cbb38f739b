"""Whatever comes in, the answer is no fault of ours, and every error is a problem."""

import json
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

FIELDS = {
    "user": ["name", "email", "balance", "amount"],
    "product": ["name", "price", "stock", "quantity"],
    "order": ["user_id", "product_id", "quantity"],
    "orchestrator": ["user_id", "product_id", "quantity"],
}
BODY_ROUTES = {
    "user": [("POST", "/users"), ("PUT", "/users/1"), ("POST", "/users/1/deposits")],
    "product": [("POST", "/products"), ("PUT", "/products/1"), ("POST", "/products/1/deliveries")],
    "order": [("POST", "/orders")],
    "orchestrator": [("POST", "/orders"), ("POST", f"/sagas/{UUID(int=1)}/skip")],
}
LISTS = {"user": "/users", "product": "/products", "order": "/orders", "orchestrator": "/sagas"}

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.emails()
    | st.decimals(allow_nan=False, allow_infinity=False).map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
segments = st.text(max_size=30).map(
    lambda text: quote(text, errors="replace", safe="")
) | st.sampled_from(["%00", "%ff", "..", "-1", "1e3", "%ED%A0%80", "9" * 30, "1;2", "{}", "0" * 36])
few = settings(max_examples=20)


def check(response):
    assert response.status_code < 500
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json["status"] == response.status_code


@pytest.fixture(params=LISTS)
def service(request):
    return request.param


@pytest.fixture
def api(all_apis, service):
    return all_apis[service]


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
def test_any_json_body(api, service):
    body = values | st.dictionaries(
        st.sampled_from(FIELDS[service]) | st.text(), values, max_size=5
    )

    @few
    @given(body)
    def throw(value):
        for method, path in BODY_ROUTES[service]:
            check(api.send_text(method, path, json.dumps(value)))

    throw()


def test_any_bytes(api, service):
    @few
    @given(st.binary(), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace")))
    def throw(body, kind):
        kind = kind.translate(None, bytes(range(32)) + b"\x7f").strip()
        for method, path in BODY_ROUTES[service]:
            check(api.send_text(method, path, body))
            check(api.ask(method, path, content=body, headers={b"content-type": kind}))

    throw()


def test_any_path(api, service):
    @few
    @given(segments)
    def throw(segment):
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            check(api.send_text(method, f"{LISTS[service]}/{segment}", "{}"))
        check(api.post(f"{LISTS[service]}/{segment}/retry"))

    throw()


def test_any_query(api, service):
    names = st.sampled_from(["limit", "after", "status", "user_id"]).map(str) | segments

    @few
    @given(st.lists(st.tuples(names, segments), max_size=3))
    def throw(pairs):
        check(api.get(LISTS[service] + "?" + "&".join(f"{k}={v}" for k, v in pairs)))

    throw()


def test_any_headers(all_apis):
    api = all_apis["orchestrator"]
    order = {"user_id": 1, "product_id": 1, "quantity": 1}
    texts = st.binary(max_size=40).map(
        lambda b: b.translate(None, bytes(range(32)) + b"\x7f").strip()
    )

    @few
    @given(texts, texts, texts)
    def throw(key, prefer, trace):
        headers = {b"idempotency-key": key, b"prefer": prefer, b"traceparent": trace}
        check(api.post("/orders", order, headers=headers))

    throw()
