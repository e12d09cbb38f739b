"""Release an order's reservation: undoes `reserve_product`."""

from saga.runtime import function

from .messages import ProductReleased, ReleaseProduct
from .store import Product, Reservation


@function
def release_product(command: ReleaseProduct) -> ProductReleased:
    """Give the reserved units back to free stock, once."""
    freed = (
        Reservation.update(released=True)
        .where(Reservation.order_id == command.order_id, ~Reservation.released)
        .returning(Reservation.product_id, Reservation.quantity)
    )
    for held in freed.execute():
        Product.update(stock=Product.stock + held.quantity).where(
            Product.id == held.product_id
        ).execute()
    return ProductReleased(order_id=command.order_id)
