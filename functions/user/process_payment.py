"""Take an order's total from the user's balance: the saga's third step."""

from saga.runtime import Rejected, function, utcnow

from .messages import PaymentProcessed, ProcessPayment
from .store import User, keep_payment, take_money


@function
def process_payment(command: ProcessPayment) -> PaymentProcessed:
    """Move `total` from the balance to a payment held by the order."""
    if not take_money(command.user_id, command.total):
        raise _refusal(command)
    keep_payment(command.order_id, command.user_id, command.total, utcnow())
    return PaymentProcessed(order_id=command.order_id)


def _refusal(command: ProcessPayment) -> Rejected:
    user = User.get_or_none(User.id == command.user_id)
    if user is None:
        return Rejected("user_not_found", f"there is no user {command.user_id}")
    return Rejected("insufficient_funds", f"user {user.id} has less than {command.total}")
