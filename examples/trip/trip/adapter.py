"""Trips over HTTP: `POST /sagas` books one, `GET /sagas?traveller=Ada` lists hers."""

from uuid import uuid4

from saga.runtime.settings import Settings
from saga.runtime.web import SAGA_TABLES, App, Send, new_app, saga_blueprint

from .book_trip import book_trip


def make_app(settings: Settings, send: Send | None = None) -> App:
    """Make the app: the saga's API, in which the server gives each trip its id."""
    trips = saga_blueprint(book_trip, assigned={"trip_id": uuid4}, send=send)
    return new_app("trip", settings, SAGA_TABLES, trips)
