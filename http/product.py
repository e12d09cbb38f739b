"""The product service over HTTP."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, with_config
from sanic import Blueprint, HTTPResponse, Request, empty
from typing_extensions import TypedDict

from saga.functions.product import store
from saga.runtime.database.schema import tables_in
from saga.runtime.settings import Settings
from saga.runtime.web import (
    CHANGE,
    KEY_REUSED,
    App,
    Body,
    Conflict,
    NumberedPage,
    ProblemType,
    change_row,
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
    read_change,
    repeats,
    tags,
    unknown_row,
)

# The dearest product, times the largest quantity, must still fit 63 bits of cents.
Price = Annotated[Decimal, fields.Amount(gt=0, le=10**10)]
MOST = fields.MAX_EXACT
Stock = Annotated[int, Field(ge=0, le=MOST)]

STOCK_LIMIT = ProblemType(
    "stock_limit", 409, "The stock would be too large", "The `detail` says how large it may be."
)

api = Blueprint("product")


class Product(BaseModel):
    """A product. `stock` counts its free units."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    price: fields.Money
    stock: int
    created_at: datetime


class NewProduct(Body):
    """A product to create."""

    name: fields.Name
    price: Price
    stock: Stock


@with_config(CHANGE)
class ProductChange(TypedDict, total=False):
    """The fields of a product to change."""

    name: fields.Name
    price: Price
    stock: Stock


class NewDelivery(Body):
    """Units to add to a stock."""

    quantity: Annotated[int, Field(ge=1, le=MOST)]


def make_app(settings: Settings) -> App:
    """Make the product service's app."""
    return new_app("product", settings, [*tables_in(store), repeats.RequestKey], api)


@get(api, "/products")
@describe({200: list[Product]}, query=NumberedPage, response_headers={"Link": "The next page."})
async def list_products(request: Request) -> HTTPResponse:
    """List products, oldest first."""
    asked = query(request, NumberedPage)
    return page(request, asked, await in_thread(request, list_rows, store.Product, Product, asked))


@get(api, "/products/<product_id:id>")
@describe(
    {200: Product, 304: None},
    errors=(404,),
    headers=tags.IF_NONE_MATCH,
    response_headers=tags.ETAG,
)
async def get_product(request: Request, product_id: int) -> HTTPResponse:
    """Return a product."""
    product = await in_thread(request, get_row, store.Product, Product, product_id)
    return tags.show(request, product)


@api.post("/products")
@describe(
    {201: Product}, body=NewProduct, response_headers=tags.ETAG | {"Location": "The new product."}
)
async def create_product(request: Request) -> HTTPResponse:
    """Create a product."""
    product = await in_thread(request, _create, read(request, NewProduct))
    return tags.answer(product, 201, {"Location": f"/products/{product.id}"})


@api.put("/products/<product_id:id>")
@describe(
    {200: Product},
    body=ProductChange,
    errors=(404, 412),
    headers=tags.IF_MATCH,
    response_headers=tags.ETAG,
)
async def change_product(request: Request, product_id: int) -> HTTPResponse:
    """Change some fields of a product. `stock` sets its free units."""
    change, check = read_change(request, ProductChange), tags.check(request, Product)
    return tags.answer(
        await in_thread(request, change_row, store.Product, Product, product_id, change, check)
    )


@api.delete("/products/<product_id:id>")
@describe({204: None}, errors=(404, 412), headers=tags.IF_MATCH)
async def delete_product(request: Request, product_id: int) -> HTTPResponse:
    """Close a product: it is gone, and can't be ordered any more.

    Units that orders still hold are counted when they are released.
    """
    await in_thread(
        request,
        delete_row,
        store.Product,
        product_id,
        tags.check(request, Product),
        store.close_product,
    )
    return empty()


@api.post("/products/<product_id:id>/deliveries")
@describe(
    {201: Product},
    body=NewDelivery,
    errors=(404, KEY_REUSED, STOCK_LIMIT),
    headers=repeats.KEY,
    response_headers=tags.ETAG,
)
async def deliver(request: Request, product_id: int) -> HTTPResponse:
    """Add to a product's free units, whatever else changes them meanwhile."""
    new = read(request, NewDelivery)
    asked = f"deliver to {product_id}: {new.quantity}"
    done = await repeats.once(request, asked, Product, lambda: _deliver(product_id, new.quantity))
    return tags.answer(done, 201)


def _create(new: NewProduct) -> Product:
    return Product.model_validate(store.Product.create(**new.model_dump()))


def _deliver(product_id: int, quantity: int) -> Product:
    stock, this = store.Product.stock, store.Product.id == product_id
    grown = store.Product.update(stock=stock + quantity).where(this, stock <= MOST - quantity)
    if changed := list(grown.returning(store.Product).execute()):
        return Product.model_validate(changed[0])
    if store.Product.get_or_none(this) is None:
        raise unknown_row(store.Product, product_id)
    raise Conflict(f"product {product_id} would have more than {MOST} units", STOCK_LIMIT)
