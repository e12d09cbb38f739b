"""Cancel an order: undoes `create_order`."""

from saga.runtime import function, utcnow

from .messages import CancelOrder, OrderCancelled
from .store import CANCELLED, Order


@function
def cancel_order(command: CancelOrder) -> OrderCancelled:
    """Mark the order as cancelled, whatever it was."""
    Order.update(status=CANCELLED, updated_at=utcnow()).where(
        Order.id == command.order_id
    ).execute()
    return OrderCancelled(order_id=command.order_id)
