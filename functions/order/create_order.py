"""Create a pending order: the saga's first step."""

from saga.runtime import function, utcnow

from .messages import CreateOrder, OrderCreated
from .store import insert_order


@function
def create_order(command: CreateOrder) -> OrderCreated:
    """Store the order as pending."""
    insert_order(
        command.order_id,
        command.saga_id,
        command.user_id,
        command.product_id,
        command.quantity,
        utcnow(),
    )
    return OrderCreated(order_id=command.order_id)
