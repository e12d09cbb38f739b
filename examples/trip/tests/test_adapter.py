"""The trip's adapter, in process: its commands go to a list instead of a broker."""

from pathlib import Path

import pytest
from saga.runtime.envelope import Envelope
from saga.runtime.settings import Settings
from sanic_testing.testing import SanicTestClient

from trip.adapter import make_app

WISH = {"traveller": "Ada", "flight": "LX318", "hotel": "Ritz", "nights": 3, "car": "small"}


@pytest.fixture
def sent() -> list[Envelope]:
    return []


@pytest.fixture
def client(tmp_path: Path, sent: list[Envelope]) -> SanicTestClient:
    return SanicTestClient(make_app(Settings(saga_data=tmp_path), sent.extend), port=None)


def test_a_trip_is_booked_and_found_by_its_traveller(
    client: SanicTestClient, sent: list[Envelope]
) -> None:
    _, booked = client.post("/sagas", json=WISH)
    assert (booked.status, booked.json["input"]) == (202, WISH)
    assert [command.type for command in sent] == ["BookFlight"]
    assert client.get("/sagas?traveller=Ada")[1].json == [booked.json]
    assert client.get(f"/sagas?trip_id={booked.json['trip_id']}")[1].json == [booked.json]
    assert client.get("/sagas?traveller=Bob")[1].json == []


def test_a_cancelled_trip_is_undone(client: SanicTestClient, sent: list[Envelope]) -> None:
    path = client.post("/sagas", json=WISH)[1].headers["location"]
    assert client.delete(path)[1].status == 202
    assert [command.type for command in sent] == ["BookFlight", "CancelFlight"]


@pytest.mark.parametrize("wrong", [{"nights": 0}, {"nights": "3"}, {"room": 7}])
def test_a_wish_that_makes_no_trip_is_refused(
    client: SanicTestClient, sent: list[Envelope], wrong: dict[str, object]
) -> None:
    _, refused = client.post("/sagas", json={**WISH, **wrong})
    assert (refused.status, list(refused.json["errors"])) == (422, list(wrong))
    assert sent == []
