"""Release an order's reservation: undoes `reserve_product`."""

from saga.runtime import function

from .messages import ProductReleased, ReleaseProduct
from .store import Reservation, give_units


@function
def release_product(command: ReleaseProduct) -> ProductReleased:
    """Give the reserved units back to free stock, once; a closed product's too."""
    freed = (
        Reservation.update(released=True)
        .where(Reservation.order_id == command.order_id, ~Reservation.released)
        .returning(Reservation.product_id, Reservation.quantity)
    )
    for held in freed.execute():
        give_units(held.product_id, held.quantity)
    return ProductReleased(order_id=command.order_id)
