"""An adapter on loopback answers under its own names alone, one elsewhere under any."""

import pytest

from saga.runtime.settings import Settings
from saga.runtime.web import new_app
from saga.runtime.web.known_host import check
from saga.runtime.web.problems import UnknownHost

LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LocalHost"]
ELSEWHERE = ["0.0.0.0", "::", "10.0.0.7", "orders.internal"]
KNOWN = ["localhost", "LOCALHOST:8003", "127.0.0.1:8003", "[::1]:8003", "10.1.2.3", "localhost."]
UNKNOWN = ["evil.example", "evil.example:8003", "127.0.0.1.evil.example", "order:8002", "[::1", "@"]


@pytest.fixture
def listening(start, tmp_path):
    """Return an adapter that takes itself to listen at a host, wherever it does."""
    return lambda host, hosts="": start(
        new_app("bakery", Settings(saga_data=tmp_path, saga_host=host, saga_hosts=hosts), [])
    )


def status(api, host, path="/openapi.json"):
    return api.ask("GET", path, described=False, headers={"host": host}).status


@pytest.mark.parametrize("where", LOOPBACK)
def test_adapter_on_loopback_answers_under_its_own_names_alone(listening, where):
    api = listening(where)
    assert {name: status(api, name) for name in KNOWN} == dict.fromkeys(KNOWN, 200)
    assert {name: status(api, name) for name in UNKNOWN} == dict.fromkeys(UNKNOWN, 421)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_adapter_that_listens_elsewhere_is_asked_for_by_any_name(listening, where):
    api = listening(where)
    names = [*KNOWN, "evil.example", "order:8002", "orders.default.svc.cluster.local"]
    assert {name: status(api, name) for name in names} == dict.fromkeys(names, 200)


def test_adapter_whose_names_are_set_answers_under_them_wherever_it_listens(listening):
    for where in ("127.0.0.1", "0.0.0.0"):
        api = listening(where, "orders.example, order")
        for name in ("orders.example", "ORDER:8002", "10.0.0.7"):
            assert status(api, name) == 200
        assert status(api, "evil.example") == 421


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_is_told_under_any_name(listening, path):
    assert status(listening("127.0.0.1"), "evil.example", path) == 200


def test_refusal_says_what_to_do(listening):
    refused = listening("127.0.0.1").ask("GET", "/metrics", headers={"host": "evil.example"})
    assert (refused.status, refused.json["code"]) == (421, "unknown_host")
    assert refused.json["detail"] == (
        "evil.example is no name of this adapter: SAGA_HOSTS has them"
    )
    assert refused.json["type"] == "/docs/problems#unknown_host"


def test_name_that_the_adapter_listens_at_is_its_own():
    check("orders.internal:8003", Settings(saga_host="Orders.Internal"))
    for nothing in ("", ":8003"):
        with pytest.raises(UnknownHost):
            check(nothing, Settings(saga_hosts=" , "))
