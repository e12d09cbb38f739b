"""Create a pending order: the saga's first step."""

from saga.functions.order.messages import CreateOrder, OrderCreated
from saga.functions.order.store import Order
from saga.runtime import function


@function
def create_order(command: CreateOrder) -> OrderCreated:
    """Store the order as pending."""
    Order.insert(
        id=command.order_id,
        saga_id=command.saga_id,
        user_id=command.user_id,
        product_id=command.product_id,
        quantity=command.quantity,
    ).execute()
    return OrderCreated(order_id=command.order_id)
