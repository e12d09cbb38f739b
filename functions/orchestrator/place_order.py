"""The order saga."""

from uuid import UUID

from saga.runtime import Message, Saga, Step

from ..order.messages import CancelOrder, CompleteOrder, CreateOrder
from ..product.messages import ReleaseProduct, ReserveProduct
from ..user.messages import ProcessPayment, RefundPayment


class PlaceOrder(Message):
    """What the saga starts from."""

    order_id: UUID
    user_id: int
    product_id: int
    quantity: int


place_order = Saga(
    "place-order",
    start=PlaceOrder,
    steps=[
        Step(CreateOrder, undo=CancelOrder),
        Step(ReserveProduct, undo=ReleaseProduct),
        Step(ProcessPayment, undo=RefundPayment),
        Step(CompleteOrder),
    ],
    search=("order_id", "user_id"),
)
