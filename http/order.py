"""The order service over HTTP."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sanic import Blueprint, HTTPResponse, Request, empty
from uuid_utils.compat import uuid7

from saga.functions.order import store
from saga.runtime.database.schema import tables_in
from saga.runtime.settings import Settings
from saga.runtime.web import (
    App,
    Body,
    Conflict,
    ProblemType,
    TimedPage,
    delete_row,
    describe,
    fields,
    get,
    get_row,
    in_thread,
    list_rows,
    new_app,
    page,
    query,
    read,
    tags,
)

Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Status = Literal["PENDING", "COMPLETED", "CANCELLED"]

ORDER_RUNNING = ProblemType(
    "order_running",
    409,
    "The order's saga is running",
    "Delete the order when the saga has ended, or cancel the saga.",
)

api = Blueprint("order")


class Order(BaseModel):
    """An order. `total` is known once it is completed."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    user_id: int
    product_id: int
    quantity: int
    total: fields.Money | None
    status: Status
    saga_id: UUID | None
    created_at: datetime
    updated_at: datetime


class NewOrder(Body):
    """An order to create."""

    user_id: fields.Id
    product_id: fields.Id
    quantity: Quantity


class OrderPage(TimedPage):
    """A page of orders, all of them or those with a status or of a user."""

    status: Status | None = None
    user_id: fields.QueryId | None = None


def make_app(settings: Settings) -> App:
    """Make the order service's app."""
    return new_app("order", settings, tables_in(store), api)


@get(api, "/orders")
@describe({200: list[Order]}, query=OrderPage, response_headers={"Link": "The next page."})
async def list_orders(request: Request) -> HTTPResponse:
    """List orders, oldest first."""
    asked = query(request, OrderPage)
    return page(request, asked, await in_thread(request, _list, asked))


@get(api, "/orders/<order_id:uuid>")
@describe(
    {200: Order, 304: None},
    errors=(404,),
    headers=tags.IF_NONE_MATCH,
    response_headers=tags.ETAG,
)
async def get_order(request: Request, order_id: UUID) -> HTTPResponse:
    """Return an order."""
    order = await in_thread(request, get_row, store.Order, Order, order_id)
    return tags.show(request, order)


@api.post("/orders")
@describe({201: Order}, body=NewOrder, response_headers=tags.ETAG | {"Location": "The new order."})
async def create_order(request: Request) -> HTTPResponse:
    """Create a pending order that no saga drives."""
    order = await in_thread(request, _create, read(request, NewOrder))
    return tags.answer(order, 201, {"Location": f"/orders/{order.id}"})


@api.delete("/orders/<order_id:uuid>")
@describe({204: None}, errors=(404, ORDER_RUNNING, 412), headers=tags.IF_MATCH)
async def delete_order(request: Request, order_id: UUID) -> HTTPResponse:
    """Delete an order whose saga is not running."""
    await in_thread(
        request, delete_row, store.Order, order_id, tags.check(request, Order), _not_running
    )
    return empty()


def _list(asked: OrderPage) -> list[Order]:
    conditions, status = [], store.Order.status
    if asked.user_id is not None:
        conditions.append(store.Order.user_id == asked.user_id)
        # One user's orders are few: SQLite would as soon look through all that have this status.
        status = status.concat("")
    if asked.status is not None:
        conditions.append(status == asked.status)
    return list_rows(store.Order, Order, asked, *conditions)


def _create(new: NewOrder) -> Order:
    return Order.model_validate(store.Order.create(id=uuid7(), **new.model_dump()))


def _not_running(order: store.Order) -> None:
    if order.status == store.PENDING and order.saga_id is not None:
        raise Conflict(f"saga {order.saga_id} of order {order.id} is running", ORDER_RUNNING)
