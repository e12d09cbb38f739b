"""Refund an order's payment: undoes `process_payment`."""

from saga.runtime import Rejected, function

from .messages import PaymentRefunded, RefundPayment
from .store import Payment, give_money


@function
def refund_payment(command: RefundPayment) -> PaymentRefunded:
    """Give the paid amount back to the user's balance, once; a closed user's too."""
    returned = (
        Payment.update(refunded=True)
        .where(Payment.order_id == command.order_id, ~Payment.refunded)
        .returning(Payment.user_id, Payment.amount)
    )
    for payment in returned.execute():
        if not give_money(payment.user_id, payment.amount):
            raise Rejected("user_not_found", f"there is no user {payment.user_id} to refund")
    return PaymentRefunded(order_id=command.order_id)
