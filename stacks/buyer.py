"""A buyer of orders that no client of `saga chaos` is told of: it asks for what is to go wrong."""

import threading
from decimal import Decimal

from uuid_utils.compat import uuid7

from saga.functions.product.store import Product
from saga.functions.user.store import User
from saga.runtime.testing.request import Request

from .calls import Calls
from .load import Client

PLENTY = 1_000_000  # units of money, and of a product


class Buyer:
    """A user who can pay for whatever he orders, at the adapter of orders at `address`.

    `requests` are those that were begun, `calls` are for more of that adapter.
    """

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.requests: list[Request] = []
        self.calls = Calls(address, threading.Event(), [])
        self._client = Client(self.calls)
        self._name = name
        email = f"{uuid7().hex}@{name}.example"
        self._user = User.create(name=name, email=email, balance=Decimal(PLENTY)).id

    def product(self) -> int:
        """Make a product that nobody else orders, and return its id."""
        made: int = Product.create(name=self._name, price=Decimal(1), stock=PLENTY).id
        return made

    def place(self, product: int) -> Request:
        """Order one unit; return once that is accepted, or raise `SagaError`."""
        wanted = {"user_id": self._user, "product_id": product, "quantity": 1}
        request = Request(wanted, key=str(uuid7()))
        self.requests.append(request)
        self._client.place(request)
        return request
