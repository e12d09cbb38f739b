"""Complete an order: the saga's last step."""

from saga.runtime import Rejected, function, utcnow

from .messages import CompleteOrder, OrderCompleted
from .store import complete


@function
def complete_order(command: CompleteOrder) -> OrderCompleted:
    """Mark a pending order as completed, with its total."""
    if not complete(command.order_id, command.total, utcnow()):
        raise Rejected("order_not_pending", f"order {command.order_id} is not pending any more")
    return OrderCompleted(order_id=command.order_id)
