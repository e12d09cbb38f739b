"""Take an order's total from the user's balance: the saga's third step."""

from saga.functions.user.messages import PaymentProcessed, ProcessPayment
from saga.functions.user.store import Payment, User
from saga.runtime import Rejected, function


@function
def process_payment(command: ProcessPayment) -> PaymentProcessed:
    """Move `total` from the balance to a payment held by the order.

    One guarded UPDATE takes the money, so a balance can't go below zero, whatever runs in parallel.
    """
    taken = User.update(balance=User.balance - command.total).where(
        User.id == command.user_id, User.balance >= command.total
    )
    if not taken.execute():
        raise _refusal(command)
    Payment.insert(
        order_id=command.order_id, user_id=command.user_id, amount=command.total
    ).execute()
    return PaymentProcessed(order_id=command.order_id)


def _refusal(command: ProcessPayment) -> Rejected:
    user = User.get_or_none(User.id == command.user_id)
    if user is None:
        return Rejected("user_not_found", f"there is no user {command.user_id}")
    return Rejected(
        "insufficient_funds", f"user {user.id} has {user.balance}, {command.total} asked"
    )
