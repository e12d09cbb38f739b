"""Refund an order's payment: undoes `process_payment`."""

from saga.runtime import Rejected, function

from .messages import PaymentRefunded, RefundPayment
from .store import Payment, User


@function
def refund_payment(command: RefundPayment) -> PaymentRefunded:
    """Give the paid amount back to the user's balance, once."""
    returned = (
        Payment.update(refunded=True)
        .where(Payment.order_id == command.order_id, ~Payment.refunded)
        .returning(Payment.user_id, Payment.amount)
    )
    for payment in returned.execute():
        credited = User.update(balance=User.balance + payment.amount).where(
            User.id == payment.user_id
        )
        if not credited.execute():
            raise Rejected("user_not_found", f"there is no user {payment.user_id} to refund")
    return PaymentRefunded(order_id=command.order_id)
