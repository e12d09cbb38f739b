"""Complete an order: the saga's last step."""

from saga.functions.order.messages import CompleteOrder, OrderCompleted
from saga.functions.order.store import COMPLETED, PENDING, Order
from saga.runtime import Rejected, function
from saga.runtime.clock import utcnow


@function
def complete_order(command: CompleteOrder) -> OrderCompleted:
    """Mark a pending order as completed, with its total."""
    pending = Order.update(status=COMPLETED, total=command.total, updated_at=utcnow()).where(
        Order.id == command.order_id, Order.status == PENDING
    )
    if not pending.execute():
        raise Rejected("order_not_pending", f"order {command.order_id} is not pending any more")
    return OrderCompleted(order_id=command.order_id)
