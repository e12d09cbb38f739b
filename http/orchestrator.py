"""The orchestrator over HTTP: placing orders, and the sagas that carry them out."""

from typing import Annotated

from pydantic import Field
from uuid_utils.compat import uuid7

from saga.functions.orchestrator.place_order import place_order
from saga.runtime.settings import Settings
from saga.runtime.web import SAGA_TABLES, App, Body, Send, fields, new_app, saga_blueprint


class NewOrder(Body):
    """An order to place."""

    user_id: fields.Id
    product_id: fields.Id
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


def make_app(settings: Settings, send: Send | None = None) -> App:
    """Make the orchestrator's app. It sends through `send`, or through a Kafka producer."""
    sagas = saga_blueprint(
        place_order,
        start="/orders",
        body=NewOrder,
        assigned={"order_id": uuid7},
        summary="Place an order: start the saga that carries it out.",
        send=send,
    )
    return new_app("orchestrator", settings, SAGA_TABLES, sagas)
