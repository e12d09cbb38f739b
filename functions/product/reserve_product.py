"""Reserve stock for an order: the saga's second step."""

from saga.functions.product.messages import ProductReserved, ReserveProduct
from saga.functions.product.store import Product, Reservation
from saga.runtime import Rejected, function


@function
def reserve_product(command: ReserveProduct) -> ProductReserved:
    """Move `quantity` units from free stock to a reservation held by the order.

    One guarded UPDATE takes the units, so stock can't go below zero, whatever runs in parallel.
    """
    taken = (
        Product.update(stock=Product.stock - command.quantity)
        .where(Product.id == command.product_id, Product.stock >= command.quantity)
        .returning(Product.price)
    )
    product = next(iter(taken.execute()), None)
    if product is None:
        raise _refusal(command)
    Reservation.insert(
        order_id=command.order_id, product_id=command.product_id, quantity=command.quantity
    ).execute()
    return ProductReserved(order_id=command.order_id, total=product.price * command.quantity)


def _refusal(command: ReserveProduct) -> Rejected:
    product = Product.get_or_none(Product.id == command.product_id)
    if product is None:
        return Rejected("product_not_found", f"there is no product {command.product_id}")
    return Rejected(
        "insufficient_stock",
        f"product {product.id} has {product.stock} left, {command.quantity} asked",
    )
